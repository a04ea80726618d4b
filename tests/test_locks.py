import json
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from metatoolagent import locks
from metatoolagent.locks import LOCKS, UNLOCK, Holder, clear, explain, program, sign, signature


@pytest.fixture
def locked(tmp_path):
    (tmp_path / LOCKS).mkdir(parents=True)
    (tmp_path / LOCKS / "0.output.lock").write_text("results/main/metrics.json\n")
    return tmp_path


def named(folder, name, code="input()"):
    """The command line of a script of a name."""
    (folder / name).write_text(code)
    return [sys.executable, str(folder / name)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/usr/bin/python3.11", "/venv/bin/snakemake", "--cores", "8"], "snakemake"),
        (["python", "-m", "metatoolagent", "train", "ft"], "metatoolagent"),
        (["/venv/bin/python3", "-X", "dev", "-m", "snakemake"], "snakemake"),
        (["nvim", "/home/me/metatoolagent"], "nvim"),
        (["grep", "-r", "x", "snakemake"], "grep"),
        (["snakemake"], "snakemake"),
        (["python", "-u", "/venv/bin/snakemake", "-n"], "snakemake"),
        (["python"], ""),
        ([], ""),
    ],
)
def test_a_program_is_what_runs_and_not_what_it_is_given(words, expected):
    assert program(words) == expected


def test_a_folder_without_a_lock_has_nothing_to_explain(tmp_path):
    assert explain(tmp_path) == ""


def test_a_lock_that_was_left_is_explained_with_the_command_that_clears_it(locked):
    said = explain(locked)
    assert "a killed run left its lock" in said and said.endswith(UNLOCK)


def test_a_lock_that_will_be_cleared_says_so(locked):
    signed(lock_of(locked))
    assert explain(locked).endswith("the next run that makes anything clears it")


def test_a_lock_of_a_run_that_goes_on_names_its_process(locked):
    with subprocess.Popen(named(locked, "metatoolagent"), cwd=locked, stdin=subprocess.PIPE) as job:
        try:
            said = explain(locked)
        finally:
            job.kill()
    assert f"process {job.pid}" in said and "wait until it ends" in said


def held_by(lock, **change):
    """Sign a lock as another process than this would, one that goes on."""
    signature(lock).write_text(json.dumps(asdict(replace(Holder.this(), pid=1, started=0, above=[], **change))))


@pytest.mark.parametrize("change", [{}, {"machine": "node7 1"}])
def test_a_lock_that_is_held_out_of_sight_names_its_holder_and_is_not_to_be_cleared(locked, monkeypatch, change):
    """By another user's process, and by one of another machine."""

    def refused(pid, signal):
        raise PermissionError

    monkeypatch.setattr(locks.os, "kill", refused)
    held_by(lock_of(locked), **change)
    said = explain(locked)
    assert f"process 1 of machine {change.get('machine', Holder.this().machine).split()[0]} holds it" in said
    assert "killed run" not in said and UNLOCK not in said
    clear(locked)
    assert lock_of(locked).exists()


