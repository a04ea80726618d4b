"""Artifacts: files that a stage publishes whole or not at all, with a manifest that is checked before use.

A stage publishes into one folder. Each file is written under a temporary name, flushed to disk and renamed;
`manifest.json` comes last: size and SHA-256 of every file, SHA-256 of every input, machine and versions. Neither DVC nor the file
formats notice a flipped bit (a damaged safetensors or parquet file mostly loads, with wrong content), so every
stage verifies its inputs against their manifest.
"""

import errno
import hashlib
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from metatoolagent.environment import environment
from metatoolagent.errors import Exit, UserError

MANIFEST = "manifest.json"
SCRATCH = "metatoolagent-"
"""What the names of folders begin with that hold what is computed meanwhile."""
MADE = ("data/interim", "data/processed", "models", "results")
"""Where the workflow publishes."""
SCHEMA_VERSION = 1
KEPT = "no output was written; earlier artifacts are as they were"
ABANDONED = 24 * 3600
"""Seconds without a change after which another machine's temporary file is left over: its writer cannot be looked for here."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(content: object) -> str:
    """Return JSON text with one byte sequence for equal content: keys sorted, no NaN, a newline at the end."""
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; flush it and rename it to `path` if the block succeeds.

    A reader sees the old file or the new one, also after a power cut: the content is flushed before the rename
    and the folder after it. The file gets the permissions that the user's umask gives.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale_temporaries(path)
    temporary = temporary_of(path)
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk; files get umask permissions."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if path.is_file():
            # safetensors leaves 0600, which locks colleagues out of a shared cache.
            os.fchmod(descriptor, 0o666 & ~_umask())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def temporary_of(path: Path) -> Path:
    """Return the name under which this process, and no other of any machine, writes `path`."""
    return path.with_name(f".{path.name}.tmp.{_machine()}.{os.getpid()}")


def _machine() -> str:
    """Return a short name of what process ids are counted in: a machine, or a container of it."""
    known, pids = Path("/etc/machine-id"), Path("/proc/self/ns/pid")
    told = [socket.gethostname(), known.read_text(encoding="utf-8") if known.is_file() else ""]
    told += [str(pids.stat().st_ino) if pids.exists() else ""]
    return hashlib.sha256(" ".join(told).encode()).hexdigest()[:8]


def remove_stale_temporaries(path: Path) -> None:
    """Remove what killed writers of `path` left behind; a living process's file stays."""
    prefix = f".{path.name}.tmp."
    for left in path.parent.glob(f"{prefix}*"):
        machine, _, pid = left.name.removeprefix(prefix).rpartition(".")
        if pid.isdecimal() and _is_stale(left, machine, int(pid)):
            left.unlink(missing_ok=True)


def _is_stale(left: Path, machine: str, pid: int) -> bool:
    """Return whether a temporary file's writer is gone; a name without a machine is one of this machine's."""
    if machine in ("", _machine()):
        return _is_gone(pid)
    try:
        return time.time() - left.stat().st_mtime > ABANDONED
    except FileNotFoundError:  # its writer has just finished
        return False


def _is_gone(pid: int) -> bool:
    """Return whether a process has ended; one that was killed has, also while its parent has not asked for its exit code."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@contextmanager
def publishing(
    folder: Path, names: Sequence[str], *, producer: str, inputs: Sequence[Path] = (), extra: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Path]]:
    """Publish the files `names` and their manifest in `folder` if the block succeeds, nothing if it fails.

    Args:
        folder: where the artifact lies; one stage alone writes there.
        names: the files of the artifact.
        producer: the stage, for the manifest.
        inputs: artifacts that it was made from; their hashes go into the manifest.
        extra: further facts for the manifest, such as the hash of the backbone of an adapter.

    Yields:
        The temporary path of each name, all of which the block must write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporaries = {name: temporary_of(folder / name) for name in (*names, MANIFEST)}
    for name in temporaries:
        remove_stale_temporaries(folder / name)
    manifest_path = temporaries.pop(MANIFEST)
    try:
        yield temporaries
        for temporary in temporaries.values():
            flush(temporary)
        manifest = {
            "schema": SCHEMA_VERSION,
            "producer": producer,
            "files": {name: describe(path) for name, path in temporaries.items()},
            "inputs": {path.as_posix(): recorded_sha256(path) for path in inputs},
            "environment": environment(),
            **(extra or {}),
        }
        # Whatever can fail for want of space has been written before the first file of the earlier artifact goes.
        manifest_path.write_text(canonical_json(manifest), encoding="utf-8")
        flush(manifest_path)
        for name, temporary in temporaries.items():
            os.replace(temporary, folder / name)
        os.replace(manifest_path, folder / MANIFEST)
        flush(folder)
    finally:
        for temporary in (*temporaries.values(), manifest_path):
            temporary.unlink(missing_ok=True)


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder in the system's temporary one (TMPDIR), removed afterwards, with those that killed jobs left there.

    It may hold the text of all questions, and nobody else would look for it: a job that is told to end removes nothing.

    Raises:
        UserError: E-TMPDIR if there is no such folder.
    """
    for left in _temporary().glob(f"{SCRATCH}*.*"):
        machine, _, pid = left.name.removeprefix(SCRATCH).rpartition("-")[0].rpartition(".")
        with suppress(FileNotFoundError):  # another job has just removed it
            if pid.isdecimal() and left.lstat().st_uid == os.getuid() and _is_stale(left, machine, int(pid)):
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{_machine()}.{os.getpid()}-") as folder:
        yield Path(folder)


def _temporary() -> Path:
    """Return the system's temporary folder, which Python chooses by writing to it: on a full disk it finds none."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        what, fix = "no folder takes temporary files", "free space, or name a folder that has some in TMPDIR"
        raise UserError("E-TMPDIR", what, got=str(error.strerror), fix=fix, kept=KEPT, exit_code=Exit.IO) from None


