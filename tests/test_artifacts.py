import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from metatoolagent import artifacts
from metatoolagent.errors import UserError


def publish(folder, text="one", names=("a.txt", "b.txt"), **more):
    with artifacts.publishing(folder, list(names), producer="test", **more) as paths:
        for name in names:
            paths[name].write_text(f"{text} {name}", encoding="utf-8")


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_published_verifies(tmp_path):
    source = tmp_path / "in" / "source.txt"
    source.parent.mkdir()
    source.write_text("x", encoding="utf-8")
    publish(tmp_path / "out", inputs=[source], extra={"backbone": "abc"})
    manifest = artifacts.read_manifest(tmp_path / "out")
    assert manifest["producer"] == "test"
    assert manifest["inputs"] == {source.as_posix(): artifacts.sha256(source)}
    assert manifest["backbone"] == "abc"
    assert set(content(tmp_path / "out")) == {"a.txt", "b.txt", "manifest.json"}
    for name in ("a.txt", "b.txt"):
        assert artifacts.verify(tmp_path / "out" / name).read_text(encoding="utf-8") == f"one {name}"


def test_equal_content_has_equal_manifests(tmp_path):
    publish(tmp_path / "one")
    publish(tmp_path / "two", names=("b.txt", "a.txt"))
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("fails", ["before the first file", "between files"])
def test_a_failure_leaves_the_earlier_artifact(tmp_path, fails):
    publish(tmp_path)
    before = content(tmp_path)
    with pytest.raises(RuntimeError), artifacts.publishing(tmp_path, ["a.txt", "b.txt"], producer="test") as paths:
        if fails == "between files":
            paths["a.txt"].write_text("two", encoding="utf-8")
        raise RuntimeError
    assert content(tmp_path) == before


def test_a_file_that_was_not_written_publishes_nothing(tmp_path):
    publish(tmp_path)
    before = content(tmp_path)
    with pytest.raises(FileNotFoundError), artifacts.publishing(tmp_path, ["a.txt", "b.txt"], producer="test") as paths:
        paths["a.txt"].write_text("two", encoding="utf-8")
    assert content(tmp_path) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from metatoolagent import artifacts
calls = 0
def dying(function, last):
    def call(*given):
        global calls
        calls += 1
        if calls > last:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given)
    return call
last = int(sys.argv[2])
os.replace, os.fsync = dying(os.replace, last), dying(os.fsync, last)
with artifacts.publishing(Path(sys.argv[1]), ["a.txt", "b.txt"], producer="test") as paths:
    for name, path in paths.items():
        path.write_text("two " + name)
