"""The table of a sweep: accuracies and paired differences, a row for each seed and one for all of them together.

Columns: the sweep's labels, then

| column | meaning |
|---|---|
| method, against | whose accuracy, or `against` another one's, or its own at `training 5`, the difference on the same tasks |
| pool, reading | which tasks; the `scored` or the `free` selection |
| seed, seeds | the training seed, or `all`; how many are in the row |
| n | evaluation tasks, for each seed |
| value, low, high | the mean over tasks and seeds, with its 95 % interval |
| p, p_holm | of a difference over all seeds (sign flips of tools), alone and after Holm over a pool and reading; else null |

Differences between methods are one of Holm's families, those of a method along a label another. Points that are the same runs
are one test.
"""

import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandera.polars as pa
import polars as pl

from metatoolagent.catalog import schemas
from metatoolagent.evaluation.metrics import DIGITS, READINGS, check_paired, pairs, right
from metatoolagent.evaluation.statistics import Sample, crossed_bootstrap, holm, sign_flips
from metatoolagent.sweeps.runs import Labels, Run

ALL = "all"
FIXED = ("method", "against", "pool", "reading", "seed", "seeds", "n", "value", "low", "high", "p", "p_holm")

Rows = list[dict[str, Any]]
Frames = dict[str, dict[int | None, pl.DataFrame]]
"""The predictions of a point, by method and seed."""
Points = list[tuple[Labels, Frames]]


def schema(labels: Sequence[str]) -> schemas.Table:
    """Return the schema of a table whose points have these labels."""
    share, probability = pa.Check.in_range(-1, 1), pa.Check.in_range(0, 1)
    columns = {name: pa.Column(nullable=True) for name in labels}
    columns |= {name: pa.Column(pl.String, nullable=name == "against") for name in FIXED[:5]}
    columns |= {name: pa.Column(pl.Int64, pa.Check.ge(1)) for name in ("seeds", "n")}
    columns |= {name: pa.Column(pl.Float64, share) for name in ("value", "low", "high")}
    columns |= {name: pa.Column(pl.Float64, probability, nullable=True) for name in ("p", "p_holm")}
    return schemas.Table(columns, strict=True, ordered=True)


def table(runs: Sequence[Run], resamples: int, seed: int, along: str = "") -> pl.DataFrame:
    """Return the table of a sweep, checked.

    Args:
        runs: with their predictions.
        resamples: of an interval and of a test.
        seed: of the resampling.
        along: a label, a number, along which each method is compared with itself, the others being equal; none where left out.

    Raises:
        UserError: E-CORRUPT or E-MISSING for predictions; E-UNPAIRED if the methods of a point have different tasks.
    """
    labels = list(runs[0].labels)
    points: Points = []
    for of_point, group in itertools.groupby(runs, lambda run: run.labels):
        points.append((of_point, _read(list(group))))
    rows = [row for of_point, frames in points for row in _of_point(of_point, frames, resamples, seed)]
    # Points of several series may be the same runs: what is compared there twice is one test.
    files: dict[Hashable, list[str]] = {}
    for run in runs:
        files.setdefault((*run.labels.values(), run.method), []).extend(run.files)
    _adjust(rows, lambda row: tuple(tuple(files[*(row[name] for name in labels), row[side]]) for side in ("method", "against")))
    steps = _of_steps(points, along, resamples, seed) if along else []
    _adjust(steps, lambda row: (*(row[name] for name in labels), row["method"], row["against"]))
    rows += steps
    kinds = dict.fromkeys(FIXED[:5], pl.String) | {"p": pl.Float64, "p_holm": pl.Float64}
    frame = pl.DataFrame(rows, schema_overrides=kinds, infer_schema_length=None).select(*labels, *FIXED)
    return schema(labels).validate(frame, lazy=True)


def _read(runs: Sequence[Run]) -> Frames:
    frames: Frames = {}
    for run in runs:
        parts = [schemas.read(Path(file), schemas.PREDICTIONS) for file in run.files]
        frames.setdefault(run.method, {})[run.seed] = pl.concat(parts)
    return frames


