"""The GPU of a process: one that no other process of this machine holds.

A scheduler such as Slurm gives every job GPUs of its own and shows it no others. Without one, the jobs that
`snakemake --resources gpu=4` starts see the same four, so each takes the first that is free and holds it until it ends.
"""

import errno
import itertools
import os
import socket
import sys
import time
from collections.abc import Sequence

import psutil

from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.orchestrators import while_wanted

CHOSEN = "METATOOLAGENT_GPU"
"""Environment variable: number of the GPU to compute on, among those that the process sees, whoever else computes there."""
LOCK = "metatoolagent-gpu-"
"""What the name of a GPU's lock begins with."""
INTERVAL = 1.0
"""Seconds between two looks for a free GPU."""
_held: list[socket.socket] = []


def choose(identifiers: Sequence[str]) -> int:
    """Return the number of this process's GPU among those that it sees.

    Args:
        identifiers: of those GPUs, in their order; they are the same in all processes, whatever each of them sees.

    Raises:
        UserError: E-GPU if METATOOLAGENT_GPU names none of them, and those of `claim`.
    """
    given = os.environ.get(CHOSEN, "")
    if not given:
        return claim(identifiers)[0]
    if given.isdecimal() and int(given) < len(identifiers):
        return int(given)
    what, fix = f"this process sees {len(identifiers)} GPUs, numbered from 0", "name one of them, or none for one that is free"
    raise UserError("E-GPU", what, f"environment variable {CHOSEN}", shown(given), fix, exit_code=Exit.PARAMS)


def claim(identifiers: Sequence[str], count: int = 1) -> list[int]:
    """Return the numbers of the first GPUs that no other process holds, and hold them until this process ends, however it does.

    Where too few are free it says so and waits, and meanwhile holds none.

    Args:
        identifiers: as for `choose`.
        count: number of GPUs, at most as many as there are.

    Raises:
        UserError: I-PAUSED if Snakemake or DVC above this process is gone.
    """
    for look in while_wanted(itertools.count()):
        if found := _hold(identifiers, count):
            return found
        if look == 0:
            wanted = "a GPU" if count == 1 else f"{count} GPUs"
            others = f"other processes ({_holders(identifiers)}) hold too many"
            _say(f"waiting for {wanted}: {others} of the {len(identifiers)} that this one sees;")
            _say(f"to share one with another process, end this and set {CHOSEN} to its number")
        time.sleep(INTERVAL)
    raise AssertionError("unreachable")


def _hold(identifiers: Sequence[str], count: int) -> list[int]:
    """Hold the first GPUs that are free, or none if they are too few: two that held half of what both want would never end."""
    found: dict[int, socket.socket] = {}
    for number, identifier in enumerate(identifiers):
        if len(found) < count and (lock := _lock(identifier)) is not None:
            found[number] = lock
    if len(found) < count:
        for lock in found.values():
            lock.close()
        return []
    _held.extend(found.values())
    return list(found)


def _lock(name: str) -> socket.socket | None:
    """Return the lock of a GPU, or nothing where another process has it.

    The lock is a name that a socket has, in Linux's abstract namespace: one process of the machine can have it, whichever user's,
    it is gone with that process, also after SIGKILL, and unlike a file's it has no folder that must be writable or is tidied up.
    """
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f"\0{LOCK}{name}")
    except OSError as error:
        lock.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return lock


def _holders(identifiers: Sequence[str]) -> str:
    """Return the ids of the processes that hold the GPUs, of those that this user may see."""
    names = {f"@{LOCK}{identifier}" for identifier in identifiers}  # as /proc/net/unix writes them
    found = {lock.pid for lock in psutil.net_connections("unix") if str(lock.laddr) in names and lock.pid}
    return ", ".join(map(str, sorted(found))) or "another user's"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
