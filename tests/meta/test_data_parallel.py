"""Two processes with gloo, as torchrun starts them."""

import itertools
import math
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import psutil
import pytest
import torch

from metatoolagent.artifacts import canonical_json, publishing
from metatoolagent.meta import training
from metatoolagent.meta.job import Job
from metatoolagent.meta.losses import Outcome
from model_fixtures import ADAPTER, BACKBONE, MTA, TRAIN, run_cli, tree

LIMIT = 300
"""Seconds after which a job is taken to hang; it takes a few, unless the machine is busy."""


@pytest.fixture(scope="module")
def shared(tiny, catalog, materialized):
    """Six meta-tasks, three an update: with two processes, one of them idles in each second round."""
    train = TRAIN.model_copy(update={"meta_batch": 3, "checkpoint_every": 1})
    tasks = materialized / "meta_tasks/meta_tasks.parquet"
    return Job("mta", 0, BACKBONE, ADAPTER, train, MTA, tasks, catalog, tiny, Path("out"), Path("work"))


@pytest.fixture
def job(shared, tmp_path):
    """The run in folders of its own."""
    return replace(shared, out=tmp_path / "out", work=tmp_path / "work")


@pytest.fixture(scope="module")
def alone(shared, tmp_path_factory):
    """The files of the run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    training.train(replace(shared, out=folder / "out", work=folder / "work"))
    for number, handler in before.items():
        signal.signal(number, handler)
    return tree(folder / "out")


def command(job):
    """The command line of a run."""
    sections = {"backbone": job.backbone, "adapter": job.adapter, "train": job.train, "mta": job.mta}
    given = {"seed": job.seed, **{name: section.model_dump() for name, section in sections.items()}}
    places = {"tasks": job.tasks, "catalog": job.catalog, "backbone": job.model, "out": job.out, "work": job.work}
    options = [text for name, path in places.items() for text in (f"--{name}", str(path))]
    return ["train", job.method, *options, "--params", canonical_json(given)]


def run_rank(change, arguments, said, rank, port):
    """Run one of two processes, after a change to the trainer that takes the rank."""
    change(rank)
    environment = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    run_cli(arguments, said, MASTER_PORT=str(port), **environment)


def run(job, change):
    """Run two processes to their end; returns their exit codes and what each said."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["model_fixtures", "metatoolagent.meta.training"])
    port = free_port()
    said = [job.out.parent / f"said-{rank}" for rank in range(2)]
    started = [
        context.Process(target=run_rank, args=(change, command(job), str(path), rank, port)) for rank, path in enumerate(said)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(LIMIT)
    codes = [process.exitcode for process in started]
    for process in started:
        process.kill()
    return codes, [path.read_text(encoding="utf-8") for path in said]


def nothing(rank):
    """No change."""


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def after_update(number, act):
    """Call `act` where the trainer looks for a reason to pause, after an update."""
    calls = itertools.count(1)
    training.Supervisor.reason_to_pause = lambda self: act() if next(calls) == number else ""


def kill_rank_0(rank):
    if rank == 0:
        after_update(2, lambda: os.kill(os.getpid(), signal.SIGKILL))


def kill_rank_1(rank):
    if rank == 1:
        after_update(2, lambda: os.kill(os.getpid(), signal.SIGKILL))


def signal_rank_1(rank):
    if rank == 1:
        after_update(1, lambda: "received SIGTERM")


def poison_rank_1(rank):
    real = training.evaluate
    if rank == 1:

        def poisoned(*args):
            outcome = real(*args)
            return Outcome(outcome.loss_Q * math.nan, outcome.right_Q)

        training.evaluate = poisoned


def test_two_processes_give_the_result_of_one(job, alone):
    codes, said = run(job, nothing)
    assert codes == [0, 0], said
    assert tree(job.out) == alone
    assert "update" in said[0]
    assert "update" not in said[1]


@pytest.mark.parametrize(("killed", "change"), [(0, kill_rank_0), (1, kill_rank_1)])
def test_a_killed_rank_ends_the_job_with_one_message_and_the_same_command_resumes(killed, change, job, alone):
    codes, said = run(job, change)
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] == 75, said
    assert said[1 - killed].count("error[") == 1
    assert f"error[E-RANK] rank {killed} (process " in said[1 - killed]
    assert "Traceback" not in "".join(said)
    assert not job.out.exists()
    codes, said = run(job, nothing)
    assert codes == [0, 0], said
    assert "going on after update 1 of 2" in said[0]
    assert tree(job.out) == alone


