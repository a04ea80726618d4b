"""The fixtures of the model side, and a job over them."""

from dataclasses import replace

import pytest

from metatoolagent import params
from metatoolagent.evaluation.job import Job
from model_fixtures import *  # noqa: F403
from model_fixtures import BACKBONE


@pytest.fixture
def job(tiny, catalog, materialized, tmp_path):
    """The backbone alone on a few tasks."""
    short = params.Evaluate(max_new_tokens=2)
    tasks, more = (
        materialized / "tasks/eval_tasks.parquet",
        {"reasoning": params.Reasoning(tokens=4), "icl": params.Icl(demonstrations=2)},
    )
    return Job("base", BACKBONE, None, short, tasks, catalog, tiny, None, tmp_path / "out", **more)


@pytest.fixture
def job_of(job, materialized):
    """Makes the job of another method that needs no adapter."""

    def make(method):
        demonstrations = materialized / "meta_tasks/meta_tasks.parquet" if method == "icl" else None
        backbone = None if method in params.MODEL_FREE else job.backbone
        short = None if method in params.SELECTING else job.evaluate
        return replace(job, method=method, backbone=backbone, evaluate=short, demonstrations=demonstrations, out=job.out / method)

    return make