"""


@pytest.mark.parametrize("survived", range(8))
def test_a_kill_at_any_step_is_noticed_or_harmless_and_a_second_run_mends_it(tmp_path, survived):
    publish(tmp_path)
    source = Path(artifacts.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(survived)], check=False, env={**os.environ, "PYTHONPATH": str(source)}
    )
    assert done.returncode in {0, -signal.SIGKILL}
    # Each file is the old one or the new one, whole; a mixture does not verify.
    texts = {name: (tmp_path / name).read_text(encoding="utf-8") for name in ("a.txt", "b.txt")}
    assert all(text in {f"one {name}", f"two {name}"} for name, text in texts.items())
    for name, text in texts.items():
        try:
            artifacts.verify(tmp_path / name)
        except UserError as error:
            assert (error.code, error.exit_code) == ("E-CORRUPT", 66)
        else:
            assert text == f"{'two' if done.returncode == 0 else text.split()[0]} {name}"
    publish(tmp_path, "two")
    assert set(content(tmp_path)) == {"a.txt", "b.txt", "manifest.json"}
    assert artifacts.verify(tmp_path / "a.txt").read_text(encoding="utf-8") == "two a.txt"


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[3] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("damage", "code", "told"),
    [
        (flip, "E-CORRUPT", "sha256"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "E-CORRUPT", "size 8, expected 9"),
        (lambda path: path.write_bytes(b""), "E-CORRUPT", "size 0"),
        (lambda path: path.write_bytes(path.read_bytes()[:-4] + bytes(4)), "E-CORRUPT", "sha256"),
        (Path.unlink, "E-MISSING", ""),
        (lambda path: (path.parent / "manifest.json").unlink(), "E-MISSING", ""),
        (lambda path: (path.parent / "manifest.json").write_text("{", encoding="utf-8"), "E-CORRUPT", ""),
        (lambda path: (path.parent / "manifest.json").write_text("[]", encoding="utf-8"), "E-CORRUPT", ""),
        (lambda path: (path.parent / "manifest.json").write_text("{}", encoding="utf-8"), "E-CORRUPT", ""),
    ],
)
def test_damage_is_found(tmp_path, damage, code, told):
    publish(tmp_path)
    damage(tmp_path / "a.txt")
    with pytest.raises(UserError) as raised:
        artifacts.verify(tmp_path / "a.txt")
    assert (raised.value.code, raised.value.exit_code) == (code, 66)
    assert told in raised.value.got
    assert raised.value.fix


def test_a_file_that_was_not_published_is_not_taken(tmp_path):
    publish(tmp_path)
    (tmp_path / "c.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="not in its manifest"):
        artifacts.verify(tmp_path / "c.txt")


def test_files_get_the_permissions_of_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        with artifacts.atomic_path(tmp_path / "a.txt") as path:
            path.write_text("x", encoding="utf-8")
            path.chmod(0o600)
    finally:
        os.umask(old)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_what_dead_writers_left_is_removed_and_living_ones_keep_theirs(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    own = artifacts.temporary_of(tmp_path / "a.txt")
    stale, alive = own.with_suffix(f".{ended.pid}"), own.with_suffix(f".{os.getppid()}")
    nameless = tmp_path / f".a.txt.tmp.{ended.pid}"  # of a version that did not name the machine
    for left in (stale, alive, nameless):
        left.write_text("left", encoding="utf-8")
    publish(tmp_path)
    assert not stale.exists() and not nameless.exists()
    assert alive.exists()


def test_a_killed_writer_that_nobody_has_asked_for_its_exit_code_is_gone(tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    left = artifacts.temporary_of(tmp_path / "a.txt").with_suffix(f".{killed.pid}")
    left.write_text("left", encoding="utf-8")
    publish(tmp_path)
    assert left.exists()
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # a zombie from here on
    publish(tmp_path)
    assert not left.exists()
    killed.wait()


def test_what_killed_jobs_kept_meanwhile_is_removed_and_living_ones_keep_theirs(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        "import time; from metatoolagent.artifacts import scratch\nwith scratch() as folder:\n"
        " (folder / 'text').write_text('all questions'); print(folder, flush=True); time.sleep(600)"
    )
    command, own = [sys.executable, "-c", code], os.environ | {"TMPDIR": str(tmp_path)}
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own) as killed,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own) as living,
    ):
        try:
            left, kept = (Path(job.stdout.readline().strip()) for job in (killed, living))
            killed.terminate()
            killed.wait()
            assert (left / "text").is_file()
            with artifacts.scratch() as folder:
                assert {*tmp_path.iterdir()} == {folder, kept}
        finally:
            killed.kill()
            living.kill()
    assert not folder.exists()


def test_a_full_disk_without_a_temporary_folder_is_told(monkeypatch):
    def choose():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", choose)
    with pytest.raises(UserError) as raised, artifacts.scratch():
        pass
    assert (raised.value.code, raised.value.exit_code) == ("E-TMPDIR", 74)
    assert "TMPDIR" in raised.value.fix


def test_machines_that_share_a_file_system_write_under_different_names(tmp_path, monkeypatch):
    """One process id on both: neither writes into the other's file, nor takes it for left over while it is written."""
    here = artifacts.temporary_of(tmp_path / "a.txt")
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    there = artifacts.temporary_of(tmp_path / "a.txt")
    assert here != there
    monkeypatch.undo()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    theirs = there.with_suffix(f".{ended.pid}")
    theirs.write_text("theirs", encoding="utf-8")
    publish(tmp_path)
    assert theirs.read_text(encoding="utf-8") == "theirs"
    os.utime(theirs, (0, theirs.stat().st_mtime - artifacts.ABANDONED - 60))
    publish(tmp_path)
    assert not theirs.exists()


@pytest.mark.parametrize(
    ("call", "done_before"),
    [("fsync", 0), ("fsync", 1), ("fsync", 2), ("replace", 0)],
    ids=["first", "second", "manifest", "rename"],
)
def test_a_full_disk_keeps_the_old_files(tmp_path, monkeypatch, call, done_before):
    publish(tmp_path)
    before = content(tmp_path)
    real, done = getattr(os, call), []

    def full(*given):
        done.append(given)
        if len(done) > done_before:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*given)

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        publish(tmp_path, "two")
    assert content(tmp_path) == before


def test_a_stage_does_not_start_without_room(tmp_path):
    artifacts.require_space(tmp_path / "not" / "there", 1)
    with pytest.raises(UserError) as raised:
        artifacts.require_space(tmp_path / "not" / "there", 2**70)
    assert (raised.value.code, raised.value.exit_code) == ("E-DISK-FULL", 74)


def test_where_nothing_can_be_published_it_is_told_before(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for folder in (tmp_path, tmp_path / "not/there"):
        artifacts.require_folder(folder)
    for folder in ("file", "file/below/it", "link", "link/below/it"):
        with pytest.raises(NotADirectoryError) as raised:
            artifacts.require_folder(tmp_path / folder)
        assert raised.value.filename == str(tmp_path / Path(folder).parts[0])
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


def test_a_folder_that_may_not_be_written_is_told_before(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write everywhere
    with pytest.raises(PermissionError) as raised:
        artifacts.require_folder(tmp_path / "not/there")
    assert raised.value.filename == str(tmp_path)


def test_canonical_json_has_one_form():
    assert artifacts.canonical_json({"b": 1, "a": "é"}) == artifacts.canonical_json({"a": "é", "b": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifacts.canonical_json(float("nan"))
