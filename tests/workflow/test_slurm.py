"""The workflow on a real Slurm of one node: same bytes as on this machine, and one GPU job at a time."""

from itertools import pairwise
from pathlib import Path

import pytest

import one_node

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(one_node.missing()), reason=one_node.missing())]
QUICK = "--slurm-init-seconds-before-status-checks 1 --seconds-between-status-checks 1"
SLURM = f"snakemake --workflow-profile profiles/slurm {QUICK}"
SAME = (
    "tasks/meta_tasks.parquet",
    "ft/adapter/adapter_model.safetensors",
    "mta/adapter/adapter_model.safetensors",
    "metrics.json",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with one_node.cluster(tmp_path_factory.mktemp("slurm")) as folder:
        yield folder


@pytest.fixture(scope="module")
def submitted(cluster, fresh, shell) -> Path:
    """A copy in which `eval_cd` has run on the cluster."""
    folder = fresh("submitted")
    shell(f"timeout 900 {SLURM} eval_cd", folder)
    return folder


def test_two_jobs_with_a_gpu_follow_each_other(cluster):
    """What Slurm is asked for by the profile, and nothing of the workflow: quick to fail where the cluster is at fault."""
    for _ in range(2):
        one_node.told("sbatch", "--gpus=1", "--mem=100", "--output=/dev/null", "--wrap=sleep 2")
    one_node.wait_for(lambda: not one_node.told("squeue", "-h").strip(), "the end of both jobs")
    (_, end, one), (start, _, other) = sorted(one_node.finished(cluster))
    assert (one, other) == (1, 1) and start >= end


def test_results_are_those_of_a_local_run_and_known_to_dvc(submitted, fresh, shell):
    local = fresh("local")
    shell("snakemake --cores all eval_cd", local)  # as many threads as a job of the one node gets
    for name in SAME:
        assert (submitted / "results/main" / name).read_bytes() == (local / "results/main" / name).read_bytes(), name
    assert "Nothing to be done" in shell("snakemake -n eval_cd", submitted).stdout
    assert "up to date" in shell("dvc status", submitted).stdout


def test_two_gpu_jobs_never_share_the_gpu(submitted, cluster):
    jobs = one_node.finished(cluster)[2:]
    with_gpu = sorted(job for job in jobs if job[2])
    assert len(jobs) == 12 and [gpus for *_, gpus in with_gpu] == [1] * 5  # two trainings, and three methods with a model
    for (_, end, _), (start, _, _) in pairwise(with_gpu):
        assert start >= end
