"""The workflow on a real Slurm of one node: same bytes as on this machine, one GPU job at a time, and preemption."""

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

import one_node

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(one_node.missing()), reason=one_node.missing())]
QUICK = "--slurm-init-seconds-before-status-checks 1 --seconds-between-status-checks 1"
SLURM = f"snakemake --workflow-profile profiles/slurm {QUICK}"
ADAPTER = Path("results/main/ft/adapter/adapter_model.safetensors")
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


def test_results_are_those_of_a_local_run_and_known_to_dvc(submitted, finished, shell):
    for name in SAME:
        assert (submitted / "results/main" / name).read_bytes() == (finished / "results/main" / name).read_bytes(), name
    assert "Nothing to be done" in shell("snakemake -n eval_cd", submitted).stdout
    assert "up to date" in shell("dvc status", submitted).stdout


def test_two_gpu_jobs_never_share_the_gpu(submitted, cluster):
    jobs = one_node.finished(cluster)[2:]
    with_gpu = sorted(job for job in jobs if job[2])
    assert len(jobs) == 12 and [gpus for *_, gpus in with_gpu] == [1] * 5  # two trainings, and three methods with a model
    for (_, end, _), (start, _, _) in pairwise(with_gpu):
        assert start >= end


@pytest.mark.parametrize("stop", ["scontrol requeue", "scancel --signal=TERM"], ids=["preempted", "near_its_time_limit"])
def test_a_training_that_is_stopped_goes_on_from_its_checkpoint(cluster, trained, environment, tmp_path, stop):
    """Slurm ends and requeues a preempted job; it sends a job near its limit the profile's signal, and snakemake retries."""
    folder = Path(shutil.copytree(trained, tmp_path / "project", symlinks=True))
    shutil.rmtree(folder / ADAPTER.parent)
    shutil.rmtree(folder / "work")
    command = f"timeout 400 {SLURM} {ADAPTER}".split()
    begun = one_node.begun(cluster)
    with subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as run:
        one_node.wait_for(lambda: any(folder.glob("work/*/*/state.safetensors")) or run.poll() is not None, "a checkpoint", 120)
        (job,) = one_node.told("squeue", "-h", "-t", "running", "-o", "%i").split()
        one_node.told(*stop.split(), job)
        said, _ = run.communicate()
    assert run.returncode == 0, said
    assert one_node.begun(cluster) == begun + 2
    assert (folder / ADAPTER).read_bytes() == (trained / ADAPTER).read_bytes()
