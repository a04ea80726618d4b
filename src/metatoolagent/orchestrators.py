"""Snakemake, DVC or what launched the processes of one run above this process, and the end of a job that has lost them.

A killed engine leaves its jobs running. Such an orphan would hold the cores, and later overwrite what the next run made.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil

from metatoolagent.errors import Exit, UserError

PROGRAMS = ("snakemake", "dvc", "torchrun", "torch.distributed.run", "metatoolagent", "mta")
T = TypeVar("T")


class Orchestrators:
    """The engines that this process runs below, as they were when it began."""

    def __init__(self) -> None:
        self.processes = [process for process in psutil.Process().parents() if _is_orchestrator(process)]

    def gone(self) -> str:
        """Say which of them has ended, or nothing."""
        ended = [process.pid for process in self.processes if is_gone(process)]
        return f"the orchestrator (process {ended[0]}) is gone" if ended else ""


def while_wanted(items: Iterable[T]) -> Iterator[T]:
    """Yield items for as long as the engines above this process live.

    Raises:
        UserError: I-PAUSED (exit code 75) when one has ended.
    """
    above = Orchestrators()
    for item in items:
        if reason := above.gone():
            fix = "run the same command again"
            raise UserError("I-PAUSED", f"{reason}: stopped, nothing was written", fix=fix, exit_code=Exit.RETRY)
        yield item


def _is_orchestrator(process: psutil.Process) -> bool:
    try:
        # The program and its first argument: `snakemake`, `python /path/to/dvc`, `python -m snakemake`.
        words = process.cmdline()[:3]
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return any(Path(word).name in PROGRAMS for word in words)


def is_gone(process: psutil.Process) -> bool:
    """Return whether a process has ended, also if nobody has asked for its exit code yet."""
    try:
        # A killed process stays in the table until its parent asks for it, which a container's first process may never do.
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
