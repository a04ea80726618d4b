"""What the benchmarks share: times, results in one format, and a process of its own for each measurement.

Every benchmark writes benchmarks/results/<script>.json, a list of what `row` returns. `python benchmarks/<script>.py` finds
this module beside itself.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from metatoolagent import artifacts
from metatoolagent.environment import peak_resident, processor

RUNS = 5


def times(step: Callable[[], object], runs: int = RUNS, *, warm: bool = False) -> list[float]:
    """Return the seconds of each run of a step, after one that does not count unless the step has run already."""
    if not warm:
        step()
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        step()
        found.append(time.perf_counter() - started)
    return found


def median_time(step: Callable[[], object], runs: int = RUNS, *, warm: bool = False) -> float:
    """Return the median of those seconds."""
    return statistics.median(times(step, runs, warm=warm))


def row(
    measure: str,
    unit: str,
    ours: float,
    peer: float,
    peer_name: str,
    *,
    lower_is_better: bool,
    runs: int = RUNS,
    packages: Sequence[str] = ("torch", "transformers"),
) -> dict[str, object]:
    """Return one result; `ratio` is how many times better ours is."""
    import torch  # not above: it would count in the memory of a process that needs none of it

    return {
        "measure": measure,
        "ours": float(f"{ours:.4g}"),
        "peer": float(f"{peer:.4g}"),
        "peer_name": peer_name,
        "ratio": round(peer / ours if lower_is_better else ours / peer, 2),
        "unit": unit,
        "runs": runs,
        "machine": f"{processor()}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}",
        "versions": {name: version(name) for name in packages},
        "date": datetime.now(UTC).date().isoformat(),
    }


def write(results: Sequence[dict[str, object]], path: Path) -> None:
    """Write the results of a benchmark."""
    path.parent.mkdir(exist_ok=True)
    with artifacts.atomic_path(path) as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def in_own_process(work: Callable[..., Any], *arguments: object) -> tuple[Any, float]:
    """Return what a module's function gives in a fresh process, and that process's peak memory in MiB."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(sender, work, *arguments))
    child.start()
    sender.close()  # the child's end is then the only one, so that its death ends the wait
    try:
        found: tuple[Any, float] = receiver.recv()
    except EOFError:
        child.join()
        raise RuntimeError(f"{work.__name__}{arguments} ended with exit code {child.exitcode}") from None
    child.join()
    return found


def _send(sender: Connection, work: Callable[..., Any], *arguments: object) -> None:
    result = work(*arguments)
    sender.send((result, peak_resident() / 2**20))
