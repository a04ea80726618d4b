"""The selector step by step, by a method whose every answer is written down."""

import signal
from dataclasses import replace

import polars as pl
import pytest

from metatoolagent import params
from metatoolagent.catalog import schemas
from metatoolagent.catalog.chain_stage import ingest
from metatoolagent.errors import UserError
from metatoolagent.evaluation import chains
from metatoolagent.evaluation.chains import FILE, WITHOUT, best, evaluate, follow
from metatoolagent.evaluation.job import Prediction, set_by_set
from metatoolagent.params import Chains
from metatoolagent.tasks.chain_tasks import materialize
from metatoolagent.tasks.prompts import with_calls

TASK = {"task_id": "x", "question": "Q?", "candidates": ["a", "b", "c", "d"], "gold": ["b", "a", "d"]}


def scripted(script, seen):
    """Answers from (log-probabilities, free answer) by what is asked."""

    def answer_set(rows):
        seen.append([row["question"] for row in rows])
        found = []
        for row in rows:
            scores, free = script[row["question"]]
            top = row["candidates"][scores.index(max(scores))]
            found.append(Prediction(scores, top, free or "nonsense", free, cut=False))
        return found

    return set_by_set(answer_set)


def test_names_of_called_tools_come_behind_the_question():
    assert with_calls("Q?", ()) == "Q?"
    assert with_calls("Q?", ("b", "a")) == "Q? Already called: b, a."


def test_every_way_goes_on_after_its_own_choices_and_shares_equal_questions():
    seen = []
    script = {
        "Q?": ([-3.0, -1.0, -2.0, -4.0], "c"),
        # After b: the model would say b again, and of the others c.
        "Q? Already called: b.": ([-3.0, -1.0, -2.0, -4.0], None),
        "Q? Already called: c.": ([-3.0, -1.0, -2.0, -4.0], "c"),
        "Q? Already called: b, c.": ([-2.0, -1.0, -1.5, -4.0], "d"),
        "Q? Already called: c, c.": ([-3.0, -1.0, -2.0, -4.0], None),
        "Q? Already called: b, a.": ([-1.0, -1.0, -9.0, -2.0], "a"),
    }
    chosen = follow(scripted(script, seen), TASK)
    assert chosen == {"scored": ["b", "c", "a"], "free": ["c", "c"], "forced": ["b", "c", "d"]}
    # One question at the first step, two at the second (scored and forced agree), three at the third.
    assert [len(rows) for rows in seen] == [1, 2, 3]


def test_a_free_answer_that_names_no_candidate_ends_it():
    seen = []
    script = {"Q?": ([-3.0, -1.0, -2.0, -4.0], None)}
    script |= {f"Q? Already called: {names}.": ([-1.0, -2.0, -3.0, -2.5], "d") for names in ("b", "b, a")}
    assert follow(scripted(script, seen), TASK) == {"scored": ["b", "a", "d"], "free": [], "forced": ["b", "a", "d"]}


def test_the_best_is_taken_among_those_not_called():
    prediction = Prediction([-1.0, -3.0, -2.0], "a", "a", "a", cut=False)
    assert [best(prediction, "abc", called) for called in ((), ("a",), ("c", "a"))] == ["a", "c", "b"]


@pytest.fixture
def chain_job(job_of, fixture_catalog, catalog, tmp_path):
    """A job over the chains of the small catalog, by method."""
    ingest(Chains(folder=str(fixture_catalog / "chains"), benchmarks=[]), catalog, allow_rejected=False, out=tmp_path / "chains")
    materialize(tmp_path / "chains/chains.parquet", catalog, None, 3, 0, 0.8, tmp_path / "tasks")
    return lambda method: replace(job_of(method), tasks=tmp_path / "tasks/chain_tasks.parquet")


# `channel` without its adapter answers as `likelihood` does.
@pytest.mark.parametrize("method", [*params.SELECTING, "base", "cot", "react"])
def test_a_method_chooses_as_many_different_tools_as_a_chain_has(method, chain_job):
    job = chain_job(method)
    evaluate(job)
    found = schemas.read(job.out / FILE, schemas.CHAIN_PREDICTIONS)
    assert found.drop("scored", "free", "forced").equals(pl.read_parquet(job.tasks))
    for row in found.to_dicts():
        assert len(set(row["scored"])) == len(row["gold"]) == len(row["forced"])
        assert {*row["scored"], *row["free"]} <= set(row["candidates"])
        assert row["scored"][0] == row["forced"][0]
        assert method not in params.SELECTING or row["free"] == row["scored"]


@pytest.mark.parametrize("method", WITHOUT)
def test_a_method_that_cannot_is_refused(method, chain_job):
    job = chain_job(method)
    with pytest.raises(UserError, match="E-METHOD") as raised:
        evaluate(job)
    assert (raised.value.exit_code, raised.value.got, raised.value.where) == (64, f'"{method}"', str(job.tasks))
    assert raised.value.fix.startswith("name one of random, bm25, ")
    assert method not in raised.value.fix
    assert not job.out.exists()


def test_bm25_takes_the_next_best_document_and_does_not_read_the_names_of_calls(chain_job):
    job = chain_job("bm25")
    question = "Count down a number of minutes and then draw a walk through hills with its climbs and huts."
    row = {"task_id": "chain-x", "part": "test", "question": question, "gold": ["trail_map", "timer_begin"]}
    tasks = pl.DataFrame([{**row, "candidates": ["pulse", "timer_begin", "trail_map"]}]).select(list(schemas.CHAIN_TASKS.columns))
    from metatoolagent.artifacts import publishing

    with publishing(job.out, ["chain_tasks.parquet"], producer="test") as paths:
        schemas.write(tasks, schemas.CHAIN_TASKS, paths["chain_tasks.parquet"])
    evaluate(replace(job, tasks=job.out / "chain_tasks.parquet", out=job.out / "found"))
    assert pl.read_parquet(job.out / "found" / FILE)["scored"].to_list() == [["trail_map", "timer_begin"]]


@pytest.mark.usefixtures("handlers")
def test_a_paused_evaluation_goes_on_with_the_chain_that_comes_next(chain_job, tmp_path, monkeypatch):
    job = chain_job("base")
    evaluate(job)
    expected, asked = (job.out / FILE).read_bytes(), []
    total = len(pl.read_parquet(job.tasks))
    assert total >= 3

    def counted(answer, task, real=follow):
        asked.append(task["task_id"])
        if len(asked) == 2:
            signal.raise_signal(signal.SIGTERM)
        return real(answer, task)

    monkeypatch.setattr(chains, "follow", counted)
    kept = replace(job, work=tmp_path / "work", out=tmp_path / "kept")
    with pytest.raises(UserError, match="I-PAUSED") as raised:
        evaluate(kept)
    assert f"after answer 2 of {total}" in raised.value.what and not kept.out.exists()
    evaluate(kept)
    assert len(asked) == len(set(asked)) == total
    assert (kept.out / FILE).read_bytes() == expected
