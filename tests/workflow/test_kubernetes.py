"""The workflow with profiles/kubernetes on a pretended API server: same bytes as here, one GPU job at a time, preemption."""

import json
import shutil
import subprocess
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

import one_namespace

if not (find_spec("kubernetes") and find_spec("snakemake_executor_plugin_cluster_generic")):
    pytest.skip("the extra `kubernetes` is not installed", allow_module_level=True)

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "profiles/kubernetes"
COMMAND = "snakemake --workflow-profile profiles/kubernetes --seconds-between-status-checks 1"
ADAPTER = Path("results/main/ft/adapter/adapter_model.safetensors")
SAME = (
    "meta_tasks/meta_tasks.parquet",
    "ft/adapter/adapter_model.safetensors",
    "mta/adapter/adapter_model.safetensors",
    "metrics.json",
)


@pytest.fixture
def cluster(tmp_path, environment, monkeypatch):
    with one_namespace.cluster(tmp_path) as namespace:
        monkeypatch.setitem(environment, "KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield namespace


def wait_for(condition, what, patience=120.0):
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"no {what} after {patience} s"
        time.sleep(0.05)


@pytest.mark.slow
def test_results_are_those_of_a_local_run_and_one_job_at_a_time_has_the_gpu(cluster, finished, fresh, shell):
    submitted = fresh("submitted")
    shell(f"timeout 900 {COMMAND} eval_cd", submitted)
    for name in SAME:
        assert (submitted / "results/main" / name).read_bytes() == (finished / "results/main" / name).read_bytes(), name
    assert "Nothing to be done" in shell("snakemake -n eval_cd", submitted).stdout
    assert "up to date" in shell("dvc status", submitted).stdout

    jobs = list(cluster.jobs.values())
    assert {job.condition for job in jobs} == {"Complete"}
    with_gpu = sorted(span for job in jobs if job.gpus for span in job.spans)
    assert len(with_gpu) == 5  # two trainings, and three methods with a model
    for (_, end), (start, _) in pairwise(with_gpu):
        assert start >= end
    (training, *_) = [job for name, job in cluster.jobs.items() if "-train-" in name]
    assert training.spec["resources"] == {
        "requests": {"cpu": "1", "memory": "8000M", "nvidia.com/gpu": "1"},
        "limits": {"memory": "8000M", "nvidia.com/gpu": "1"},
    }
    assert training.manifest["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 240 * 60


@pytest.mark.slow
@pytest.mark.parametrize("stop", ["preempted", "near_its_time_limit"])
def test_a_training_that_is_stopped_goes_on_from_its_checkpoint(cluster, trained, tmp_path, environment, stop):
    """A disrupted pod begins again in the same Job; one that is told to end otherwise has failed, and snakemake retries."""
    folder = Path(shutil.copytree(trained, tmp_path / "project", symlinks=True))
    shutil.rmtree(folder / ADAPTER.parent)
    shutil.rmtree(folder / "work")
    said_by_pods = []
    cluster.ended = lambda job: said_by_pods.append((folder / "logs/main/ft/train.log").read_text())
    with subprocess.Popen(
        f"timeout 400 {COMMAND} {ADAPTER}".split(),
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as run:
        wait_for(lambda: any(folder.glob("work/*/*/state.safetensors")) or run.poll() is not None, "checkpoint")
        (job,) = [job for name, job in cluster.jobs.items() if "-train-" in name]
        job.disrupted = stop == "preempted"
        job.end()
        said, _ = run.communicate()
    assert run.returncode == 0, said
    assert "I-PAUSED" in said_by_pods[0]  # in time: a pod's other processes end with its first
    trainings = [job for name, job in cluster.jobs.items() if "-train-" in name]
    pods = [len(job.pods) for job in trainings]
    assert pods == ([2] if stop == "preempted" else [1, 1])
    assert [job.condition for job in trainings] == (["Complete"] if stop == "preempted" else ["Failed", "Complete"])
    assert (folder / ADAPTER).read_bytes() == (trained / ADAPTER).read_bytes()


def test_a_deleted_job_ends_with_its_pod(cluster, shell, tmp_path):
    script = tmp_path / "script"
    script.write_text("sleep 600\n")
    asked = "--rule a_rule --cpus 1 --memory 1 --minutes 1 --gpus 0"
    name = shell(f"python profiles/kubernetes/jobs.py submit {asked} {script}", ROOT).stdout.strip()
    again = shell(f"python profiles/kubernetes/jobs.py submit {asked} {script}", ROOT).stdout.strip()
    assert again == name and name.startswith("metatoolagent-a-rule-") and list(cluster.jobs) == [name]
    wait_for(lambda: cluster.jobs[name].pods, "pod")
    shell(f"mkdir -p .snakemake && {PROFILE / 'cancel'} {name}", tmp_path)
    wait_for(lambda: cluster.jobs[name].spans, "end of the pod")
    assert cluster.jobs[name].deleted


def test_without_a_cluster_there_is_one_clear_error(tmp_path, shell, environment, monkeypatch):
    monkeypatch.setitem(environment, "KUBECONFIG", str(tmp_path / "none"))
    done = shell(
        "python profiles/kubernetes/jobs.py submit --rule x --cpus 1 --memory 1 --minutes 1 --gpus 0 README.md", ROOT, code=1
    )
    assert done.stderr.startswith("error[E-KUBERNETES]") and "Traceback" not in done.stderr and not done.stdout


def test_a_job_that_is_gone_has_failed_and_a_cluster_that_is_silent_says_nothing_of_it(cluster, tmp_path, shell):
    status = "python profiles/kubernetes/jobs.py status gone"
    assert shell(status, ROOT).stdout == "failed\n"
    config = tmp_path / "kubeconfig"
    config.write_text(one_namespace.KUBECONFIG.format(port=9))  # where nothing listens
    assert shell(status, ROOT).stdout == "running\n"


@pytest.mark.parametrize("file", ["job.yaml", "control.yaml"])
def test_manifests_have_no_field_that_kubernetes_does_not_know(file):
    """The client drops what its models do not have, so a manifest that comes back whole has known fields alone."""
    from kubernetes import client

    class Response:
        def __init__(self, content):
            self.data = content

    api = client.ApiClient()
    for manifest in yaml.safe_load_all((PROFILE / file).read_text()):
        model = api.deserialize(Response(json.dumps(manifest)), f"V1{manifest['kind']}")
        assert api.sanitize_for_serialization(model) == manifest
