"""What a failed job leaves of an artifact: the earlier one, whole, with the records of what it was made from."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metatoolagent.artifacts import atomic_path
from metatoolagent.handover import say
from metatoolagent.stages import record

Identity = tuple[int, int, int]
Records = dict[Path, bytes | None]
"""What Snakemake's records of the outputs hold, byte for byte; None for an output without one."""


class Begun:
    """Which files the outputs of jobs were when these began."""

    def __init__(self) -> None:
        self._files: dict[Any, list[Identity | None]] = {}

    def note(self, job: Any) -> None:
        """Note the outputs of a job that begins."""
        self._files[job] = identities(job.output)

    def same(self, job: Any) -> bool:
        """Say whether no output of a job is another file than when it began, a new one or a lost one; false if it never did."""
        return self._files.get(job) == identities(job.output)

    def records(self, job: Any) -> Records | None:
        """Return the records of the outputs of a failed job before Snakemake writes new ones; None if it left other outputs."""
        if not self.same(job):
            return None
        paths = [Path(record(str(file))) for file in job.output]
        return {path: path.read_bytes() if path.exists() else None for path in paths}


def identities(files: Sequence[Any]) -> list[Identity | None]:
    """Return what tells a published file from another of its name: inode, size and time of change; None where there is none."""
    return [_identity(Path(file)) for file in files]


def _identity(path: Path) -> Identity | None:
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    return there.st_ino, there.st_size, there.st_mtime_ns


def restore(job: Any, records: Records) -> None:
    """Give the outputs of a failed job their records back; by those that Snakemake wrote they are of the inputs of today."""
    for path, content in records.items():
        if content is None:
            path.unlink(missing_ok=True)
            continue
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    persistence = job.dag.workflow.persistence
    persistence._clear_cache()
    for file in job.output:
        persistence._unmark_incomplete(persistence._get_key(file))


def bring_back(environment: Mapping[str, str]) -> None:
    """Bring back what DVC removed when it began a stage that has failed, as DVC keeps it; say so where that cannot be.

    Args:
        environment: of the run; DVC sets DVC_STAGE to the stage's name for its command, and without it nothing is done.
    """
    if (stage := environment.get("DVC_STAGE")) is None:
        return
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        with Repo() as repo:
            (info,) = repo.stage.collect_granular(stage)
            # Output by output: DVC holds the stage's lock, and would wait for itself.
            lost = [out for out in info.stage.outs if out.use_cache and out.hash_info and not out.exists]
            for out in lost:
                out.checkout(force=True)
            for path in {Path(out.fs_path).relative_to(repo.root_dir) for out in lost}:
                _age(path)
    except (DvcException, OSError) as error:
        say(f"the earlier outputs of {stage} could not be brought back ({error}); try `dvc checkout`")


def _age(path: Path) -> None:
    """Make an output as old as its record says: newer than an edit, it would pass for made from it."""
    told = Path(record(path.as_posix()))
    if told.is_file() and path.is_file():
        ended = json.loads(told.read_text(encoding="utf-8"))["endtime"]
        os.utime(path, (ended, ended))
