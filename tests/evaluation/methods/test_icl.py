from dataclasses import replace

import polars as pl
import pytest

from metatoolagent.errors import UserError
from metatoolagent.evaluation.job import prepare
from metatoolagent.evaluation.language import load
from metatoolagent.evaluation.methods import icl
from metatoolagent.evaluation.methods.icl import chosen, demonstration
from metatoolagent.evaluation.scoring import predict


@pytest.fixture
def meta_tasks(materialized):
    return pl.read_parquet(materialized / "meta_tasks/meta_tasks.parquet")


def test_demonstrations_are_of_different_gold_tools_and_the_same_each_time(meta_tasks):
    shown = chosen(meta_tasks, 3)
    assert len({row["gold"] for row in shown}) == 3
    assert shown == chosen(meta_tasks.sort("meta_task", "role", descending=True), 3)
    assert shown[:2] == chosen(meta_tasks, 2)


def test_no_tool_that_is_evaluated_is_the_answer_of_a_demonstration_or_stands_in_one(meta_tasks, materialized):
    every = chosen(meta_tasks, meta_tasks["gold"].n_unique())
    evaluated = set(pl.read_parquet(materialized / "tasks/eval_tasks.parquet")["gold"])
    assert evaluated
    assert not evaluated & {row["gold"] for row in every}
    assert not evaluated & {name for row in every for name in row["candidates"]}


def test_demonstrations_ask_questions_also_where_training_asks_with_documentation(meta_tasks, renderer):
    (row,) = chosen(meta_tasks.filter("documentation"), 1)
    assert f"\n{renderer.questions[row['question_id']]} ->" in renderer.template.tokenizer.decode(demonstration(renderer, row))


def test_too_many_demonstrations_are_refused_with_the_largest_number(meta_tasks):
    golds = meta_tasks["gold"].n_unique()
    with pytest.raises(UserError, match="E-DEMONSTRATIONS") as raised:
        chosen(meta_tasks, golds + 1)
    assert f"icl.demonstrations: {golds}," in raised.value.fix


def test_a_demonstration_is_the_task_as_the_model_sees_it_with_its_answer(renderer, meta_tasks):
    (row,) = chosen(meta_tasks, 1)
    decode = renderer.template.tokenizer.decode
    packed = renderer.pack([row | {"documentation": False}], gold_only=True)  # a demonstration shows the question itself
    text = decode(demonstration(renderer, row))
    # A pack leaves out the answer's last token, which is no input, and what follows it.
    assert text == decode(packed.input_ids_T) + "\n\n"
    assert text.endswith(f" -> {row['gold']}\n\n")


def test_what_is_shown_stands_before_every_candidate_set(job_of, meta_tasks, renderer, monkeypatch):
    seen = []
    real = icl.predict
    monkeypatch.setattr(icl, "predict", lambda *args: seen.append(args[2].prefix(args[3][0][0]["candidates"])) or real(*args))
    job = job_of("icl")
    answer = prepare(job)
    tasks = pl.read_parquet(job.tasks)
    for _, group in list(tasks.group_by("pool", "candidates", maintain_order=True))[:2]:
        answer([group.to_dicts()])
    opening = [token for row in chosen(meta_tasks, 2) for token in demonstration(renderer, row)]
    assert seen[0] != seen[1]
    groups = tasks.group_by("pool", "candidates", maintain_order=True)
    for tokens, ((_, candidates), _) in zip(seen, groups, strict=False):
        assert tokens == [*opening, *renderer.lines(candidates)]


def test_the_answers_are_those_of_packs_that_hold_the_demonstrations(job_of, meta_tasks):
    job = job_of("icl")
    answer, language = prepare(job), load(job)
    opened = language.renderer.opened([token for row in chosen(meta_tasks, 2) for token in demonstration(language.renderer, row)])
    tasks = pl.read_parquet(job.tasks)
    for _, group in list(tasks.group_by("pool", "candidates", maintain_order=True))[:3]:
        rows = group.to_dicts()
        whole = predict(language.model, None, opened, [rows], language.max_new_tokens)[0]
        for one, other in zip(answer([rows])[0], whole, strict=True):
            assert one.log_probabilities == pytest.approx(other.log_probabilities, abs=1e-4)
            assert (one.scored, one.free_text) == (other.scored, other.free_text)


def test_demonstrations_are_taken_from_training_tasks_alone(job_of):
    job = job_of("icl")
    with pytest.raises(UserError, match="not a table of meta-tasks") as raised:
        prepare(replace(job, demonstrations=job.tasks))
    assert raised.value.where == str(job.tasks)
