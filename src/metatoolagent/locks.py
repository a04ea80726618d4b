"""The lock that a killed Snakemake leaves behind: cleared if its holder is known to have ended, and explained if not.

Snakemake's lock holds the names of files and not who holds it, so its own message can only ask the user to make sure. Here
every lock is signed: beside it stands which process of which machine took it.
"""

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from metatoolagent.orchestrators import Orchestrators, is_gone

LOCKS = ".snakemake/locks"
GUARD = ".snakemake/locks.guard"
PATIENCE = 60.0
"""Seconds that the jobs of a killed run are given to end by themselves."""
UNLOCK = "snakemake --unlock"
PROGRAMS = {"snakemake", "metatoolagent"}
"""What runs in the folder of a run: the engine, and its jobs as `python -m metatoolagent`."""


@dataclass(frozen=True)
class Holder:
    """A process, told apart from all others of any machine."""

    machine: str
    """Host name and machine id, if the system has one."""
    boot: str
    """Id of the time since the machine was started."""
    pids: int
    """The namespace that the process id counts in."""
    pid: int
    started: float
    """Seconds since the epoch: process ids are used again."""
    above: list[tuple[int, float]]
    """Process id and start of the engines that it runs below, such as DVC."""

    @classmethod
    def this(cls) -> "Holder":
        """Return this process."""
        above = [(process.pid, process.create_time()) for process in Orchestrators().processes]
        pids = os.stat("/proc/self/ns/pid").st_ino if os.path.exists("/proc/self/ns/pid") else 0  # noqa: PTH110, PTH116
        machine = f"{socket.gethostname()} {text_of('/etc/machine-id')}"
        boot = text_of("/proc/sys/kernel/random/boot_id")
        return cls(machine, boot, pids, os.getpid(), psutil.Process().create_time(), above)

    def has_ended(self) -> bool:
        """Return whether the process is known to have ended; one of another machine or container never is."""
        return self.is_gone([(self.pid, self.started)])

    def is_left_over(self) -> bool:
        """Return whether it has ended, or an engine above it, whose death will end it."""
        return self.is_gone([(self.pid, self.started), *self.above])

    def is_gone(self, processes: Sequence[tuple[int, float]]) -> bool:
        """Return whether any of these processes of the holder's machine is known to have ended."""
        this = Holder.this()
        if not self.boot or self.machine != this.machine:
            return False
        if self.boot != this.boot:
            return not self.machine.endswith(" ")  # without an id, two machines may have one name
        return self.pids == this.pids and not all(is_alive(pid, started) for pid, started in processes)


def is_alive(pid: int, started: float) -> bool:
    """Return whether a process runs, and is the one that was started then."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1 and not is_gone(process)
    except psutil.NoSuchProcess:
        return False


def text_of(path: str) -> str:
    """Return what stands in a file of the system, or nothing where there is no such file."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def signature(lock: Path) -> Path:
    """Return where the holder of a lock is written."""
    return lock.with_suffix(".holder")


def sign(lock: Path) -> None:
    """Write beside a lock that this process holds it."""
    signature(lock).write_text(json.dumps(asdict(Holder.this())), encoding="utf-8")


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Take and clear locks of a folder one process at a time."""
    with (folder / GUARD).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def clear(folder: Path) -> None:
    """Remove the locks of a folder whose holder has ended, once its last jobs have.

    A killed run's jobs look for it at every step and end themselves, and with them the Snakemake of a DVC that was killed.
    Where one has not after a minute, the lock stays.
    """
    if not any(holder.is_left_over() for holder in holders(folder).values()):
        return
    deadline = time.monotonic() + PATIENCE
    while running := others(folder):
        if time.monotonic() > deadline:
            return
        print(f"waiting for process {running[0].pid}, which a killed run left, to end", file=sys.stderr)  # noqa: T201
        psutil.wait_procs(running, timeout=deadline - time.monotonic())
    with guarded(folder):
        ended = [lock for lock, holder in holders(folder).items() if holder.has_ended()]
        for lock in ended:
            lock.unlink(missing_ok=True)
            signature(lock).unlink(missing_ok=True)
    if ended:
        print("lock: that of a killed run was cleared", file=sys.stderr)  # noqa: T201


def holders(folder: Path) -> dict[Path, Holder]:
    """Return the locks of a folder and who holds them, as far as they are signed."""
    found = {}
    for lock in (folder / LOCKS).glob("*.lock"):
        # Not signed: taken by another version, or killed between lock and signature.
        with suppress(OSError, ValueError, TypeError):
            found[lock] = Holder(**json.loads(signature(lock).read_text(encoding="utf-8")))
    return found


def explain(folder: Path) -> str:
    """Return what to tell of a lock that stands in a folder; empty if there is none, or if it is this very run's own.

    Only processes of this machine are seen; on a shared file system the message asks to look at the others.
    """
    if not any((folder / LOCKS).glob("*.lock")):
        return ""
    own = {process.pid for process in psutil.Process().parents()}
    if any(process.pid in own for process in at_work(folder)):
        return ""
    if running := others(folder):
        listed = ", ".join(str(process.pid) for process in running)
        return (
            f"{folder}: another run is at work here (process {listed}): wait until it ends, then run the same command again."
            f" If it is left over from a killed run: kill {listed}; {UNLOCK}"
        )
    return (
        f"{folder}: a killed run left its lock, and nothing runs here on this machine now. Clear the lock, which deletes no"
        f" result, and run the same command again: {UNLOCK}"
    )


def others(folder: Path) -> list[psutil.Process]:
    """Return the processes at work in a folder that this one does not run below."""
    own = set(psutil.Process().parents())
    return [process for process in at_work(folder) if process not in own]


def at_work(folder: Path) -> Iterable[psutil.Process]:
    """Yield the processes, other than this one, that run Snakemake or a job of it in a folder."""
    for process in psutil.process_iter():
        try:
            named = program(process.cmdline()) in PROGRAMS
            if process.pid != os.getpid() and named and Path(process.cwd()) == folder.resolve():
                yield process
        except (psutil.Error, OSError):
            continue  # it ended meanwhile, or is another user's


def program(words: Sequence[str]) -> str:
    """Return what a command line runs: its program, or the script or module that Python is given.

    Later arguments do not count: an editor may have a folder of that name open.
    """
    names = [os.path.basename(word) for word in words]  # noqa: PTH119
    if not names or not names[0].startswith("python"):
        return "".join(names[:1])  # the kernel's own have no words
    return next((name for option, name in pairwise(names) if option == "-m"), "".join(names[1:2]))
