"""The workflow on a real Slurm of one node: same bytes as on this machine, a GPU for each job, and preemption."""

import shutil
import subprocess
from pathlib import Path

import pytest

import one_node
from what_is_left import left

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(one_node.missing()), reason=one_node.missing())]
QUICK = "--slurm-init-seconds-before-status-checks 1 --seconds-between-status-checks 1"
SLURM = f"snakemake --workflow-profile profiles/slurm {QUICK}"
JOBS = 3
"""Of the first test, which the node ends before those of the workflow."""
ADAPTER = Path("results/main/ft/adapter/adapter_model.safetensors")
SAME = (
    "meta_tasks/meta_tasks.parquet",
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


def test_two_jobs_have_two_gpus_and_a_third_waits(cluster):
    """What Slurm is asked for by the profile, and nothing of the workflow: quick to fail where the cluster is at fault."""
    for number in range(JOBS):
        line = f"echo $CUDA_VISIBLE_DEVICES > {cluster}/seen-{number}; sleep 3"
        one_node.told("sbatch", "--gpus=1", "--mem=100", "--output=/dev/null", f"--wrap={line}")
    one_node.wait_for(lambda: not one_node.told("squeue", "-h").strip(), "the end of all jobs")
    jobs = sorted(one_node.finished(cluster))
    (_, first_end, first), (start, second_end, second), (third_start, _, third) = jobs
    assert start < first_end and {first, second} == {frozenset("0"), frozenset("1")}
    assert third_start >= min(first_end, second_end) and third in (first, second)
    assert all(one.isdisjoint(other) for one, other in one_node.overlapping(jobs))
    # Slurm tells a job of its GPU alone, as all that torch will see.
    seen = [(cluster / f"seen-{number}").read_text().strip() for number in range(JOBS)]
    assert sorted(seen) == sorted("".join(gpus) for *_, gpus in jobs)


def test_results_are_those_of_a_local_run_and_known_to_dvc(submitted, finished, shell):
    for name in SAME:
        assert (submitted / "results/main" / name).read_bytes() == (finished / "results/main" / name).read_bytes(), name
    assert "Nothing to be done" in shell("snakemake -n eval_cd", submitted).stdout
    assert "up to date" in shell("dvc status", submitted).stdout


def test_two_gpu_jobs_never_share_a_gpu(submitted, cluster):
    jobs = one_node.finished(cluster)[JOBS:]
    with_gpu = [job for job in jobs if job[2]]
    # Two trainings, and three methods with a model.
    assert len(jobs) == 13 and [len(gpus) for *_, gpus in with_gpu] == [1] * 5
    assert all(one.isdisjoint(other) for one, other in one_node.overlapping(with_gpu))


def test_a_job_that_fails_on_the_cluster_costs_nothing_that_was_made_before_it(submitted, cluster, shell, tmp_path):
    copy = Path(shutil.copytree(submitted, tmp_path / "project", symlinks=True))
    before = left(copy, "data/interim")
    catalog = copy / "tests/fixtures/catalog/tools/kitchen.yaml"
    written = catalog.read_text()
    catalog.write_text(written + '- {name: "\n')
    begun = one_node.begun(cluster)
    said = shell(f"timeout 300 {SLURM} --retries 0 eval_cd", copy, code=None)
    assert said.returncode == 1 and "error[E-PARSE]" in said.stderr + said.stdout
    assert one_node.begun(cluster) == begun + 1
    assert len(before) >= 8 and left(copy, "data/interim") == before
    assert "ingest" in shell("snakemake -n eval_cd", copy).stdout
    catalog.write_text(written)
    assert "Nothing to be done" in shell("snakemake -n eval_cd", copy).stdout
    assert "up to date" in shell("dvc status", copy).stdout


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
