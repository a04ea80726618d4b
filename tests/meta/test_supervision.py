import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metatoolagent.errors import UserError
from metatoolagent.meta import supervision
from metatoolagent.meta.supervision import locked

pytestmark = pytest.mark.usefixtures("handlers")

HOLD = """
import sys
from pathlib import Path
from metatoolagent.meta.supervision import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
WATCH = """
import sys, time
from pathlib import Path
from metatoolagent.meta.supervision import locked
with locked(Path(sys.argv[1])) as supervisor:
    print("watching", flush=True)
    for _ in range(5000):
        if reason := supervisor.reason_to_pause():
            break
        time.sleep(0.02)
    print(reason or "nothing happened", flush=True)
"""
ORCHESTRATE = """
import subprocess, sys
subprocess.run(["bash", "-c", '"$@"; true', "job", sys.executable, "-c", sys.argv[1], sys.argv[2]], stdout=sys.stdout)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(supervision.__file__).parents[2])}


def wait_for(path, text, seconds=60.0):
    deadline = time.monotonic() + seconds
    while text not in path.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, path.read_text(encoding="utf-8")
        time.sleep(0.02)


def test_a_lock_that_another_process_holds_is_refused_with_its_number(tmp_path, holder, monkeypatch, capsys):
    monkeypatch.setattr(supervision, "PATIENCE", 0.1)
    with pytest.raises(UserError) as raised, locked(tmp_path):
        pass
    assert (raised.value.code, raised.value.exit_code) == ("E-LOCK", 75)
    assert f"process {holder.pid} is at work" in raised.value.what
    assert f"waiting for process {holder.pid}" in capsys.readouterr().err


@pytest.mark.parametrize("alone", [True, False])
def test_a_trainer_waits_for_the_same_run_while_it_gives_signs_of_life(tmp_path, holder, monkeypatch, alone):
    monkeypatch.setattr(supervision, "PATIENCE", 1.5)
    steps = iter(range(6))

    def sleep(_):
        if (step := next(steps, None)) is None:
            holder.kill()
            holder.wait()
        else:
            os.utime(tmp_path / "lock", (step, step))
        return time_sleep(0.5)

    time_sleep = time.sleep
    monkeypatch.setattr(supervision.time, "sleep", sleep)
    if not alone:  # the others of its group would give up on it
        with pytest.raises(UserError, match="E-LOCK"), locked(tmp_path, alone=False):
            pass
        return
    with locked(tmp_path):
        assert not list(steps)


def test_a_trainer_that_waits_ends_with_its_orchestrator(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(supervision.Orchestrators, "gone", lambda self: "the orchestrator (process 1) is gone")
    with pytest.raises(UserError, match="I-PAUSED") as raised, locked(tmp_path):
        pass
    assert raised.value.exit_code == 75 and holder.poll() is None


def test_a_run_gives_signs_of_life_to_who_waits_for_its_lock(tmp_path):
    with locked(tmp_path) as supervisor:
        os.utime(supervisor.lock, (0, 0))
        supervisor.give_sign()
        assert time.time() - supervisor.lock.stat().st_mtime < 60
        supervisor.lock.unlink()
        supervisor.give_sign()


def test_a_file_system_without_locks_is_one_clear_error(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(supervision.fcntl, "flock", refused)
    with pytest.raises(UserError, match="gives no locks") as raised, locked(tmp_path):
        pass
    assert (raised.value.code, raised.value.exit_code) == ("E-LOCK", 74)
    assert "NFS 4" in raised.value.fix and raised.value.where == str(tmp_path / "lock")


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(supervision, "PATIENCE", 0.0)
    holder.kill()
    holder.wait()
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text(encoding="utf-8") == f"{os.getpid()}\n"


def test_a_second_trainer_waits_for_a_lock_that_is_given_back(tmp_path, holder):
    holder.stdin.close()  # it leaves the block and ends
    started = time.monotonic()
    with locked(tmp_path) as supervisor:
        assert supervisor.reason_to_pause() == ""
    assert time.monotonic() - started < 30


def test_the_lock_is_free_after_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(supervision, "PATIENCE", 0.0)
    with pytest.raises(RuntimeError, match="boom"), locked(tmp_path):
        raise RuntimeError("boom")
    with locked(tmp_path):
        pass


def test_who_holds_the_lock_file_may_publish(tmp_path):
    with locked(tmp_path) as supervisor:
        supervisor.assert_owner()


@pytest.mark.parametrize("replaced", [False, True])
def test_who_lost_the_lock_file_may_not_publish(tmp_path, replaced):
    with locked(tmp_path) as supervisor:
        if replaced:
            (tmp_path / "new").write_text("1\n", encoding="utf-8")
            (tmp_path / "new").rename(tmp_path / "lock")
        else:
            (tmp_path / "lock").unlink()
        with pytest.raises(UserError) as raised:
            supervisor.assert_owner()
    assert (raised.value.code, raised.value.exit_code) == ("E-LOST-LOCK", 75)
    assert "nothing was written" in raised.value.what


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_is_a_reason_to_pause_and_ends_nothing(tmp_path, number):
    with locked(tmp_path) as supervisor:
        assert supervisor.reason_to_pause() == ""
        os.kill(os.getpid(), number)
        assert supervisor.reason_to_pause() == f"received {number.name}"


@pytest.mark.parametrize("reaped", [True, False])
@pytest.mark.parametrize("name", ["snakemake", "dvc"])
def test_the_death_of_the_orchestrator_is_a_reason_to_pause(name, reaped, tmp_path):
    script, said = tmp_path / name, tmp_path / "said"
    script.write_text(ORCHESTRATE, encoding="utf-8")
    with said.open("wb") as output:
        orchestrator = subprocess.Popen(
            [sys.executable, str(script), WATCH, str(tmp_path / "run")], stdout=output, env=environment()
        )
    wait_for(said, "watching")
    orchestrator.kill()
    if reaped:  # else it stays a zombie, as under a container's first process that never asks for it
        orchestrator.wait()
    wait_for(said, f"the orchestrator (process {orchestrator.pid}) is gone")
    orchestrator.wait()


def test_the_death_of_another_parent_is_none(tmp_path):
    script, said = tmp_path / "some_shell", tmp_path / "said"
    script.write_text(ORCHESTRATE, encoding="utf-8")
    with said.open("wb") as output:
        parent = subprocess.Popen(
            [sys.executable, str(script), WATCH.replace("5000", "10"), str(tmp_path / "run")], stdout=output, env=environment()
        )
    wait_for(said, "watching")
    parent.kill()
    parent.wait()
    wait_for(said, "nothing happened")