def describe(path: Path) -> dict[str, object]:
    """Return a file's entry in a manifest: its size in bytes and its SHA-256."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def recorded_sha256(path: Path) -> str:
    """Return the hash of an input: as its manifest has it, else computed."""
    manifest = path.parent / MANIFEST
    if manifest.is_file():
        entry = read_manifest(path.parent)["files"].get(path.name)
        if entry is not None:
            return str(entry["sha256"])
    return sha256(path)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of an artifact.

    Raises:
        UserError: E-MISSING or E-CORRUPT if there is none or it cannot be read.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content.get("files"), dict):
            raise ValueError("no files")
        if not all({"bytes", "sha256"} <= entry.keys() for entry in content["files"].values()):
            raise ValueError("no size or hash")
    except FileNotFoundError:
        raise UserError(
            "E-MISSING",
            "a folder without a manifest is no published artifact",
            str(path),
            fix=found_hint(path),
            exit_code=Exit.ARTIFACT,
        ) from None
    except (ValueError, AttributeError) as error:
        raise UserError(
            "E-CORRUPT", f"a manifest is damaged ({error})", str(path), fix=restore_hint(path), exit_code=Exit.ARTIFACT
        ) from None
    return dict(content)


def found_hint(manifest: Path) -> str:
    """Say what to do about a file that no manifest describes; it may be one that its author has no copy of."""
    again = f"dvc checkout {manifest}, or run that stage again" if _is_of_workflow(manifest) else "run that stage again"
    return f"name a file that a stage published; if one published this: {again}"


def made_hint(path: Path) -> str:
    """Say what to do about a file that is not there: have the workflow make it, if it can be of those that it makes."""
    if not _is_of_workflow(path):
        return f"correct the path; what snakemake makes lies in {', '.join(MADE)}"
    if path.with_name(MANIFEST).is_file() and path.name not in (there := read_manifest(path.parent)["files"]):
        return f"correct the path; what is published in {path.parent} is {', '.join(there)}"
    return f"run: snakemake --cores all {path}"


def _is_of_workflow(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in MADE)


def restore_hint(path: Path) -> str:
    """Say how a lost or damaged artifact comes back."""
    return f"dvc checkout --force {path}, or delete {path} and run the same command again"


def entry(path: Path) -> dict[str, Any]:
    """Return what the manifest says of an artifact's file that is there; its content is not read.

    Raises:
        UserError: E-MISSING if the file is not there, E-NOT-A-FILE if it is a folder, E-CORRUPT if no manifest describes it.
    """
    if path.is_dir():
        fix = "name the files in it"
        raise UserError("E-NOT-A-FILE", "a folder stands where a file is expected", str(path), fix=fix, exit_code=Exit.ARTIFACT)
    if not path.is_file():
        raise UserError("E-MISSING", "an input is not there", str(path), fix=made_hint(path), exit_code=Exit.ARTIFACT)
    expected = read_manifest(path.parent)["files"].get(path.name)
    if expected is None:
        raise UserError(
            "E-CORRUPT",
            "a file is not in its manifest",
            str(path),
            fix=found_hint(path.parent / MANIFEST),
            exit_code=Exit.ARTIFACT,
        )
    return dict(expected)


def verify(path: Path) -> Path:
    """Return `path` after checking it against the manifest beside it, size first.

    Raises:
        UserError: as `entry`, and E-CORRUPT if it is not the file that was published.
    """
    expected = entry(path)
    size = path.stat().st_size
    found, wanted = (f"size {size}", f"{expected['bytes']}") if size != expected["bytes"] else ("", "")
    if not found and (digest := sha256(path)) != expected["sha256"]:
        found, wanted = f"sha256 {digest[:12]}…", f"{expected['sha256'][:12]}…"
    if found:
        raise UserError(
            "E-CORRUPT",
            "an artifact is not what was published",
            str(path),
            got=f"{found}, expected {wanted}",
            fix=restore_hint(path),
            exit_code=Exit.ARTIFACT,
        )
    return path


def require_folder(folder: Path) -> None:
    """Refuse a folder that nothing could be published in, before that is computed; it is not made yet.

    Raises:
        OSError: what `publishing` would end with: a file in its place or above it, or no permission to write.
    """
    there = folder.absolute()
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def require_space(folder: Path, needed: int) -> None:
    """Refuse to start a stage that the disk has no room for.

    Args:
        folder: where the output goes; its nearest existing parent is measured.
        needed: bytes that the stage writes at most.

    Raises:
        UserError: E-DISK-FULL.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            "E-DISK-FULL",
            f"need {needed / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free",
            str(folder),
            fix="free space there, then run the same command again",
            kept=KEPT,
            exit_code=Exit.IO,
        )
