"""A namespace of a pretended Kubernetes on this machine, for the time of a test: the API server's part for Jobs over HTTP.

It does what the manifests ask for as Kubernetes documents it: a pod's command runs as a process with a bare environment, one
pod at a time has the GPU, a pod that is to end gets SIGTERM, its deadline ends it, all of its processes end with the first,
and a pod that is disrupted begins again where the Job's policy ignores that. What it cannot show is the rest of a cluster:
images, volumes, permissions.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
BECOME = "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1); os.execv(sys.argv[1], sys.argv[1:])"
AS_FIRST_PROCESS = [sys.executable, "-c", BECOME]
"""Runs a command as the parent of all that it leaves (prctl PR_SET_CHILD_SUBREAPER), as the first process of a pod is."""

KUBECONFIG = """apiVersion: v1
kind: Config
current-context: test
clusters: [{{name: test, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: test, user: {{}}}}]
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
"""


@dataclass
class Job:
    """A Job and its pods so far."""

    manifest: dict[str, Any]
    pods: list[subprocess.Popen[bytes]] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)
    """When each pod began and ended."""
    condition: str = ""
    deleted: bool = False
    disrupted: bool = False

    @property
    def spec(self) -> dict[str, Any]:
        return self.manifest["spec"]["template"]["spec"]["containers"][0]

    @property
    def gpus(self) -> int:
        return int(self.spec["resources"]["limits"].get("nvidia.com/gpu", 0))

    def status(self) -> dict[str, Any]:
        conditions = [{"type": self.condition, "status": "True"}] if self.condition else []
        return {**self.manifest, "status": {"conditions": conditions}}

    def ignores_disruption(self) -> bool:
        rules = self.manifest["spec"]["podFailurePolicy"]["rules"]
        return any(
            rule["action"] == "Ignore" and on["type"] == "DisruptionTarget" for rule in rules for on in rule["onPodConditions"]
        )

    def end(self) -> None:
        """Tell the pod to end, by a signal to its first process."""
        if self.pods:
            self.pods[-1].send_signal(signal.SIGTERM)


class Namespace:
    """The Jobs, and the one GPU."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.ended: Callable[[Job], None] = lambda job: None
        """Called when a pod has ended, before anything follows from it."""
        self.gpu = threading.Lock()

    def create(self, manifest: dict[str, Any]) -> Job:
        job = self.jobs[manifest["metadata"]["name"]] = Job(manifest)
        threading.Thread(target=self.work, args=(job,), daemon=True).start()
        return job

    def work(self, job: Job) -> None:
        """Run the pods of a Job, until one decides it."""
        while not job.condition and not job.deleted:
            if job.gpus:
                with self.gpu:
                    code = self.pod(job)
            else:
                code = self.pod(job)
            if code == 0:
                job.condition = "Complete"
            elif not (job.disrupted and job.ignores_disruption()):
                job.condition = "Failed"
            job.disrupted = False

    def pod(self, job: Job) -> int:
        start = time.monotonic()
        mark = f"{id(job)}-{len(job.pods)}"
        bare = {"PATH": os.defpath, "HOME": os.environ["HOME"], "POD": mark}
        job.pods.append(subprocess.Popen([*AS_FIRST_PROCESS, *job.spec["command"]], cwd="/", env=bare, **SILENT))
        deadline = threading.Timer(job.manifest["spec"]["template"]["spec"]["activeDeadlineSeconds"], job.end)
        deadline.start()
        code = job.pods[-1].wait()
        deadline.cancel()
        kill_all(mark)
        job.spans.append((start, time.monotonic()))
        self.ended(job)
        return code


def kill_all(mark: str) -> None:
    """Kill what still runs in a pod: none of its processes outlives the first."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("POD") == mark:
                process.kill()


@contextmanager
def cluster(folder: Path) -> Iterator[Namespace]:
    """Serve a namespace, with its kubeconfig in a folder."""
    namespace = Namespace()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, code: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def named(self) -> Job | None:
            job = namespace.jobs.get(self.path.partition("?")[0].rpartition("/")[2])
            if job is None or job.deleted:
                self.answer(404, {"kind": "Status", "code": 404, "reason": "NotFound"})
                return None
            return job

        def do_POST(self) -> None:
            assert self.path == "/apis/batch/v1/namespaces/default/jobs", self.path
            manifest = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if manifest["metadata"]["name"] in namespace.jobs:
                self.answer(409, {"kind": "Status", "code": 409, "reason": "AlreadyExists"})
            else:
                self.answer(201, namespace.create(manifest).manifest)

        def do_GET(self) -> None:
            if job := self.named():
                self.answer(200, job.status())

        def do_DELETE(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if job := self.named():
                job.deleted = True
                job.end()
                self.answer(200, {"kind": "Status", "status": "Success"})

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "kubeconfig").write_text(KUBECONFIG.format(port=server.server_address[1]))
    try:
        yield namespace
    finally:
        server.shutdown()
        server.server_close()
        for job in namespace.jobs.values():
            job.deleted = True
            job.end()
