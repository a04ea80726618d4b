"""From predictions to metrics: flat keys, each accuracy with its interval, each comparison paired.

Keys:
- `<split>.<method>.<free|scored>.<pool>.<accuracy|low|high|n>`
- `<split>.<method>.outcome.<outcome>`: share of the free answers in pool `all`
- `<split>.<method>.reasoning.<line|turn|cut>`: of cot and react, share of the reasonings in pool `all` that ended so
- `<split>.<method>.invalid`: share of those that name no candidate
- `<split>.<method>.invalid.<pool>.<rate|low|high|n>`: that share in each pool, with its interval
- `<split>.<better>_vs_<worse>.<free|scored>.<pool>.<difference|low|high|p|p_holm|p_tools|p_tools_holm|mdd>`; p takes tasks as
  independent, p_tools takes tools so; mdd, the minimum detectable difference, is left out where too few tasks tell the two apart
  for any difference to be found
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandera.polars as pa
import polars as pl

from metatoolagent.artifacts import KEPT, canonical_json, publishing
from metatoolagent.catalog.schemas import OUTCOMES, PREDICTIONS, Table, checked, read
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.evaluation.statistics import cluster_bootstrap, holm, mcnemar, minimum_detectable, sign_flips

FILE, TABLE = "metrics.json", "accuracies.csv"
INVALID = OUTCOMES[2:]
ENDS = ("line", "turn", "cut")
"""Of reasonings; `evaluation/job.py` says what each means."""
ALL_PAIRS = 5
"""Up to so many methods, all pairs are compared; of more, only the pairs with one of `FOCUS`."""
FOCUS = {"ft", "mta"}
READINGS = ("free", "scored")
DIGITS = 6
"""Of a share in a file: with four, a per cent to one place could be rounded twice."""
ACCURACIES = Table(
    {
        **{name: pa.Column(pl.String) for name in ("split", "method", "pool", "reading")},
        "n": pa.Column(pl.Int64, pa.Check.ge(1)),
        **{name: pa.Column(pl.Float64, pa.Check.in_range(0, 1)) for name in ("accuracy", "low", "high")},
    },
    strict=True,
    ordered=True,
    metadata={"sorted_by": []},
)
"""The accuracies as a table: `low` and `high` are the ends of the 95 % interval, `n` counts tasks."""


def measure(split: str, predictions: Mapping[str, list[Path]], resamples: int, seed: int, out: Path) -> None:
    """Publish `metrics.json`, and `accuracies.csv`, those in it as the table ACCURACIES, for DVC to plot.

    Args:
        split: first part of the keys.
        predictions: the files of each method, one a fold, in the order in which methods are compared.
        resamples: of an interval.
        seed: of the resampling.
        out: the folder.

    Raises:
        UserError: as `answers`.
    """
    frames = answers(predictions)
    metrics: dict[str, float] = {}
    for method, frame in frames.items():
        metrics |= of_method(f"{split}.{method}", frame, resamples, seed)
    metrics |= comparisons(split, frames, resamples, seed)
    inputs = [path for paths in predictions.values() for path in paths]
    with publishing(out, (FILE, TABLE), producer="metrics", inputs=inputs) as paths:
        paths[FILE].write_text(canonical_json(metrics), encoding="utf-8")
        checked(accuracies(metrics), ACCURACIES, TABLE).write_csv(paths[TABLE])


def answers(predictions: Mapping[str, list[Path]]) -> dict[str, pl.DataFrame]:
    """Return the predictions of each method, its folds one after the other.

    Raises:
        UserError: E-CORRUPT, E-MISSING or E-SCHEMA for inputs; E-EMPTY for a method without a task; E-REPEATED (exit code 64)
            if a file, or a task of a method, is there twice; E-UNPAIRED if the methods were not given the same tasks.
    """
    given = [path for paths in predictions.values() for path in paths]
    counts = Counter(path.resolve() for path in given)
    if again := [path for path in given if counts[path.resolve()] > 1]:
        raise _repeated("a file of predictions is named more than once", str(again[0]))
    frames = {
        method: pl.concat([read(path, PREDICTIONS) for path in paths], how="diagonal") for method, paths in predictions.items()
    }
    for method, frame in frames.items():
        if frame.is_empty():
            files = ", ".join(map(str, predictions[method]))
            raise UserError("E-EMPTY", f"{method} has answered no task", files, "", "evaluate it on a task or more", KEPT)
        # Folds number their tasks alike, so what was asked tells them apart. A copy of a fold would only narrow the intervals.
        repeated = frame.filter(frame.select(ASKED).is_duplicated())
        if not repeated.is_empty():
            raise _repeated(f"{method} has a task more than once", repeated["task_id"][0])
    check_paired(frames, files=predictions)
    return frames


def _repeated(what: str, got: str) -> UserError:
    fix = "name each file once, and no copies: repeated tasks would count as further evidence"
    return UserError("E-REPEATED", what, "option --prediction", shown(got), fix, KEPT, exit_code=Exit.PARAMS)


def accuracies(metrics: Mapping[str, float]) -> pl.DataFrame:
    """Return the accuracies of some metrics, in their order: the columns of ACCURACIES."""
    rows = []
    for key in (key.removesuffix(".accuracy") for key in metrics if key.endswith(".accuracy")):
        split, method, reading, pool = key.split(".")
        numbers = {name: metrics[f"{key}.{name}"] for name in ("n", "accuracy", "low", "high")}
        rows.append({"split": split, "method": method, "pool": pool, "reading": reading} | numbers)
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(("accuracy", "low", "high"), pl.Float64))


TASK = ("task_id", "question_id", "gold", "candidates")
"""The columns of predictions that say what was asked."""
ASKED = ("task_id", "question_id", "candidates")
"""Those that no two tasks of all folds share."""


def check_paired(
    frames: Mapping[str, pl.DataFrame], columns: Sequence[str] = TASK, files: Mapping[str, Sequence[Path]] | None = None
) -> None:
    """Make sure that all methods answered the same tasks, in the same order.

    Args:
        frames: the predictions of each method.
        columns: what the tasks are told apart by; task_id is one of them.
        files: where the predictions of each method lie, for the error.

    Raises:
        UserError: E-UNPAIRED with the first task that differs.
    """
    first, *rest = frames.items()
    for method, frame in rest:
        if not frame.select(columns).equals(first[1].select(columns)):
            raise UserError(
                "E-UNPAIRED",
                f"{method} and {first[0]} were evaluated on different tasks",
                ", ".join(str(path) for name in (method, first[0]) for path in (files or {}).get(name, [])),
                _first_difference(first[1].select(columns), frame.select(columns)),
                "evaluate both on one file of tasks",
                exit_code=Exit.ARTIFACT,
            )


def _first_difference(one: pl.DataFrame, other: pl.DataFrame) -> str:
    """Return what is known of the first task that is in one table alone, or another in each."""
    for task, against in zip(one.iter_rows(named=True), other.iter_rows(named=True), strict=False):
        for name in task:
            if task[name] != against[name]:
                return f"task {task['task_id']}: {name} {shown(against[name])} against {shown(task[name])}"
    return f"{len(other)} tasks against {len(one)}"


def right(frame: pl.DataFrame, reading: str) -> pl.Series:
    """Return whether each selection is the gold tool; a free answer that names no candidate is wrong."""
    return (frame[reading] == frame["gold"]).fill_null(value=False)


def of_method(key: str, frame: pl.DataFrame, resamples: int, seed: int) -> dict[str, float]:
    """Return the metrics of one method on one split."""
    metrics = {f"{key}.invalid": invalid(frame)} | {f"{key}.outcome.{name}": share(frame, [name]) for name in OUTCOMES}
    if "reasoning_end" in frame.columns and frame["reasoning_end"].count():  # as predictions of an earlier version do not have it
        metrics |= {f"{key}.reasoning.{name}": share(frame, [name], "reasoning_end") for name in ENDS}
    for (pool,), part in frame.group_by("pool", maintain_order=True):
        metrics |= of_tasks(key, pool, part, resamples, seed)
    return metrics


def of_tasks(key: str, name: str, part: pl.DataFrame, resamples: int, seed: int) -> dict[str, float]:
    """Return the accuracies and the share of invalid answers of one method on some of its tasks, `name` being theirs in keys."""
    metrics: dict[str, float] = {}
    for reading in READINGS:
        metrics |= estimate(f"{key}.{reading}.{name}", "accuracy", right(part, reading), part["gold"], resamples, seed)
    return metrics | estimate(f"{key}.invalid.{name}", "rate", part["outcome"].is_in(INVALID), part["gold"], resamples, seed)


def estimate(key: str, mean: str, values: pl.Series, clusters: pl.Series, resamples: int, seed: int) -> dict[str, float]:
    """Return the mean of some outcomes, or differences of outcomes, with its interval and their number.

    Args:
        key: begins each key.
        mean: ends the key of the mean.
        values: whether something is so, or the difference of two such, of each task.
        clusters: the gold tool of each task.
        resamples: of the interval.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    found = cluster_bootstrap(values.cast(pl.Float64).to_list(), clusters.to_list(), resamples, rng)
    named = {mean: found.mean, "low": found.low, "high": found.high, "n": found.n}
    return {f"{key}.{name}": round(value, DIGITS) for name, value in named.items()}


