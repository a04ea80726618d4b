"""How much memory this process may still take: of the GPU, of the machine, and of the control group that limits it."""

from pathlib import Path

import psutil
import torch

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def available(device: torch.device) -> int:
    """Return the bytes that are free on a device; on the CPU, what the machine and every control group leave."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min([int(psutil.virtual_memory().available), *control_groups()])


def control_groups(root: Path = ROOT, own: Path = OWN) -> list[int]:
    """Return the bytes that each control group of this process leaves; none where nothing is limited.

    Args:
        root: where the control groups are mounted, version 1 or 2.
        own: the file that names this process's groups.
    """
    left = []
    for path in _folders(root, own):
        for limit, usage in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            try:
                # A group without a limit says `max`, or in version 1 a number beyond any machine.
                left.append(int((path / limit).read_text()) - int((path / usage).read_text()) + _cache(path / "memory.stat"))
            except (OSError, ValueError):
                continue
    return left


def _folders(root: Path, own: Path) -> list[Path]:
    """Return the folder of each group that this process is in, and of all groups above it."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return []
    starts = [root / name.lstrip("/") for _, kind, name in lines if kind == ""]
    starts += [root / "memory" / name.lstrip("/") for _, kind, name in lines if "memory" in kind.split(",")]
    return [path for start in starts for path in (start, *start.parents) if path == root or root in path.parents]


def _cache(path: Path) -> int:
    """Return the bytes of cached files, which the kernel gives up when memory is asked for."""
    facts = dict(line.split() for line in path.read_text().splitlines())
    return int(facts.get("total_inactive_file", facts.get("inactive_file", "0")))
