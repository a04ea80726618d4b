"""The table of results in the terminal, and the committed snapshot."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from metatoolagent.artifacts import MANIFEST, atomic_path, canonical_json, verify
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.params import OF_METHOD
from metatoolagent.params import PROBES as PROBE_NAMES
from metatoolagent.reporting import probes, terminal
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
    " going on at the limit. The last three are invalid. Methods that select without naming are right or wrong."
)
"""What the outcomes of free answers mean."""
REASONINGS = (
    " A reasoning ends with no line where it has none for the answer, which is then asked for, and is cut where its budget was"
    " spent before that."
)
"""What is added where a method reasons."""
TESTS = "p after Holm: McNemar's exact test over tasks, sign flips over tools"
"""What the p-values of differences are."""
ENDS = {"turn": "no line", "cut": "cut"}
"""How a reasoning can end without the line of its answer, for which the model was asked then: by itself, or at its budget."""
KEY = re.compile(r"[^.]+\.[^.]+\.(free|scored)\.[^.]+\..+")
"""A key of a split's, a benchmark's or a probe's metrics; those of chains begin otherwise."""

PARTS = {"all": "all", "unseen": "unseen", "real": "all, real", "simulated": "all, simulated"}
"""The parts of the tasks that a method is measured on, as the keys have them, and their pool and kind as tables have them."""
ACCURACY = ".free.all.accuracy"
"""How the key ends of the first accuracy of a method on a split or a benchmark."""


class Numbers(Metrics):
    """The metrics of some files; a key that none of them has ends the program with one error."""

    def __missing__(self, key: str) -> float:
        """Refuse the key.

        Raises:
            UserError: E-METRICS (exit code 66).
        """
        raise _no_metrics("the metrics files lack a number that is shown", "", key)


def _no_metrics(what: str, where: str, got: str) -> UserError:
    made = "name files that mta metrics or metrics-external made, for mta results those of metrics-probe too"
    fix = f"{made}; what chains and sweeps found is in their finding.md"
    return UserError("E-METRICS", what, where, shown(got) if got else "", fix, exit_code=Exit.ARTIFACT)


def found(*, main: bool = False) -> list[Path]:
    """Return the metrics files that exist of the main splits, and of the benchmarks and the probes unless `main`.

    Raises:
        UserError: E-MISSING if there is none.
    """
    paths = [path for path in (*MAIN.values(), *([] if main else [*EXTERNAL, *PROBES])) if path.is_file()]
    if not paths:
        fix = "run: snakemake --cores all eval_cd"
        raise UserError("E-MISSING", "there are no results", "results/", fix=fix, exit_code=Exit.ARTIFACT)
    return paths


def read(paths: Iterable[Path], ending: str = "") -> Metrics:
    """Return the metrics of some files as one.

    Args:
        paths: the files.
        ending: how a key of each file ends, such as `ACCURACY`, which no probe's does.

    Raises:
        UserError: E-CORRUPT or E-MISSING; E-METRICS if a file holds no metrics, or two have the same key.
    """
    metrics = Numbers()
    for path in paths:
        numbers = _of_file(path, ending)
        if same := metrics.keys() & numbers.keys():
            raise _no_metrics("two metrics files measure the same: name them one at a time", str(path), min(same))
        metrics |= numbers
    return metrics


def _of_file(path: Path, ending: str) -> Metrics:
    """Return the metrics of a file: of an artifact, or of a record in or below the folder of the snapshot, which git keeps."""
    bare = path.is_file() and not path.with_name(MANIFEST).exists()
    # A file that is no metrics is told so first: a manifest would not help it.
    metrics = _parsed(path if bare else verify(path), ending)
    recorded = SNAPSHOT.parent.resolve() in path.resolve().parents
    if bare and not recorded:
        verify(path)
    return metrics


def _parsed(path: Path, ending: str) -> Metrics:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise _no_metrics("not JSON, and so no metrics", str(path), "") from None
    flat = isinstance(content, dict) and all(type(value) in (int, float) for value in content.values())
    if not flat or not any(KEY.fullmatch(key) and key.endswith(ending) for key in content):
        keys = f"keys {', '.join(content)}" if isinstance(content, dict) else ""
        raise _no_metrics("no metrics of the kind that is shown", str(path), keys)
    return dict(content)