def invalid(frame: pl.DataFrame) -> float:
    """Return the share of free answers, pool `all`, that name no candidate."""
    return share(frame, INVALID)


def share(frame: pl.DataFrame, outcomes: Sequence[str], column: str = "outcome") -> float:
    """Return the share of free answers, pool `all`, with one of some outcomes, or of what another column has."""
    answers = frame.filter(pl.col("pool") == "all")[column]
    return round(int(answers.is_in(outcomes).sum()) / len(answers), DIGITS)


def pairs(methods: Iterable[str]) -> list[tuple[str, str]]:
    """Return which methods are compared, each pair in the methods' order.

    The correction of p-values grows with the number of comparisons, so where there are many methods, those that
    nobody asks about (bm25 against react, say) are left out.
    """
    found = list(itertools.combinations(methods, 2))
    few = len(set(itertools.chain(*found))) <= ALL_PAIRS
    return [pair for pair in found if few or FOCUS & set(pair)]


def comparisons(split: str, frames: Mapping[str, pl.DataFrame], resamples: int, seed: int) -> dict[str, float]:
    """Return the paired comparisons of `pairs`; p-values are adjusted over one pool and reading."""
    metrics: dict[str, float] = {}
    pools = next(iter(frames.values()))["pool"].unique(maintain_order=True).to_list()
    for pool, reading in itertools.product(pools, READINGS):
        parts = {method: frame.filter(pl.col("pool") == pool) for method, frame in frames.items()}
        outcomes = {method: right(part, reading) for method, part in parts.items()}
        clusters = next(iter(parts.values()))["gold"]
        metrics |= paired(split, f"{reading}.{pool}", outcomes, clusters, resamples, seed)
    return metrics


