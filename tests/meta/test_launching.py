"""Two processes with gloo that one command starts."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import psutil
import pytest

from metatoolagent.artifacts import canonical_json, publishing
from metatoolagent.errors import UserError
from metatoolagent.meta import launching, training
from metatoolagent.meta.job import Job
from metatoolagent.meta.processes import launched
from metatoolagent.models import gpus
from model_fixtures import ADAPTER, BACKBONE, MTA, TRAIN, tree

LIMIT = 300
"""Seconds after which a command is taken to hang; it takes a few, unless the machine is busy."""


@pytest.fixture
def job(tiny, catalog, materialized, tmp_path):
    """Six meta-tasks, two an update."""
    train = TRAIN.model_copy(update={"meta_batch": 2, "checkpoint_every": 1})
    tasks = materialized / "meta_tasks/meta_tasks.parquet"
    return Job("mta", 0, BACKBONE, ADAPTER, train, MTA, tasks, catalog, tiny, tmp_path / "out", tmp_path / "work")


@pytest.fixture
def long(job, tmp_path):
    """The same meta-tasks 20 times over, so that there is time to end it."""
    rows = pl.read_parquet(job.tasks)
    many = [rows.with_columns((pl.col("meta_task") + 6 * turn).cast(rows.schema["meta_task"])) for turn in range(20)]
    with publishing(tmp_path / "many", ["meta_tasks.parquet"], producer="materialize") as paths:
        pl.concat(many).write_parquet(paths["meta_tasks.parquet"])
    return replace(job, tasks=tmp_path / "many" / "meta_tasks.parquet")


def command(job, processes=2):
    """The command line of a run."""
    sections = {"backbone": job.backbone, "adapter": job.adapter, "train": job.train, "mta": job.mta}
    given = {"seed": job.seed, **{name: section.model_dump() for name, section in sections.items()}}
    places = {"tasks": job.tasks, "catalog": job.catalog, "backbone": job.model, "out": job.out, "work": job.work}
    options = [text for name, path in places.items() for text in (f"--{name}", str(path))]
    options += ["--params", canonical_json(given), "--log", str(job.out.parent / "log"), "--processes", str(processes)]
    return [sys.executable, "-m", "metatoolagent", "train", job.method, *options]


@contextmanager
def running(job, processes=2):
    """The command, killed at the end if it still runs; what it says goes to the file `said`."""
    environment = {**os.environ, "PYTHONPATH": str(Path(training.__file__).parents[2]), "OMP_NUM_THREADS": str(processes)}
    with (job.out.parent / "said").open("w") as said:
        started = subprocess.Popen(command(job, processes), env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            yield started
        finally:
            started.kill()
            started.wait()


def run(job, processes=2):
    """Run the command to its end; return its exit code and what it said."""
    with running(job, processes) as started:
        code = started.wait(LIMIT)
    return code, (job.out.parent / "said").read_text()


def ranks(started, job):
    """Wait for the first checkpoint; return the processes that train."""
    while not list(job.work.glob("*/step-*")):
        assert started.poll() is None, (job.out.parent / "said").read_text()
        time.sleep(0.01)
    return [child for child in psutil.Process(started.pid).children() if "--processes" in child.cmdline()]


def test_one_command_starts_two_processes_that_give_the_result_of_one(job, tmp_path):
    code, said = run(job)
    assert code == 0, said
    (tmp_path / "alone").mkdir()
    alone = replace(job, out=tmp_path / "alone/out", work=tmp_path / "alone/work")
    code, said_alone = run(alone, 1)
    assert code == 0, said_alone
    assert tree(job.out) == tree(alone.out)
    for text in (said, said_alone):  # the same lines, once, and none of the launcher's own
        assert text.count("memory: about") == 1 and not {"elastic", "WARNING", "Traceback"} & set(text.split()), text


def test_an_error_ends_the_command_with_its_code_and_is_told_once(job):
    code, said = run(replace(job, train=job.train.model_copy(update={"meta_batch": 1})))
    assert code == 64
    assert said.startswith("error[E-PROCESSES] 2 processes, but an update has 1 meta-tasks") and said.count("error[") == 1
    assert "Traceback" not in said and "elastic" not in said
    assert (job.out.parent / "log").read_text() == said


def test_a_killed_process_ends_the_command(long):
    with running(long) as started:
        both = ranks(started, long)
        leader = int(next(long.work.glob("*/lock")).read_text())
        killed = next(process for process in both if process.pid != leader)
        killed.kill()
        assert started.wait(LIMIT) == 75
    said = (long.out.parent / "said").read_text()
    assert said.count("error[") == 1 and f"error[E-RANK] rank 1 (process {killed.pid}" in said, said
    assert not long.out.exists()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGUSR1])
def test_a_command_that_is_told_to_end_saves_first(told, long):
    with running(long) as started:
        ranks(started, long)
        started.send_signal(told)
        assert started.wait(LIMIT) == 75
    said = (long.out.parent / "said").read_text()
    assert said.count("error[") == 1 and f"error[I-PAUSED] received {told.name}: paused after update" in said, said


def test_no_process_outlives_the_command(long):
    with running(long) as started:
        left = ranks(started, long)
        assert len(left) == 2
    gone, alive = psutil.wait_procs(left, LIMIT)
    assert len(gone) == 2 and not alive
    assert not long.out.exists()


@pytest.fixture
def three(monkeypatch):
    """Lets torch see three GPUs, of which the first is another process's."""
    monkeypatch.delenv(gpus.CHOSEN, raising=False)
    monkeypatch.delenv(launching.VISIBLE, raising=False)
    monkeypatch.setattr(launching.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(launching.torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(launching.torch.cuda, "get_device_properties", GPU)
    monkeypatch.setattr(gpus, "claim", lambda identifiers, count: [1, 2][:count] if identifiers == ["a", "b", "c"] else [])


class GPU:
    """What torch tells of a pretended GPU."""

    def __init__(self, number):
        self.uuid = "abc"[number]


def test_processes_see_the_gpus_that_were_free(three, monkeypatch):
    assert launching.environment(2) == {"CUDA_VISIBLE_DEVICES": "1,2"}
    monkeypatch.setenv(launching.VISIBLE, "5,GPU-7,9")
    assert launching.environment(2) == {"CUDA_VISIBLE_DEVICES": "GPU-7,9"}


def test_more_processes_than_gpus_are_refused(three):
    with pytest.raises(UserError, match=r"E-GPU.* 4 processes need a GPU each, and this one sees 3") as raised:
        launching.environment(4)
    assert raised.value.exit_code == 64


def test_one_named_gpu_is_not_enough_for_two_processes(three, monkeypatch):
    monkeypatch.setenv(gpus.CHOSEN, "0")
    with pytest.raises(UserError, match="METATOOLAGENT_GPU names one"):
        launching.environment(2)
    monkeypatch.setenv(gpus.CHOSEN, "")  # as good as none
    assert launching.environment(2) == {launching.VISIBLE: "1,2"}


@pytest.mark.parametrize(("threads", "each"), [(1, "1"), (5, "2")])
def test_without_a_gpu_the_processes_share_the_cores(threads, each, monkeypatch):
    monkeypatch.setattr(launching.torch, "get_num_threads", lambda: threads)
    assert launching.environment(2) == {"OMP_NUM_THREADS": each}


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"RANK": "0", "WORLD_SIZE": "2"}, True), ({"RANK": "0"}, False), ({"WORLD_SIZE": "2"}, False), ({}, False)],
)
def test_a_site_that_sets_one_of_the_variables_has_not_started_it(given, expected, monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert launched() == expected
