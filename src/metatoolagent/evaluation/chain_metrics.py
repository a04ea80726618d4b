"""From the choices on chains to a table: exact order, exact set, prefix accuracy, each with its interval.

With t_1 ... t_K the gold tools of a chain and c_1 ... c_M the choices (M < K where a free answer named no candidate):

| measure | of a chain |
|---|---|
| order | 1 if c = t, else 0 |
| set | 1 if K distinct tools were chosen and they are those of t, in whatever order, else 0 |
| prefix | max{k : c_1 = t_1, ..., c_k = t_k} / K, the share of its leading steps that are right |
| step | of `forced` alone: the share of the steps k with c_k = t_k, the steps before being gold |
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandera.polars as pa
import polars as pl

from metatoolagent.catalog import schemas
from metatoolagent.evaluation.metrics import DIGITS, check_paired, pairs
from metatoolagent.evaluation.statistics import Estimate, holm, mean_bootstrap, sign_flips

Files = Mapping[str, Mapping[str, Path]]
Rows = list[dict[str, Any]]
MEASURES = {"scored": ("order", "set", "prefix"), "free": ("order", "set", "prefix"), "forced": ("step",)}
ALL = "all"
KEY = ("variant", "chains", "length", "method", "against", "reading", "measure")

TABLE = schemas.Table(
    {
        **{name: pa.Column(pl.String, nullable=name == "against") for name in KEY},
        "n": pa.Column(pl.Int64, pa.Check.ge(1)),
        **{name: pa.Column(pl.Float64, pa.Check.in_range(-1, 1)) for name in ("value", "low", "high")},
        **{name: pa.Column(pl.Float64, pa.Check.in_range(0, 1), nullable=True) for name in ("p", "p_holm")},
    },
    strict=True,
    ordered=True,
    metadata={"sorted_by": []},
)
"""`against` names the method that a difference is taken to; `chains` is test, or unseen for those with validation tools too."""


def table(predictions: Files, resamples: int, seed: int) -> pl.DataFrame:
    """Return the table of some variants.

    Args:
        predictions: the file of each method of each variant.
        resamples: of an interval and of a test.
        seed: of the resampling.

    Raises:
        UserError: E-CORRUPT, E-MISSING or E-SCHEMA for inputs; E-UNPAIRED if the methods of a variant were given different tasks.
    """
    rows: Rows = []
    for variant, files in predictions.items():
        frames = {method: schemas.read(path, schemas.CHAIN_PREDICTIONS) for method, path in files.items()}
        check_paired(frames, ("task_id", "candidates", "gold"), {method: [path] for method, path in files.items()})
        for name, chosen in groups(next(iter(frames.values()))):
            of_group = {method: frame.filter(chosen) for method, frame in frames.items()}
            rows += [{"variant": variant, **name, **row} for row in _of_group(of_group, resamples, seed)]
            if name["length"] == ALL:
                rows += [{"variant": variant, **name, **row} for row in _compared(of_group, resamples, seed)]
    types = {name: column.dtype.type for name, column in TABLE.columns.items()}
    return schemas.checked(pl.DataFrame(rows, schema=types), TABLE, "the table of chains")


def groups(tasks: pl.DataFrame) -> Iterator[tuple[dict[str, str], pl.Series]]:
    """Yield the groups of chains that have a row of their own, and which chains they hold."""
    test, length = tasks["part"] == "test", tasks["gold"].list.len()
    kinds = {"test": test, "unseen": pl.repeat(value=True, n=len(tasks), eager=True)}
    for kind, chosen in kinds.items():
        if not chosen.any() or (kind == "unseen" and test.all()):
            continue
        yield {"chains": kind, "length": ALL}, chosen
        for number in sorted(set(length.filter(chosen))):
            yield {"chains": kind, "length": str(number)}, chosen & (length == number)


def values(frame: pl.DataFrame, reading: str, measure: str) -> list[float]:
    """Return a measure of each chain."""
    return [of_chain(measure, gold, chosen) for gold, chosen in frame.select("gold", reading).iter_rows()]


def of_chain(measure: str, gold: Sequence[str], chosen: Sequence[str]) -> float:
    """Return a measure of one chain; the module says what each is."""
    right = [one == other for one, other in zip(gold, chosen, strict=False)]
    match measure:
        case "order":
            return float(list(gold) == list(chosen))
        case "set":
            return float(sorted(gold) == sorted(chosen))
        case "prefix":
            return len(list(itertools.takewhile(bool, right))) / len(gold)
        case _:
            return sum(right) / len(gold)


def _of_group(frames: Mapping[str, pl.DataFrame], resamples: int, seed: int) -> Rows:
    rows: Rows = []
    for method, frame in frames.items():
        for reading, measure in ((reading, measure) for reading, names in MEASURES.items() for measure in names):
            found = mean_bootstrap(values(frame, reading, measure), _clusters(frame), resamples, np.random.default_rng(seed))
            rows.append({"method": method, "against": None, "reading": reading, "measure": measure, **_told(found)})
    return rows


def _compared(frames: Mapping[str, pl.DataFrame], resamples: int, seed: int) -> Rows:
    """Return the differences in exact order; p-values are adjusted over the pairs of one reading."""
    rows: Rows = []
    for reading in ("scored", "free"):
        family: Rows = []
        for worse, better in pairs(frames):
            ours, theirs = (values(frames[name], reading, "order") for name in (better, worse))
            sample = [a - b for a, b in zip(ours, theirs, strict=True)], _clusters(frames[better])
            found = mean_bootstrap(*sample, resamples, np.random.default_rng(seed))
            p = sign_flips([sample], resamples, np.random.default_rng(seed))
            family.append({"method": better, "against": worse, "reading": reading, "measure": "order", **_told(found), "p": p})
        adjusted = holm({f"{row['method']} {row['against']}": row["p"] for row in family})
        rows += [{**row, "p_holm": round(adjusted[f"{row['method']} {row['against']}"], 6)} for row in family]
    return rows


def _clusters(frame: pl.DataFrame) -> list[str]:
    """Return the first gold tool of each chain: chains that begin with one tool are alike."""
    return frame["gold"].list.first().to_list()


def _told(found: Estimate) -> dict[str, float]:
    shares = {name: round(value, DIGITS) for name, value in (("value", found.mean), ("low", found.low), ("high", found.high))}
    return {"n": found.n, **shares}