def _of_point(labels: Labels, frames: Frames, resamples: int, seed: int) -> Rows:
    """Return the rows of the runs that share their labels."""
    rows: Rows = []
    for pool, reading in itertools.product(_pools(frames), READINGS):
        common = {**labels, "pool": pool, "reading": reading}
        for method, of_seed in frames.items():
            samples = {number: sample(frame, pool, reading) for number, frame in of_seed.items()}
            rows += [{**common, "method": method, "against": None, **row} for row in _estimates(samples, resamples, seed)]
        for worse, better in pairs(frames):
            found = {number: sample(ours, pool, reading, theirs) for number, ours, theirs in _paired(frames, better, worse)}
            named = {**common, "method": better, "against": worse}
            rows += [{**named, **row} for row in _estimates(found, resamples, seed, tested=True)]
    return rows


def _of_steps(points: Points, along: str, resamples: int, seed: int) -> Rows:
    """Return each method's differences between two values of a label, the higher one less the lower one."""
    rows: Rows = []
    for (fewer, before), (more, after) in itertools.permutations(points, 2):
        lower = float(fewer[along]) < float(more[along])
        if not lower or {**fewer, along: None} != {**more, along: None}:
            continue
        against = f"{along} {fewer[along]}"
        for method in (name for name in after if name in before):
            frames = {method: after[method], against: before[method]}
            paired = list(_paired(frames, method, against))
            for pool, reading in itertools.product(_pools(after), READINGS):
                found = {number: sample(ours, pool, reading, theirs) for number, ours, theirs in paired}
                named = {**more, "pool": pool, "reading": reading, "method": method, "against": against}
                rows += [{**named, **row} for row in _estimates(found, resamples, seed, tested=True)]
    return rows


def _pools(frames: Frames) -> list[str]:
    return list(next(iter(next(iter(frames.values())).values()))["pool"].unique(maintain_order=True))


def _paired(frames: Frames, better: str, worse: str) -> Iterator[tuple[int | None, pl.DataFrame, pl.DataFrame]]:
    """Yield two methods' predictions seed by seed; one that does not train is the same at every seed."""
    ours, theirs = frames[better], frames[worse]
    for number in ours if len(ours) >= len(theirs) else theirs:
        first, second = (of_seed.get(number, next(iter(of_seed.values()))) for of_seed in (ours, theirs))
        check_paired({better: first, worse: second})
        yield number, first, second


def sample(frame: pl.DataFrame, pool: str, reading: str, other: pl.DataFrame | None = None) -> Sample:
    """Return the outcomes of a pool's tasks, 0 or 1, less those of another method, with their gold tools."""
    part = frame.filter(pl.col("pool") == pool)
    values = right(part, reading).cast(pl.Float64)
    if other is not None:
        values -= right(other.filter(pl.col("pool") == pool), reading).cast(pl.Float64)
    return values.to_list(), part["gold"].to_list()


def _estimates(samples: dict[int | None, Sample], resamples: int, seed: int, *, tested: bool = False) -> Rows:
    """Return a row for each seed, if there is more than one, and the row of all."""
    several = {str(number): [found] for number, found in samples.items()} if len(samples) > 1 else {}
    rows = []
    for name, group in {**several, ALL: list(samples.values())}.items():
        found = crossed_bootstrap(group, resamples, np.random.default_rng(seed))
        p = sign_flips(group, resamples, np.random.default_rng(seed)) if tested and name == ALL else None
        told = {key: round(value, DIGITS) for key, value in (("value", found.mean), ("low", found.low), ("high", found.high))}
        rows.append({"seed": name, "seeds": len(group), "n": found.n // len(group), **told, "p": p, "p_holm": None})
    return rows


def _adjust(rows: Rows, test: Callable[[dict[str, Any]], Hashable]) -> None:
    """Adjust the p-values of the table, for each pool and reading; rows that are the same test count as one."""
    families: dict[tuple[str, str], dict[Hashable, Rows]] = {}
    for row in rows:
        if row["p"] is not None:
            families.setdefault((row["pool"], row["reading"]), {}).setdefault(test(row), []).append(row)
    for family in families.values():
        tests = list(family.values())
        adjusted = holm({str(number): same[0]["p"] for number, same in enumerate(tests)})
        for number, same in enumerate(tests):
            for row in same:
                row["p_holm"] = round(adjusted[str(number)], 6)
