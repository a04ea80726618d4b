"""What a stage ran on, for its manifest: the same text at every run on one machine with the same packages."""

import functools
import os
import platform
import re
import resource
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "peft")
"""The packages whose version decides what a model computes."""


@functools.cache
def environment() -> dict[str, Any]:
    """Return processor, cores and GPUs, and the versions of Python and of `PACKAGES`.

    Nothing in it differs between two runs, so it leaves the hash of a manifest as it is; and nothing is imported for it, since
    most stages have no use for torch.
    """
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpus": gpus(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }


def processor(path: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's model as Linux has it, else as Python has it."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next(_values(lines, "model name"), "") or platform.processor() or "unknown processor"


def gpus(folder: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """Return the models of the GPUs that NVIDIA's driver for Linux has; others are not looked for."""
    found = [path.read_text(encoding="utf-8").splitlines() for path in sorted(folder.glob("*/information"))]
    return [name for lines in found for name in _values(lines, "Model")]


def peak_resident(status: Path = Path("/proc/self/status")) -> int:
    """Return the most bytes that this program ever had in memory.

    Linux counts what the process that started it had in `ru_maxrss` too, so that is taken where there is nothing better.
    """
    if status.is_file() and (found := re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"), re.MULTILINE)):
        return 1024 * int(found[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _values(lines: list[str], name: str) -> Iterator[str]:
    return (line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name)
