"""The lock that a killed Snakemake leaves behind: whether anything still runs in the folder, and how it is cleared.

Snakemake's lock holds the names of files and not who holds it, so its own message can only ask the user to make sure.
"""

import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import psutil

LOCKS = ".snakemake/locks"
UNLOCK = "snakemake --unlock"
PROGRAMS = {"snakemake", "metatoolagent"}
"""What runs in the folder of a run: the engine, and its jobs as `python -m metatoolagent`."""


def explain(folder: Path) -> str:
    """Return what to tell of a lock that stands in a folder; empty if there is none, or if it is this very run's own.

    Only processes of this machine are seen; on a shared file system the message asks to look at the others.
    """
    if not any((folder / LOCKS).glob("*.lock")):
        return ""
    running = list(at_work(folder))
    own = {process.pid for process in psutil.Process().parents()}
    if any(process.pid in own for process in running):
        return ""
    if running:
        listed = ", ".join(str(process.pid) for process in running)
        return (
            f"{folder}: another run is at work here (process {listed}): wait until it ends, then run the same command again."
            f" If it is left over from a killed run: kill {listed}; {UNLOCK}"
        )
    return (
        f"{folder}: a killed run left its lock, and nothing runs here on this machine now. Clear the lock, which deletes no"
        f" result, and run the same command again: {UNLOCK}"
    )


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
