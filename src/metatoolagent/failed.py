"""What a failed job leaves of an artifact: the earlier one, whole, with the records of what it was made from."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metatoolagent.handover import say
from metatoolagent.stages import record

Identity = tuple[int, int, int]


class Begun:
    """Which files the outputs of jobs were when these began, and which of them were known to be half-made."""

    def __init__(self) -> None:
        self._files: dict[Any, list[Identity | None]] = {}
        self._half: dict[Any, set[str]] = {}
        self._left: set[Any] = set()

    def note(self, job: Any) -> None:
        """Note the outputs of a job that begins, unless they are."""
        if job not in self._files:
            self._left.discard(job)
            self._files[job] = identities(job.output)
            self._half[job] = job.dag.workflow.persistence._filter_incomplete_keys(_keys(job))

    def fail(self, job: Any) -> None:
        """Note that a job has failed, and whether each of its outputs is the file that it was before: it has left them."""
        if self._files.pop(job, None) == identities(job.output):
            self._left.add(job)

    def left(self, job: Any) -> bool:
        """Say whether a job has failed and left its outputs as they were."""
        return job in self._left

    def unmark(self, job: Any) -> None:
        """Let the outputs that a job has left be as complete as they were: what a killed run left half-made still is."""
        persistence = job.dag.workflow.persistence
        for key in _keys(job) - self._half[job]:
            persistence._unmark_incomplete(key)


def _keys(job: Any) -> set[str]:
    return {job.dag.workflow.persistence._get_key(file) for file in job.output}


def identities(files: Sequence[Any]) -> list[Identity | None]:
    """Return what tells a published file from another of its name: inode, size and time of change; None where there is none."""
    return [_identity(Path(file)) for file in files]


def _identity(path: Path) -> Identity | None:
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    return there.st_ino, there.st_size, there.st_mtime_ns


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
            # What stays between runs, a sweep's folder, DVC has not removed.
            removed = [out for out in _outs(repo, stage) if out.use_cache and out.hash_info and not out.persist]
            if all(out.exists for out in removed):
                return
            places = {out: Path(out.fs_path).relative_to(repo.root_dir) for out in removed}
            # All, since of a half-made output the record stays. Records first: an output without one would pass for made from the
            # edit that failed. One by one: DVC holds the stage's lock, and would wait for itself.
            for out in sorted(removed, key=lambda out: not places[out].is_relative_to(record(""))):
                out.checkout(force=True)
                _age(places[out])
    except (DvcException, OSError) as error:
        say(f"the earlier outputs of {stage} could not be brought back ({error}); try `dvc checkout`")


def _outs(repo: Any, stage: str) -> Sequence[Any]:
    """Return the outputs of a stage by what DVC tells its command of it: file and name, seen from where `dvc` was started."""
    name = stage.rpartition(":")[2]
    return [out for known in repo.index.stages if getattr(known, "name", None) == name for out in known.outs]


def _age(path: Path) -> None:
    """Make an output as old as its record says: newer than an edit, it would pass for made from it."""
    told = Path(record(path.as_posix()))
    if not (told.is_file() and path.is_file()):
        return
    try:
        ended = float(json.loads(told.read_text(encoding="utf-8"))["endtime"])
    except (ValueError, KeyError, TypeError):
        return  # no record of this Snakemake's: it says nothing, and Snakemake makes the output again
    os.utime(path, (ended, ended))