def show(paths: Sequence[Path], *, save: bool = False, notes: Iterable[str] = ()) -> None:
    """Print the table of some metrics files, then notes on them, and write the snapshot if asked to.

    Raises:
        UserError: as `read`; E-OPTION (exit code 64) if others than those of the main splits are to be saved.
    """
    kept = {path.resolve() for path in MAIN.values()}
    if save and (others := [str(path) for path in paths if path.resolve() not in kept]):
        what, fix = f"{SNAPSHOT} keeps the main splits alone", f"name some of {', '.join(map(str, MAIN.values()))}, or no file"
        raise UserError("E-OPTION", what, "option --save", shown(others[0]), fix, exit_code=Exit.PARAMS)
    metrics = read(paths)
    console = Console()
    for table in (*accuracies(metrics), outcomes(metrics), *differences(metrics), *probes.tables(metrics)):
        if table.row_count:
            terminal.show(console, table)
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)  # a list of values is no markup
    if save:
        with atomic_path(SNAPSHOT) as path:
            path.write_text(canonical_json(metrics), encoding="utf-8")
        console.print(f"written to {SNAPSHOT}")


def accuracies(metrics: Metrics) -> list[Table]:
    """Return the accuracies, in per cent with 95 % intervals: a table for each split and part of `PARTS`, a row a method.

    A column for the split and one for the part would leave 80 characters too few for three intervals.
    """
    measured = _measured(metrics)
    splits = dict.fromkeys(split for split, _ in measured)
    return [_accuracies(metrics, split, part, measured) for split in splits for part in PARTS]


def _accuracies(metrics: Metrics, split: str, part: str, measured: Iterable[tuple[str, str]]) -> Table:
    table = Table("method", title=f"{split}, pool {PARTS[part]}: accuracy in %, with 95 % intervals")
    for column in ("free", "scored", "invalid", "n"):
        table.add_column(column, justify="right")
    for method in (method for of, method in measured if of == split and f"{split}.{method}.free.{part}.n" in metrics):
        key = f"{split}.{method}"
        cells = [interval(metrics, f"{key}.{reading}.{part}") for reading in ("free", "scored")]
        table.add_row(method, *cells, invalid(metrics, key, part), str(int(metrics[f"{key}.free.{part}.n"])))
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
    names = ("right", "wrong", "other_tool", "none", "cut")
    ends = ("turn", "cut") if any(key.endswith(".reasoning.cut") for key in metrics) else ()
    caption = OUTCOMES + (REASONINGS if ends else "")
    table = Table(title="What became of the free answers, in % of pool all", caption=caption)
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
    keys = [key.split(".")[:2] for key in metrics if key.endswith(ACCURACY)]
    return sorted(((split, method) for split, method in keys), key=lambda key: (key[0], list(OF_METHOD).index(key[1])))


def differences(metrics: Metrics) -> list[Table]:
    """Return the paired differences in points: a table for each split, a row for each comparison in pool `all`."""
    keys = sorted(key.removesuffix(".difference") for key in metrics if key.endswith(".all.difference"))
    splits = sorted({key.split(".")[0] for key in keys})
    return [_differences(metrics, split, [key for key in keys if key.startswith(f"{split}.")]) for split in splits]


def _differences(metrics: Metrics, split: str, keys: Iterable[str]) -> Table:
    table = Table("comparison", "answer", title=f"{split}, pool all: paired differences in points", caption=TESTS)
    for column in ("difference", "p, tasks", "p, tools"):
        table.add_column(column, justify="right")
    for key in keys:
        _, pair, reading, _ = key.split(".")
        tests = (p_value(metrics.get(f"{key}.{p}_holm")) for p in ("p", "p_tools"))
        table.add_row(pair.replace("_vs_", " - "), reading, marked(metrics, key), *tests)
    return table
