"""The workflow's jobs as Jobs of Kubernetes: what snakemake's executor cluster-generic calls, and what runs in a pod.

`submit` prints the name of a new Job, `status` prints running, success or failed, `delete` ends Jobs, `run` is the pod's
command. The checkout lies on a volume that every pod sees under the same path, so a pod runs snakemake's script as it is.
"""

import hashlib
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

MANIFEST = Path(__file__).with_name("job.yaml")
TIMEOUT = 30
"""Seconds that the cluster may take to answer."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def fail(what: str, where: str, fix: str) -> typer.Exit:
    """Print one error in the shape of all others, and return what ends the command."""
    print(f"error[E-KUBERNETES] {what}\n  where: {where}\n  fix:   {fix}", file=sys.stderr)
    return typer.Exit(1)


def cluster() -> client.BatchV1Api:
    """Return the cluster of the kubeconfig, or the one that this pod runs in."""
    try:
        # Not load_config: where it falls back to the pod's own cluster it says so on stdout, where snakemake reads a name.
        if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
            config.load_incluster_config()
        else:
            config.load_kube_config()
    except config.ConfigException as error:
        fix = "set KUBECONFIG, or run snakemake in a pod with leave to create jobs (profiles/kubernetes/control.yaml)"
        raise fail(f"no cluster is known: {error}", "the kubeconfig", fix) from None
    return client.BatchV1Api()


def template() -> dict[str, Any]:
    """Return the manifest that a Job begins as."""
    manifest: dict[str, Any] = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    return manifest


def namespace() -> str:
    """Return where the Jobs are."""
    return str(template()["metadata"]["namespace"])


def filled(rule: str, cpus: int, memory: int, minutes: int, gpus: int, script: Path) -> dict[str, Any]:
    """Return the manifest of a job.

    Args:
        rule: what its name begins with.
        cpus: processors that are requested.
        memory: MB that are requested, and that it may have at most.
        minutes: after which the pod is told to end.
        gpus: GPUs.
        script: what snakemake wrote to be run.
    """
    manifest = template()
    # The same script has the same name: a submission that is repeated, since its answer was lost, makes no second Job.
    attempt = hashlib.sha256(bytes(script.absolute()) + script.read_bytes()).hexdigest()[:10]
    manifest["metadata"]["name"] = f"metatoolagent-{re.sub('[^a-z0-9]', '-', rule.lower())[:30]}-{attempt}"
    pod = manifest["spec"]["template"]["spec"]
    pod["activeDeadlineSeconds"] = 60 * minutes  # the pod's, from its start; the Job's would count the wait for a GPU too
    container = pod["containers"][0]
    # Not the links resolved: the python of an environment is a link, and knows its packages by where it lies.
    container["command"] = [sys.executable, str(Path(__file__).absolute()), "run", str(script.absolute())]
    bounds = {"memory": f"{memory}M"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    container["resources"] = {"requests": {"cpu": str(cpus), **bounds}, "limits": bounds}
    return manifest


@app.command()
def submit(
    script: Path,
    rule: Annotated[str, typer.Option()],
    cpus: Annotated[int, typer.Option()],
    memory: Annotated[int, typer.Option()],
    minutes: Annotated[int, typer.Option()],
    gpus: Annotated[int, typer.Option()],
) -> None:
    """Create a Job and print its name."""
    manifest = filled(rule, cpus, memory, minutes, gpus, script)
    try:
        cluster().create_namespaced_job(namespace(), manifest, _request_timeout=TIMEOUT)
    except ApiException as error:
        if error.status != HTTPStatus.CONFLICT:
            raise fail(f"the cluster refused a job: {error.reason}: {error.body}", str(MANIFEST), "see there") from None
    except HTTPError as error:
        raise fail(f"the cluster does not answer: {error}", "the kubeconfig", "try again when it does") from None
    print(manifest["metadata"]["name"])


@app.command()
def status(name: str) -> None:
    """Print whether a Job is running, success or failed.

    A cluster that does not answer says nothing of the job: it counts as running, and is asked again.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for snakemake, which takes an answer that fails for its own end
    try:
        found = cluster().read_namespaced_job(name, namespace(), _request_timeout=TIMEOUT).status
    except ApiException as error:
        if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            fix = "log in again, or give leave to get jobs (profiles/kubernetes/control.yaml)"
            raise fail(f"the cluster refused to tell of a job: {error.reason}", name, fix) from None
        # A Job that is gone was deleted, or cleaned away a day after its end (job.yaml) by which nobody had asked: its outcome is
        # not known. Called a success, one deleted at work would leave snakemake to wait for files that never come and to blame
        # the file system, or to take those that its pod publishes after all while that is still told to end. Called failed, it
        # costs one retry: artifacts are published whole, and a training that was done publishes its last checkpoint again.
        print("failed" if error.status == HTTPStatus.NOT_FOUND else "running")
    except HTTPError:
        print("running")
    else:
        true = {condition.type for condition in found.conditions or [] if condition.status == "True"}
        print("success" if "Complete" in true else "failed" if "Failed" in true else "running")


@app.command()
def delete(names: list[str]) -> None:
    """Delete Jobs with their pods, which are told to end first."""
    for name in names:
        try:
            cluster().delete_namespaced_job(name, namespace(), propagation_policy="Background", _request_timeout=TIMEOUT)
        except (ApiException, HTTPError) as error:
            print(f"{name} was not deleted: {error}", file=sys.stderr)


@app.command()
def run(script: Path) -> None:
    """Run snakemake's script in a pod, and pass on the signal to end.

    Kubernetes tells the first process of a pod alone; the trainer, which saves its state then, is a child's child. The pod
    ends with its first process, so that waits for all others, which become its children when the shell between has ended.
    """
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    job = subprocess.Popen(["/bin/sh", str(script)], start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(job.pid, signal.SIGTERM))
    code = job.wait()
    with suppress(ChildProcessError):
        while True:
            os.wait()
    raise typer.Exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    app()
