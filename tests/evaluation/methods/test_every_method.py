"""What holds for every method that needs no training."""

from importlib import import_module

import polars as pl
import pytest

from metatoolagent import params
from metatoolagent.artifacts import read_manifest
from metatoolagent.evaluation.job import prepare
from metatoolagent.evaluation.metrics import OUTCOMES
from metatoolagent.evaluation.predicting import FILE, evaluate
from model_fixtures import tree

UNTRAINED = [method for method, sections in params.OF_METHOD.items() if not sections]


@pytest.mark.parametrize("method", UNTRAINED)
def test_it_answers_every_task_and_repeats_itself(method, job_of):
    job = job_of(method)
    evaluate(job)
    tasks, found = pl.read_parquet(job.tasks), pl.read_parquet(job.out / FILE)
    assert found.select(tasks.columns).equals(tasks.sort("task_id"))
    assert found["scored"].is_in(found["candidates"]).all()
    assert found["outcome"].is_in(OUTCOMES).all()
    assert found["free"].is_in(found["candidates"]).sum() == found["outcome"].is_in(["right", "wrong"]).sum()
    assert found["log_probabilities"].null_count() == (len(found) if method in params.SELECTING else 0)
    for column in ("reasoning", "reasoning_end"):
        assert found[column].null_count() == (0 if method in {"cot", "react"} else len(found))
    manifest = read_manifest(job.out)
    assert manifest["method"] == method
    assert {path.split("/")[-1] for path in manifest["inputs"]} >= {"eval_tasks.parquet", "tools.parquet"}
    before = tree(job.out)
    evaluate(job)
    assert tree(job.out) == before


@pytest.mark.parametrize("method", UNTRAINED)
def test_a_task_alone_is_answered_as_among_others(method, job_of):
    job = job_of(method)
    answer = prepare(job)
    tasks = pl.read_parquet(job.tasks)
    groups = list(tasks.group_by("pool", "candidates", maintain_order=True))[:2]
    first, second = (group.to_dicts() for _, group in groups)
    assert len(first) > 1
    together_in_sets = answer([first, second])
    assert [len(found) for found in together_in_sets] == [len(first), len(second)]
    for row, together in zip([*first, *second], [item for found in together_in_sets for item in found], strict=True):
        ((alone,),) = answer([[row]])
        assert (alone.scored, alone.free, alone.free_text, alone.cut, alone.reasoning) == (
            together.scored,
            together.free,
            together.free_text,
            together.cut,
            together.reasoning,
        )
        if together.log_probabilities:
            assert alone.log_probabilities == pytest.approx(together.log_probabilities, abs=1e-4)


def test_each_method_is_a_module_and_all_modules_belong_to_one():
    for method in params.OF_METHOD:
        name = params.MODULE.get(method, "direct")
        assert callable(import_module(f"metatoolagent.evaluation.methods.{name}").prepare)
    assert set(params.MODULE) | set(params.MODEL_FREE) | set(params.MAIN_JOB) <= set(params.OF_METHOD)