def test_a_signal_to_one_process_pauses_all(job):
    codes, said = run(job, signal_rank_1)
    assert codes == [75, 75]
    assert "error[I-PAUSED] received SIGTERM: paused after update 1 of 2" in said[0]
    assert "error" not in said[1]


def test_an_error_of_one_process_is_told_once(job):
    codes, said = run(job, poison_rank_1)
    assert codes == [65, 65]
    assert "error" not in said[0]
    assert said[1].count("error[E-NONFINITE]") == 1
    assert not job.out.exists()


def multiply_bfloat16_on_rank_1(rank):
    training.name_of = lambda chosen: ("float32", "bfloat16")[rank] if chosen.dtype == "auto" else chosen.dtype


def test_processes_that_would_compute_in_different_formats_are_refused(job):
    auto = BACKBONE.model_copy(update={"dtype": "auto"})
    codes, said = run(replace(job, backbone=auto), multiply_bfloat16_on_rank_1)
    assert codes == [64, 64]
    assert "error[E-PROCESSES] the processes' machines differ: some would compute in bfloat16 and some in float32" in said[0]
    assert not job.work.exists() or not list(job.work.glob("*/step-*"))


def use_more_threads_on_rank_1(rank):
    if rank == 1:
        training.checkpoints.torch.get_num_threads = lambda: 97


def test_processes_that_would_round_otherwise_are_refused(job):
    codes, said = run(job, use_more_threads_on_rank_1)
    assert codes == [64, 64]
    assert "error[E-PROCESSES] the processes differ in processor, number of threads" in said[0]
    assert said[1].count("error[") <= 1 and not list(job.work.glob("*"))


def run_short_of_memory_once_on_rank_1(rank):
    """In its first update, where the first pack has more than one question."""
    real, failed = training.evaluate, []

    def scarce(model, weights, pack, train):
        if rank == 1 and not failed and len(pack.gold_Q) > 1:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return real(model, weights, pack, train)

    training.evaluate = scarce


def run_short_of_memory_and_be_killed(rank):
    run_short_of_memory_once_on_rank_1(rank)
    kill_rank_0(rank)


def test_where_one_process_goes_over_to_parts_all_do_and_stay_so_after_a_kill(job):
    job = replace(job, train=job.train.model_copy(update={"checkpoint_every": 1}))
    straight = replace(job, out=job.out.parent / "straight", work=job.work / "straight")
    assert run(straight, run_short_of_memory_once_on_rank_1)[0] == [0, 0]
    run(job, run_short_of_memory_and_be_killed)
    codes, said = run(job, nothing)
    assert codes == [0, 0], said
    for name in training.FILES:
        assert (job.out / name).read_bytes() == (straight.out / name).read_bytes()


def test_more_processes_than_meta_tasks_are_refused(job):
    one = TRAIN.model_copy(update={"meta_batch": 1})
    codes, said = run(replace(job, train=one), nothing)
    assert codes == [64, 64]
    assert "error[E-PROCESSES] 2 processes, but an update has 1 meta-tasks" in said[0]
    assert "error" not in said[1]


def test_torchrun_itself_ends_when_a_rank_is_killed(job, tmp_path):
    rows = pl.read_parquet(job.tasks)
    many = [rows.with_columns((pl.col("meta_task") + 6 * turn).cast(rows.schema["meta_task"])) for turn in range(20)]
    with publishing(tmp_path / "many", ["meta_tasks.parquet"], producer="materialize") as paths:
        pl.concat(many).write_parquet(paths["meta_tasks.parquet"])
    job = replace(job, tasks=tmp_path / "many" / "meta_tasks.parquet")
    environment = {**os.environ, "PYTHONPATH": str(Path(training.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    launcher += ["--shutdown-timeout", str(LIMIT)]
    with (tmp_path / "said").open("w") as said:
        started = subprocess.Popen(
            [*launcher, "-m", "metatoolagent", *command(job)], env=environment, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            while not list(job.work.glob("*/step-*")):
                assert started.poll() is None, (tmp_path / "said").read_text()
                time.sleep(0.01)
            leader = int(next(job.work.glob("*/lock")).read_text())
            ranks = [process for process in psutil.Process(started.pid).children() if process.pid != leader]
            assert len(ranks) == 1
            ranks[0].kill()
            assert started.wait(LIMIT) != 0
        finally:
            started.kill()
            started.wait()
    text = (tmp_path / "said").read_text()
    assert text.count("error[") == 1, text
    assert "error[E-RANK] rank 1 (process " in text
    assert not psutil.pid_exists(leader)
