import os
import shutil

import pytest
import torch

from metatoolagent.meta import checkpoints
from metatoolagent.meta.checkpoints import RECORD, TENSORS, Checkpoint, newest, run_id, save, statements

FILES = (TENSORS, RECORD, "manifest.json")


def at(update):
    return Checkpoint(
        update, {"phi/w": torch.full((64,), float(update)), "step/w": torch.tensor(update)}, {"log": [[update, 0.5]]}
    )


@pytest.fixture
def folder(tmp_path):
    """A run's folder with checkpoints after updates 2 and 4."""
    save(tmp_path, at(2))
    save(tmp_path, at(4))
    return tmp_path


def assert_is(found, update):
    expected = at(update)
    assert (found.update, found.record) == (update, expected.record)
    assert found.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(found.tensors[name], expected.tensors[name]) for name in expected.tensors)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-3])


def empty(path):
    path.write_bytes(b"")


def zero_tail(path):
    """What a power cut leaves of a file whose name reached the disk before its content."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_checkpoint_comes_back_as_it_was(folder):
    assert_is(newest(folder), 4)


def test_a_run_without_checkpoints_begins_anew(tmp_path):
    assert newest(tmp_path) is None
    assert newest(tmp_path / "absent") is None


@pytest.mark.parametrize("damage", [truncate, empty, zero_tail, flip, os.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_is_used(name, damage, folder, capsys):
    damage(folder / "step-000004" / name)
    assert_is(newest(folder), 2)
    assert not (folder / "step-000004").exists()
    assert (folder / "bad.step-000004").is_dir()
    assert "warning[W-CKPT-SKIPPED] step-000004" in capsys.readouterr().err
    save(folder, at(4))
    assert_is(newest(folder), 4)


def test_what_is_wrong_with_a_damaged_checkpoint_is_told(folder, capsys):
    size = (folder / "step-000004" / TENSORS).stat().st_size
    truncate(folder / "step-000004" / TENSORS)
    newest(folder)
    told = f"step-000004: an artifact is not what was published: size {size - 3}, expected {size}\n"
    assert capsys.readouterr().err == f"warning[W-CKPT-SKIPPED] {told}"
    (folder / "step-000002" / "manifest.json").unlink()
    newest(folder)
    assert capsys.readouterr().err.endswith("step-000002: a folder without a manifest is no published artifact\n")


def test_the_same_checkpoint_may_be_damaged_twice(folder):
    for _ in range(2):
        flip(folder / "step-000004" / TENSORS)
        assert_is(newest(folder), 2)
        save(folder, at(4))
    assert_is(newest(folder), 4)


def test_where_all_are_damaged_the_run_begins_anew(folder):
    for path in folder.glob("step-*"):
        flip(path / TENSORS)
    assert newest(folder) is None
    assert sorted(path.name for path in folder.iterdir()) == ["bad.step-000002", "bad.step-000004"]


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_anywhere_gives_a_wrong_state(name, tmp_path, capsys):
    save(tmp_path / "good", at(4))
    content = (tmp_path / "good" / "step-000004" / name).read_bytes()
    for position in range(0, len(content), max(1, len(content) // 60)):
        folder = tmp_path / "flipped"
        shutil.copytree(tmp_path / "good", folder)
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        (folder / "step-000004" / name).write_bytes(damaged)
        # What the manifest says of its producer may change unseen; the state may not.
        found = newest(folder)
        assert found is None or name == "manifest.json"
        if found is not None:
            assert_is(found, 4)
        shutil.rmtree(folder)


def test_two_are_kept(tmp_path):
    for update in (1, 9, 10, 100):
        save(tmp_path, at(update))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000010", "step-000100"]
    assert_is(newest(tmp_path), 100)


def test_the_millionth_update_is_newer_than_the_one_before(tmp_path):
    for update in (999_980, 999_990, 1_000_000, 1_000_010):
        save(tmp_path, at(update))
        assert_is(newest(tmp_path), update)
    assert {path.name for path in tmp_path.iterdir()} == {"step-1000000", "step-1000010"}


def test_a_checkpoint_may_be_saved_again(folder):
    save(folder, at(4))
    assert_is(newest(folder), 4)


def test_what_a_killed_writer_left_is_removed(folder):
    left = folder / ".tmp.step-000006.12345"
    left.mkdir()
    (left / TENSORS).write_bytes(b"half")
    assert_is(newest(folder), 4)
    assert not left.exists()


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("again", [False, True])
def test_wherever_the_writer_dies_the_old_or_the_new_state_is_there(again, tmp_path, monkeypatch):
    """Dies before each of its file-system calls in turn."""
    calls = [
        (os, "replace"),
        (os, "fsync"),
        (checkpoints.Path, "rename"),
        (checkpoints.shutil, "rmtree"),
        (checkpoints, "save_file"),
    ]
    real = {(owner, name): getattr(owner, name) for owner, name in calls}
    seen = set()
    for deadline in range(100):
        folder = tmp_path / str(deadline)
        save(folder, at(2))
        save(folder, at(4))
        done = 0

        def counted(key, *args, deadline=deadline, **options):
            nonlocal done
            if done == deadline:
                raise Killed
            done += 1
            return real[key](*args, **options)

        with monkeypatch.context() as patched:
            for key in calls:
                patched.setattr(*key, lambda *args, key=key, **options: counted(key, *args, **options))
            try:
                save(folder, at(4 if again else 6))
                finished = True
            except Killed:
                finished = False
        found = newest(folder)
        assert_is(found, found.update)
        seen.add(found.update)
        if finished:
            break
    assert finished
    assert deadline >= 8
    # Saved anew, the newest may be gone for a moment, but never the one before.
    assert seen <= ({2, 4} if again else {4, 6})
    assert found.update == (4 if again else 6)


def test_the_name_of_a_run_changes_with_all_that_decides_its_result(tmp_path, monkeypatch):
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    one.write_bytes(b"tasks")
    other.write_bytes(b"other tasks")
    name = run_id({"seed": 0, "rank": 16}, [one])
    assert name == run_id({"rank": 16, "seed": 0}, [one])
    assert len(name) == 16
    changed = {
        run_id({"seed": 1, "rank": 16}, [one]),
        run_id({"seed": 0}, [one]),
        run_id({"seed": 0, "rank": 16}, [other]),
        run_id({"seed": 0, "rank": 16}, [one, other]),
        run_id({"seed": 0, "rank": 16}, []),
    }
    one.write_bytes(b"tasks, changed")
    changed.add(run_id({"seed": 0, "rank": 16}, [one]))
    one.write_bytes(b"tasks")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints.torch, "__version__", "9.9")
        changed.add(run_id({"seed": 0, "rank": 16}, [one]))
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "statements", lambda path: "another line of code")
        changed.add(run_id({"seed": 0, "rank": 16}, [one]))
    for place, what, value in (
        (checkpoints.torch, "get_num_threads", 97),
        (checkpoints.torch.backends.cpu, "get_cpu_capability", "another"),
        (checkpoints.platform, "machine", "another"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(place, what, lambda value=value: value)
            changed.add(run_id({"seed": 0, "rank": 16}, [one]))
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints.torch.cuda, "is_available", lambda: True)
        for device in ("NVIDIA A100", "NVIDIA H100"):
            patched.setattr(checkpoints.torch.cuda, "get_device_name", lambda device=device: device)
            changed.add(run_id({"seed": 0, "rank": 16}, [one]))
    assert name not in changed
    assert len(changed) == 13
    assert name == run_id({"seed": 0, "rank": 16}, [one])


SAID = '"""A module."""\nRATE = 0.1\n"""Of a step."""\n\n\ndef step(x):\n    """Go on."""\n    return x * RATE  # twice\n'


@pytest.mark.parametrize(
    ("edit", "same"),
    [
        (("# twice", "# once"), True),
        (("Go on.", "Go further."), True),
        (("Of a step.", "A share."), True),
        (("A module.", "Another."), True),
        (("x * RATE", "(x\n        * RATE)"), True),
        (("0.1", "0.2"), False),
        (("x * RATE", "RATE * x"), False),
        (("return x", "return 'x', x"), False),
    ],
)
def test_code_is_its_statements_and_not_what_is_said_of_them(tmp_path, edit, same):
    module = tmp_path / "module.py"
    module.write_text(SAID)
    before = statements(module)
    assert SAID.count(edit[0]) == 1
    module.write_text(SAID.replace(*edit))
    assert (statements(module) == before) == same
