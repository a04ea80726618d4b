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
ALL_PIDS = 0xEFFFFFFC
"""The namespace in which Linux counts all processes of a machine."""
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
    """Id of the time since the machine was started; empty where the system does not tell, and then nothing is ever cleared."""
    pids: int
    """The namespace that the process id counts in."""
    pid: int
    started: int
    """Clock ticks from the start of the machine to that of the process: process ids are used again."""
    above: list[tuple[int, int]]
    """Process id and start of the engines that it runs below, such as DVC."""

    @classmethod
    def this(cls) -> "Holder":
        """Return this process."""
        above = [(process.pid, started(process.pid)) for process in Orchestrators().processes]
        pids = os.stat("/proc/self/ns/pid").st_ino if os.path.exists("/proc/self/ns/pid") else 0  # noqa: PTH110, PTH116
        machine = f"{socket.gethostname()} {text_of('/etc/machine-id')}"
        boot = text_of("/proc/sys/kernel/random/boot_id")
        return cls(machine, boot, pids, os.getpid(), started(os.getpid()), above)

    @property
    def host(self) -> str:
        """Return the machine's host name."""
        return self.machine.partition(" ")[0]

    def has_ended(self) -> bool:
        """Return whether the process is known to have ended; one of another machine or container never is."""
        return self.is_gone([(self.pid, self.started)])

    def is_left_over(self) -> bool:
        """Return whether it has ended, or an engine above it, whose death will end it."""
        return self.is_gone([(self.pid, self.started), *self.above])

    def is_gone(self, processes: Sequence[tuple[int, int]]) -> bool:
        """Return whether any of these processes of the holder's machine is known to have ended."""
        this = Holder.this()
        if not self.boot or self.machine != this.machine or self.pids != this.pids:
            return False
        if self.boot != this.boot:
            # The machine was started anew. Containers may share a name and an id, so only its own processes count, and an id.
            return self.pids == ALL_PIDS and not self.machine.endswith((" ", "uninitialized"))
        return not all(is_alive(pid, begun) for pid, begun in processes)


def started(pid: int) -> int:
    """Return when a process started, in clock ticks since the machine did: unlike the time of day, that never jumps.

    0 where the system does not tell.
    """
    # The second field is the program's name in brackets, which may hold anything.
    fields = text_of(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[19]) if fields else 0


def is_alive(pid: int, begun: int) -> bool:
    """Return whether a process runs, and is the one that was started then; of one that cannot be looked at, that it may be."""
    try:
        os.kill(pid, 0)
        return started(pid) in {begun, 0} and not is_gone(psutil.Process(pid))
    except (PermissionError, psutil.AccessDenied):
        return True  # another user's
    except (ProcessLookupError, psutil.NoSuchProcess):
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


def sign(lock: Path, *, local: bool = True) -> None:
    """Write beside a lock that this process holds it, if its jobs are local: a cluster's outlive a killed run unseen."""
    signature(lock).unlink(missing_ok=True)
    if local:
        signature(lock).write_text(json.dumps(asdict(Holder.this())), encoding="utf-8")


def remove(lock: Path) -> None:
    """Remove a lock, after its signature, which must never stand beside a lock that is not its own."""
    signature(lock).unlink(missing_ok=True)
    lock.unlink(missing_ok=True)


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Take and clear locks of a folder one process at a time.

    Raises:
        OSError: the folder cannot be written to, or its file system has no locks.
    """
    with (folder / GUARD).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def clear(folder: Path) -> None:
    """Remove the locks of a folder whose holder has ended, once its last jobs have.

    A killed run's jobs look for it at every step and end themselves, and with them the Snakemake of a DVC that was killed.
    Where one has not after a minute, the lock stays.
    """
    left = [holder for holder in holders(folder).values() if holder.is_left_over()]
    if not left:
        return
    deadline = time.monotonic() + PATIENCE
    while running := orphans(folder, left):
        if time.monotonic() > deadline:
            return
        print(f"waiting for process {running[0].pid}, which a killed run left, to end", file=sys.stderr)  # noqa: T201
        psutil.wait_procs(running, timeout=max(0, deadline - time.monotonic()))
    with suppress(OSError), guarded(folder):
        ended = [lock for lock, holder in holders(folder).items() if holder.has_ended()]
        for lock in ended:
            remove(lock)
        if ended:
            print("lock: that of a killed run was cleared", file=sys.stderr)  # noqa: T201


def holders(folder: Path) -> dict[Path, Holder]:
    """Return the locks of a folder and who holds them, as far as they are signed."""
    found = {}
    for lock in (folder / LOCKS).glob("*.lock"):
        # Not signed: taken for a cluster's jobs or by another version, or killed between lock and signature.
        with suppress(OSError, ValueError, TypeError):
            found[lock] = Holder(**json.loads(signature(lock).read_text(encoding="utf-8")))
    return found


def orphans(folder: Path, left: Sequence[Holder]) -> list[psutil.Process]:
    """Return what a killed run left at work in a folder: its holders that live on, and jobs below no Snakemake."""
    pids = {holder.pid for holder in left if not holder.has_ended()}
    return [process for process in others(folder) if process.pid in pids or not is_below_snakemake(process)]


def is_below_snakemake(process: psutil.Process) -> bool:
    """Return whether a process is Snakemake or runs below one."""
    try:
        return any(program(above.cmdline()) == "snakemake" for above in [process, *process.parents()])
    except psutil.Error:
        return True  # another user's, or it ended meanwhile


def explain(folder: Path) -> str:
    """Return what to tell of a lock that stands in a folder; empty if there is none, or if it is this very run's own.

    Only processes of this machine and this user are seen; of a signed lock the message names its holder, wherever that is. Of one
    that is not signed it asks to look at the other machines of a shared file system.
    """
    if not any((folder / LOCKS).glob("*.lock")):
        return ""
    own = {process.pid for process in psutil.Process().parents()}
    if any(process.pid in own for process in at_work(folder)):
        return ""
    left = holders(folder)
    if left and all(holder.is_left_over() for holder in left.values()):
        return f"{folder}: a killed run left its lock; the next run that makes anything clears it"
    running = others(folder)
    seen = {process.pid for process in running}
    if unseen := [holder for holder in left.values() if not holder.is_left_over() and holder.pid not in seen]:
        return (
            f"{folder}: process {unseen[0].pid} of machine {unseen[0].host} holds it, and is not known to have ended: wait until"
            " it does, then run the same command again (docs/troubleshooting.md says what to do if that machine is gone)"
        )
    if running:
        listed = ", ".join(str(process.pid) for process in running)
        return (
            f"{folder}: another run is at work here (process {listed}): wait until it ends, then run the same command again."
            f" If it is left over from a killed run: kill {listed}; {UNLOCK}"
        )
    return (
        f"{folder}: a killed run left its lock, and nothing runs here on this machine now. If it had jobs on a cluster, wait for"
        f" them or cancel them (squeue --me; kubectl get jobs -l app=metatoolagent). Clear the lock, which deletes no result, and"
        f" run the same command again: {UNLOCK}"
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
    module = next((name for option, name in pairwise(names) if option == "-m"), "")
    return module or next((name for name in names[1:] if not name.startswith("-")), "")
