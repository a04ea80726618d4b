"""The table of results in the terminal, and the committed snapshot."""

import json
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from metatoolagent.artifacts import atomic_path, canonical_json, verify
from metatoolagent.errors import Exit, UserError
from metatoolagent.params import OF_METHOD
from metatoolagent.params import PROBES as PROBE_NAMES
from metatoolagent.reporting import probes
from metatoolagent.reporting.numbers import Metrics, interval, marked, p_value

MAIN = {"cd": Path("results/main/metrics.json"), "sd": Path("results/sd/metrics.json"), "hd": Path("results/hd/metrics.json")}
"""Where the metrics of each split lie."""
EXTERNAL = [Path(f"results/{benchmark}/metrics.json") for benchmark in ("toolalpaca", "apibench")]
"""Where the metrics of each published benchmark lie."""
PROBES = [Path(f"results/probes/{probe}/metrics.json") for probe in PROBE_NAMES]
"""Where the metrics of each probe lie."""
SNAPSHOT = Path("docs/results/metrics.json")
OUTCOMES = (
    "Right: names the gold tool; wrong: another candidate; other tool: a tool that is no candidate; none: no tool; cut: was still"
    " going on at the limit. The last three are invalid. Methods that select without naming are right or wrong. A reasoning ends"
    " with no line where it has none for the answer, which is then asked for, and is cut where its budget was spent before that."
)
"""What the outcomes of free answers mean."""
ENDS = {"turn": "no line", "cut": "cut"}
"""How a reasoning can end without the line of its answer, for which the model was asked then: by itself, or at its budget."""


def found() -> list[Path]:
    """Return the metrics files of the main splits, the benchmarks and the probes that exist.

    Raises:
        UserError: E-MISSING if there is none.
    """
    paths = [path for path in (*MAIN.values(), *EXTERNAL, *PROBES) if path.is_file()]
    if not paths:
        fix = "run: snakemake --cores all eval_cd"
        raise UserError("E-MISSING", "there are no results", "results/", fix=fix, exit_code=Exit.ARTIFACT)
    return paths


def read(paths: Iterable[Path]) -> Metrics:
    """Return the metrics of some files as one.

    Raises:
        UserError: E-CORRUPT or E-MISSING.
    """
    metrics: Metrics = {}
    for path in paths:
        metrics |= json.loads(verify(path).read_text(encoding="utf-8"))
    return metrics


def show(paths: Iterable[Path], *, save: bool = False, notes: Iterable[str] = ()) -> None:
    """Print the table of some metrics files, then notes on them, and write the snapshot if asked to."""
    metrics = read(paths)
    console = Console()
    for table in (accuracies(metrics), outcomes(metrics), differences(metrics), *probes.tables(metrics)):
        if table.row_count:
            console.print(table)
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)  # a list of values is no markup
    if save:
        with atomic_path(SNAPSHOT) as path:
            path.write_text(canonical_json(metrics), encoding="utf-8")
        console.print(f"written to {SNAPSHOT}")


def accuracies(metrics: Metrics) -> Table:
    """Return the accuracies, in per cent with 95 % intervals, a row for each split, pool and method."""
    table = Table(title="Tool selection: accuracy in %, with 95 % intervals")
    for column in ("split", "pool", "method", "free", "scored", "invalid", "n"):
        table.add_column(column, justify="right" if column in {"free", "scored", "invalid", "n"} else "left")
    for split, method in _measured(metrics):
        key = f"{split}.{method}"
        for pool in ("all", "unseen"):
            if f"{key}.free.{pool}.n" in metrics:
                cells = [interval(metrics, f"{key}.{reading}.{pool}") for reading in ("free", "scored")]
                table.add_row(split, pool, method, *cells, invalid(metrics, key, pool), str(int(metrics[f"{key}.free.{pool}.n"])))
    return table


def invalid(metrics: Metrics, key: str, pool: str) -> str:
    """Return the share of a method's free answers that name no candidate and its interval, in per cent.

    Metrics of an earlier version have no interval, and the share in pool `all` alone.
    """
    if f"{key}.invalid.{pool}.rate" in metrics:
        return interval(metrics, f"{key}.invalid.{pool}", "rate")
    return f"{100 * metrics[f'{key}.invalid']:.1f}" if pool == "all" else ""


def outcomes(metrics: Metrics) -> Table:
    """Return what became of the free answers, in per cent, a row for each split and method; none of metrics without outcomes."""
    table = Table(title="What became of the free answers, in % of pool all", caption=OUTCOMES)
    names = ("right", "wrong", "other_tool", "none", "cut")
    ends = ("turn", "cut") if any(key.endswith(".reasoning.cut") for key in metrics) else ()
    for column in ("method", "split"):
        table.add_column(column)
    for column in (*names, *(f"reasoning: {ENDS[end]}" for end in ends)):
        table.add_column(column.replace("_", " "), justify="right")
    for split, method in _measured(metrics):
        keys = [f"{split}.{method}.outcome.{name}" for name in names]
        if keys[0] in metrics:
            keys += [f"{split}.{method}.reasoning.{end}" for end in ends]
            table.add_row(method, split, *(f"{100 * metrics[key]:.1f}" if key in metrics else "" for key in keys))
    return table


def _measured(metrics: Metrics) -> list[tuple[str, str]]:
    """Return each split and method that has accuracies, methods in their order."""
    keys = [key.split(".")[:2] for key in metrics if key.endswith(".free.all.accuracy")]
    return sorted(((split, method) for split, method in keys), key=lambda key: (key[0], list(OF_METHOD).index(key[1])))


def differences(metrics: Metrics) -> Table:
    """Return the paired differences in points, a row for each comparison in pool `all`."""
    title = "Paired differences in points, pool all; p after Holm: McNemar's exact test over tasks, sign flips over tools"
    table = Table(title=title)
    numbers = ("difference", "p, tasks", "p, tools")
    for column in ("split", "comparison", "answer", *numbers):
        table.add_column(column, justify="right" if column in numbers else "left")
    for key in sorted(key.removesuffix(".difference") for key in metrics if key.endswith(".all.difference")):
        split, pair, reading, _ = key.split(".")
        tests = (p_value(metrics.get(f"{key}.{p}_holm")) for p in ("p", "p_tools"))
        table.add_row(split, pair.replace("_vs_", " - "), reading, marked(metrics, key), *tests)
    return table
