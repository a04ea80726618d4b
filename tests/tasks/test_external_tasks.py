"""Evaluation tasks over a benchmark: which questions, and what never distracts from them."""

import polars as pl
import pytest

from metatoolagent import artifacts
from metatoolagent.catalog import schemas
from metatoolagent.errors import UserError
from metatoolagent.tasks.external import BEYOND, TOO_FEW, UNUSED, counts, materialize

SIZES = {"big": 7, "small": 3}
"""Tools of each domain; each tool has three questions."""


def tables(also=()):
    """Tools and questions of two domains; each question of the first tool of `big` is answered by `also` too."""
    names = {f"{domain}_{index}": domain for domain, size in SIZES.items() for index in range(size)}
    tools = pl.DataFrame(
        [{"name": name, "domain": names[name], "description": f"Does {name}.", "parameters": "{}"} for name in sorted(names)]
    ).sort("domain", "name")
    questions = pl.DataFrame(
        [
            {
                "question_id": f"{name}-{number}",
                "frame_id": name,
                "tool": name,
                "also": list(also) if name == "big_0" else [],
                "domain": names[name],
                "kind": None,
                "question": f"Please do {name}, number {number}.",
                "arguments": "{}",
            }
            for name in sorted(names)
            for number in range(3)
        ],
        schema={name: column.dtype.type for name, column in schemas.QUESTIONS.columns.items()},
    )
    return tools, questions


@pytest.fixture
def draw(tmp_path, committed):
    """Materializes a variant; returns its tasks and the questions that it could not use."""

    def run(split, distractors, *, also=(), count=300, kind="random"):
        tools, questions = tables(also)
        with artifacts.publishing(tmp_path / "in", ["tools.parquet", "questions.parquet"], producer="test") as paths:
            schemas.write(tools, schemas.TOOLS, paths["tools.parquet"])
            schemas.write(questions, schemas.QUESTIONS, paths["questions.parquet"])
        evaluation = committed.eval_tasks.model_copy(update={"count": count, "distractor_kind": kind, "tasks_per_set": 2})
        materialize(tmp_path / "in", split, distractors, 0, evaluation, tmp_path / "out")
        read = {"eval_tasks": schemas.EVAL_TASKS, "unused": UNUSED}
        return [schemas.read(tmp_path / "out" / f"{name}.parquet", schema) for name, schema in read.items()]

    return run


@pytest.mark.parametrize("kind", ["random", "hard"])
def test_across_domains_every_question_is_a_task_of_pool_all(draw, kind):
    tasks, unused = draw("cd", 5, kind=kind)
    assert (len(tasks), len(unused)) == (30, 0)
    assert set(tasks["pool"]) == {"all"}
    assert all(len(set(candidates)) == 6 for candidates in tasks["candidates"])


def test_within_a_domain_a_domain_with_too_few_tools_is_left_out_and_listed(draw):
    tasks, unused = draw("sd", 5)
    assert (len(tasks), len(unused)) == (21, 9)
    assert all(name.startswith("big") for names in tasks["candidates"] for name in names)
    assert unused["distractors"].to_list() == [2] * 9
    assert set(unused["domain"]) == {"small"} and set(unused["reason"]) == {TOO_FEW}


def test_what_answers_a_question_too_is_no_distractor_and_counts_as_missing(draw):
    tasks, unused = draw("sd", 5, also=["big_1", "small_0"])
    assert len(unused) == 9
    rows = tasks.filter(pl.col("gold") == "big_0")
    assert len(rows) == 3
    assert not any("big_1" in names for names in rows["candidates"])
    tasks, unused = draw("sd", 5, also=["big_1", "big_2"])
    assert set(unused["tool"]) == {"big_0", "small_0", "small_1", "small_2"}


def test_the_number_of_tasks_is_a_limit_spread_over_the_tools(draw):
    tasks, _ = draw("cd", 5, count=10)
    assert (len(tasks), tasks["gold"].n_unique()) == (10, 10)


def test_questions_beyond_the_limit_are_listed_too(draw):
    tasks, unused = draw("sd", 5, count=10)
    assert sorted([*tasks["question_id"], *unused["question_id"]]) == sorted(tables()[1]["question_id"])
    assert dict(unused.group_by("reason").len().iter_rows()) == {TOO_FEW: 9, BEYOND: 11}
    assert set(unused.filter(reason=BEYOND)["distractors"]) == {6}


def test_the_part_that_is_evaluated_elsewhere_does_not_matter(draw):
    tasks, _ = draw("cd", 2)
    assert set(tasks["part"]) == {"test"}


def test_without_any_question_left_the_error_says_what_to_change(draw, tmp_path):
    with pytest.raises(UserError, match="E-QUESTIONS") as raised:
        draw("cd", 10)
    assert "distractors" in raised.value.fix
    assert not (tmp_path / "out").exists()


def test_the_number_of_distractors_that_there_are():
    tools, questions = tables(also=["big_1", "small_0"])
    found = dict(counts(tools, questions, by_domain=False).select("tool", "distractors").iter_rows())
    assert found.pop("big_0") == 7
    assert set(found.values()) == {9}
