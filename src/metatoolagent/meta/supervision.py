"""One process a run, that ends when its orchestrator is gone and pauses when it is asked to.

A killed Snakemake or DVC leaves its jobs running. Such an orphan would later overwrite what the next run made, so
a run looks for its orchestrator at every update or batch, holds a lock for its whole life, and makes sure that the lock
is still its own before it publishes.
"""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from metatoolagent.errors import Exit, UserError
from metatoolagent.orchestrators import Orchestrators

PATIENCE = 300.0
"""Seconds without a sign of life after which a second process no longer waits for the lock. An orphan ends within an update of
its orchestrator's death; who makes the same for another folder gives a sign at each."""


class Pause(Exception):  # noqa: N818  (not an error: the run goes on later)
    """The run was asked to stop; its state is saved."""


class Supervisor:
    """Watches for signals, for the death of the orchestrator, and for the loss of the lock."""

    def __init__(self, lock: Path) -> None:
        """Begin to watch.

        Args:
            lock: the lock file of the run, which this process or the leader of its processes holds.
        """
        self.lock = lock
        self.inode = lock.stat().st_ino
        self.signal = ""
        self.orchestrators = Orchestrators()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signal = signal.Signals(number).name

    def reason_to_pause(self) -> str:
        """Return why the run should stop now, or nothing."""
        if self.signal:
            return f"received {self.signal}"
        return self.orchestrators.gone()

    def give_sign(self) -> None:
        """Tell who waits for the lock that the run goes on."""
        with suppress(FileNotFoundError):  # `assert_owner` tells of it before anything is published
            os.utime(self.lock)

    def assert_owner(self) -> None:
        """Make sure that this process may publish.

        Raises:
            UserError: E-LOST-LOCK if the lock file was removed or replaced.
        """
        if not self.lock.exists() or self.lock.stat().st_ino != self.inode:
            raise UserError(
                "E-LOST-LOCK", "another process took over this run; nothing was written", str(self.lock), exit_code=Exit.RETRY
            )


@contextmanager
def locked(folder: Path, *, alone: bool = True) -> Iterator[Supervisor]:
    """Hold the lock of a run and watch over it.

    Args:
        folder: the run's folder.
        alone: whether no other process waits for this one: then it waits for as long as the holder gives signs of life.

    Raises:
        UserError: E-LOCK if another process holds it and gave no sign for some minutes, or the file system has no locks;
            I-PAUSED if this one is asked to stop meanwhile, or its orchestrator is gone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lock"
    with path.open("a+", encoding="utf-8") as file:
        supervisor = Supervisor(path)
        _acquire(supervisor, file.fileno(), alone=alone)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield supervisor


def _acquire(supervisor: Supervisor, descriptor: int, *, alone: bool) -> None:
    path, deadline, told, sign = supervisor.lock, time.monotonic() + PATIENCE, False, 0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = path.read_text(encoding="utf-8").strip() or "unknown"
        except OSError as error:
            raise UserError(
                "E-LOCK",
                f"the file system gives no locks ({error.strerror}), so that two runs could write the same checkpoints",
                str(path),
                fix="move the project to a file system that has them: a local disk, NFS 4, or Lustre mounted with `flock`",
                exit_code=Exit.IO,
            ) from None
        else:
            return
        if alone and (newest := path.stat().st_mtime_ns) != sign:
            deadline, sign = time.monotonic() + PATIENCE, newest
        if time.monotonic() > deadline:
            raise UserError(
                "E-LOCK",
                f"process {owner} is at work on this very run",
                str(path),
                fix="wait for it or end it, then run the same command again",
                exit_code=Exit.RETRY,
            )
        if reason := supervisor.reason_to_pause():
            what = f"{reason}: stopped waiting for process {owner}, which is at work on this very run"
            raise UserError("I-PAUSED", what, str(path), fix="run the same command to go on", exit_code=Exit.RETRY)
        if not told:
            print(f"waiting for process {owner}, which is at work on this very run", file=sys.stderr)  # noqa: T201
            told = True
        time.sleep(0.5)