def test_processes_of_other_folders_and_other_programs_do_not_count(locked, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with (
        subprocess.Popen(named(elsewhere, "metatoolagent"), cwd=elsewhere, stdin=subprocess.PIPE) as other,
        subprocess.Popen([sys.executable, "-c", "input()", "metatoolagent"], cwd=locked, stdin=subprocess.PIPE) as editor,
    ):
        try:
            assert "nothing runs here" in explain(locked)
        finally:
            other.kill()
            editor.kill()


def test_a_process_below_the_run_that_holds_the_lock_says_nothing(locked):
    inner = (
        f"import sys; sys.path[:0] = {sys.path!r}; from pathlib import Path; from metatoolagent.locks import explain;"
        "print(repr(explain(Path('.').resolve())))"
    )
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    done = subprocess.run(named(locked, "snakemake", outer), cwd=locked, text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "''"


SIGNING = """
import sys; sys.path[:0] = {path!r}
from pathlib import Path
from metatoolagent.locks import sign
sign(Path({lock!r}))
print(flush=True)
"""


def signed(lock, ends="", wait=True):
    """Sign a lock by a process of its own."""
    holder = subprocess.Popen(
        [sys.executable, "-c", SIGNING.format(path=sys.path, lock=str(lock)) + ends],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    if wait:
        holder.communicate()
    return holder


def lock_of(folder):
    return folder / LOCKS / "0.output.lock"


def test_the_lock_of_a_process_that_has_ended_is_cleared(locked, capsys):
    signed(lock_of(locked))
    clear(locked)
    assert not list((locked / LOCKS).iterdir()) and explain(locked) == ""
    assert "was cleared" in capsys.readouterr().err


@pytest.mark.parametrize("reaped", [True, False])
def test_the_lock_of_a_killed_process_is_cleared_also_before_its_parent_has_asked_for_it(locked, reaped):
    holder = signed(lock_of(locked), "input()", wait=False)
    clear(locked)
    assert lock_of(locked).exists()
    holder.kill()
    if reaped:
        holder.wait()
    else:
        holder.stdout.read()  # ends with the process
        wait_until(lambda: Holder(**json.loads(signature(lock_of(locked)).read_text())).has_ended())
    clear(locked)
    assert not lock_of(locked).exists()
    holder.communicate()


def wait_until(condition):
    for _ in range(100):
        if condition():
            return
        locks.time.sleep(0.05)
    raise AssertionError("waited in vain")


def test_a_lock_that_is_not_signed_stays(locked, capsys):
    clear(locked)
    signature(lock_of(locked)).write_text("{half")
    clear(locked)
    assert lock_of(locked).exists() and not capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "ended"),
    [
        ({}, True),
        ({"machine": "other 1"}, False),
        ({"machine": "other "}, False),
        ({"boot": ""}, False),
        ({"pids": 1}, False),
    ],
)
def test_only_a_holder_that_can_be_looked_for_is_known_to_have_ended(monkeypatch, change, ended):
    this = Holder.this()
    assert not this.has_ended()
    gone = replace(this, started=this.started - 100)  # another process had this id
    assert replace(gone, **change).has_ended() is ended


@pytest.mark.parametrize(
    ("identity", "pids", "ended"),
    [("known", locks.ALL_PIDS, True), ("", locks.ALL_PIDS, False), ("uninitialized", locks.ALL_PIDS, False), ("known", 1, False)],
)
def test_an_earlier_start_of_a_machine_is_known_by_its_id_and_outside_containers_alone(monkeypatch, identity, pids, ended):
    this = replace(Holder.this(), machine=f"host {identity}", pids=pids)
    monkeypatch.setattr(Holder, "this", lambda: this)
    assert replace(this, boot="an earlier one").has_ended() is ended


def test_a_process_of_another_user_counts_as_alive(monkeypatch):
    def refused(pid, signal):
        raise PermissionError

    monkeypatch.setattr(locks.os, "kill", refused)
    assert locks.is_alive(1, 0)


def test_a_cluster_s_lock_is_not_signed_and_loses_an_older_signature(locked):
    sign(lock_of(locked))
    sign(lock_of(locked), local=False)
    assert not signature(lock_of(locked)).exists()


def test_a_run_beside_it_is_not_waited_for(locked, capsys):
    """It has a lock of its own, for other files."""
    signed(lock_of(locked))
    with subprocess.Popen(named(locked, "snakemake"), cwd=locked, stdin=subprocess.PIPE) as other:
        clear(locked)
        other.kill()
    assert not lock_of(locked).exists() and "waiting" not in capsys.readouterr().err


def test_a_lock_stays_while_a_job_of_the_killed_run_does_not_end(locked, monkeypatch, capsys):
    monkeypatch.setattr(locks, "PATIENCE", 0.5)
    signed(lock_of(locked))
    with subprocess.Popen(named(locked, "metatoolagent"), cwd=locked, stdin=subprocess.PIPE) as job:
        clear(locked)
        assert lock_of(locked).exists()
        job.kill()
    assert f"waiting for process {job.pid}" in capsys.readouterr().err


def test_a_lock_is_signed_by_this_process(locked):
    sign(lock_of(locked))
    assert json.loads(signature(lock_of(locked)).read_text()) == json.loads(json.dumps(asdict(Holder.this())))


def test_a_snakemake_whose_dvc_was_killed_is_waited_for(locked, monkeypatch, capsys):
    """It holds its lock until its job has noticed."""
    ended = subprocess.Popen(named(locked, "dvc", "pass"), cwd=locked)
    above = [(ended.pid, locks.started(ended.pid))]
    ended.wait()
    with subprocess.Popen(named(locked, "snakemake", "import time; time.sleep(1)"), cwd=locked) as orphan:
        holder = replace(Holder.this(), pid=orphan.pid, started=locks.started(orphan.pid), above=above)
        signature(lock_of(locked)).write_text(json.dumps(asdict(holder)))
        clear(locked)
    assert f"waiting for process {orphan.pid}" in capsys.readouterr().err
    assert not lock_of(locked).exists()
