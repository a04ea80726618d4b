"""Which GPU a process takes, with names that stand for GPUs: no GPU is needed."""

import json
import socket
import subprocess
import sys
from contextlib import contextmanager
from itertools import combinations
from operator import itemgetter
from types import SimpleNamespace
from uuid import uuid4

import pytest
import torch

from metatoolagent.errors import UserError
from metatoolagent.models import backbone, gpus
from metatoolagent.orchestrators import Orchestrators

TAKE = "import sys; from metatoolagent.models import gpus; print(gpus.choose(sys.argv[1:]), flush=True)"
JOB = f"""{TAKE}
import pathlib, time
begun = time.time()
pathlib.Path(f"begun-{{begun}}").touch()
while len(list(pathlib.Path().glob("begun-*"))) < 2:  # so that two have run at once when the first one ends
    time.sleep(0.05)
print(begun, time.time())
"""
SNAKEFILE = """
rule all:
    input: expand("{job}.txt", job=range(3))

rule job:
    output: "{job}.txt"
    resources: gpu=1
    params: python=config["python"], seen=config["seen"]
    shell: "{params.python:q} job.py {params.seen:q} > {output}"
"""


@pytest.fixture(autouse=True)
def _chosen_by_none(monkeypatch):
    """No choice from outside, and what a test took in this process is given back."""
    monkeypatch.delenv(gpus.CHOSEN, raising=False)
    taken: list[socket.socket] = []
    monkeypatch.setattr(gpus, "_held", taken)
    yield
    for lock in taken:
        lock.close()


@pytest.fixture
def two() -> list[str]:
    """Identifiers of two GPUs that no other test has."""
    return [f"test-{uuid4()}" for _ in range(2)]


@contextmanager
def taking(identifiers, take=TAKE):
    """A process that takes one of these GPUs and holds it until it is killed; what it says is left to be read."""
    command = [sys.executable, "-c", f"{take}; input()", *identifiers]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def number(process) -> int:
    return int(process.stdout.readline())


def test_processes_take_different_gpus_and_a_killed_one_gives_its_own_back(two):
    with taking(two) as one, taking(two) as other:
        assert {number(one), number(other)} == {0, 1}
        with taking(two) as third:
            said = third.stderr.readline() + third.stderr.readline()
            assert str(one.pid) in said and str(other.pid) in said and gpus.CHOSEN in said
            assert third.poll() is None
            other.kill()  # SIGKILL: it can tidy nothing up
            assert number(third) in (0, 1)


def test_jobs_of_snakemake_never_share_a_gpu_however_many_it_starts(two, tmp_path):
    """With `--resources gpu=3` and two GPUs, the third job waits for one."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "config.yaml").write_text(json.dumps({"python": sys.executable, "seen": two}))
    command = [sys.executable, "-m", "snakemake", "--cores", "3", "--resources", "gpu=3", "--configfile", "config.yaml"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    jobs = [[float(word) for word in (tmp_path / f"{job}.txt").read_text().split()] for job in range(3)]
    together = [(one, other) for one, other in combinations(sorted(jobs, key=itemgetter(1)), 2) if other[1] < one[2]]
    assert together and all(one[0] != other[0] for one, other in together)


def test_only_gpus_that_the_process_sees_are_taken(two):
    """CUDA_VISIBLE_DEVICES hides GPUs and numbers the others anew; their identifiers stay."""
    with taking(two[1:]) as sees_the_second:
        assert number(sees_the_second) == 0
        with taking(two[::-1]) as sees_both:
            assert number(sees_both) == 1


def test_who_wants_two_gpus_holds_none_before_both_are_free(two):
    several = TAKE.replace("gpus.choose(sys.argv[1:])", "*gpus.claim(sys.argv[1:], 2)")
    with taking(two) as one:
        assert number(one) == 0
        with taking(two, several) as both:
            assert "waiting for 2 GPUs" in both.stderr.readline()
            with taking(two) as other:  # takes the second, which the waiting process does not hold
                assert number(other) == 1
            one.kill()
            assert both.stdout.readline() == "0 1\n"


def test_a_gpu_that_is_named_is_taken_as_it_is(two, monkeypatch):
    monkeypatch.setenv(gpus.CHOSEN, "1")
    with taking(two) as one, taking(two) as other:
        assert (number(one), number(other)) == (1, 1)


@pytest.mark.parametrize("given", ["2", "-1", "one"])
def test_a_gpu_that_there_is_not_is_refused(two, monkeypatch, given):
    monkeypatch.setenv(gpus.CHOSEN, given)
    with pytest.raises(UserError, match="E-GPU") as raised:
        gpus.choose(two)
    assert given in raised.value.got and raised.value.exit_code == 64


def test_a_job_whose_engine_is_gone_waits_for_no_gpu(two, monkeypatch):
    monkeypatch.setattr(Orchestrators, "gone", lambda self: "the orchestrator is gone")
    with pytest.raises(UserError, match="I-PAUSED"):
        gpus.claim(two)


@pytest.fixture
def pretended(two, monkeypatch) -> list[int]:
    """Lets torch see two GPUs; gives those that were made the current one."""
    current: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(two))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=two[index], name="Pretended"))
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    backbone._own_gpu.cache_clear()
    yield current
    backbone._own_gpu.cache_clear()


def test_a_process_keeps_the_gpu_that_it_took_and_says_which(two, pretended, monkeypatch, capsys):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with taking(two) as first:
        assert number(first) == 0
        assert backbone.device() == backbone.device() == torch.device("cuda", 1)
    assert pretended == [1]
    assert capsys.readouterr().err == "computing on GPU 1 of 2: Pretended\n"


def test_a_process_of_torchrun_has_the_gpu_of_its_number(two, pretended, monkeypatch, capsys):
    monkeypatch.setenv("LOCAL_RANK", "0")
    with taking(two) as first:
        assert number(first) == 0
        assert backbone.device() == torch.device("cuda", 0)
    assert pretended == [] and capsys.readouterr().err == ""