def paired(
    before: str,
    after: str,
    outcomes: Mapping[str, pl.Series],
    clusters: pl.Series,
    resamples: int,
    seed: int,
    *,
    repeated: bool = False,
) -> dict[str, float]:
    """Return the comparisons of `pairs`, which are one family of p-values.

    The tests are McNemar's, with the difference that it would detect, and sign flips over clusters, which keep their level also
    where one method is better at some tools and the other at others; where questions are repeated, these alone.

    Args:
        before: begins each key; the pair follows.
        after: what the methods are compared in; follows the pair.
        outcomes: of each method on the same tasks, in the methods' order.
        clusters: the gold tool of each task.
        resamples: of an interval.
        seed: of the resampling.
        repeated: whether a question stands in several tasks, which then are no independent pairs.
    """
    metrics: dict[str, float] = {}
    families: dict[str, dict[str, float]] = {"p": {}, "p_tools": {}}
    for worse, better in pairs(outcomes):
        a, b = outcomes[better], outcomes[worse]
        key = f"{before}.{better}_vs_{worse}.{after}"
        change = a.cast(pl.Int8) - b.cast(pl.Int8)
        found = estimate(key, "difference", change, clusters, resamples, seed)
        metrics |= {name: value for name, value in found.items() if name != f"{key}.n"}
        by_tools = sign_flips([(change.to_list(), clusters.to_list())], resamples, np.random.default_rng(seed))
        families["p" if repeated else "p_tools"][key] = by_tools
        if not repeated:
            families["p"][key] = mcnemar(a.to_list(), b.to_list())
            if (smallest := minimum_detectable(int((a != b).sum()), len(a))) is not None:
                metrics[f"{key}.mdd"] = round(smallest, DIGITS)
    for name, p_values in families.items():
        metrics |= {f"{key}.{name}": round(value, 6) for key, value in p_values.items()}
        metrics |= {f"{key}.{name}_holm": round(value, 6) for key, value in holm(p_values).items()}
    return metrics
