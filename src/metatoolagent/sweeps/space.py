"""Seeded, space-filling points in a space of params, and what their accuracies say of each param."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.stats.qmc import LatinHypercube

from metatoolagent.sweeps.compare import overrides as of_hypergradient
from metatoolagent.sweeps.runs import Plan, Run
from metatoolagent.variants import Scalar

RANGES = {"outer_lr": "train.learning_rate", "inner_lr": "mta.inner_lr"}
"""Params between two values, where the logarithm is uniform; all others are lists of values."""
STEPS = {"rank": "adapter.rank", "tasks": "meta_tasks.tasks_per_pack", "inner_steps": "mta.inner_steps"}
STEPS |= {"meta_tasks": "meta_tasks.count"}
KINDS = {"hypergradient": "mta.hypergradient", "support_share": "mta.support_share"}
"""Params whose few values are told apart by name."""
COST = ("meta_tasks", "tasks", "inner_steps", "rank")
"""What a setting costs grows with the product of these."""
POINT = "point"
FEWEST = 2
"""Points of a half whose mean is compared."""

Point = dict[str, str | int | float]


def points(space: Mapping[str, Any], seed: int) -> list[Point]:
    """Return the points of a Latin hypercube (McKay et al. 1979): each param takes its whole range evenly.

    Args:
        space: the number of points, and the range or the list of values of each param, as in params.yaml.
        seed: of the draw.
    """
    names = sorted(name for name in space if name != "points")  # params.yaml in another order is the same params.yaml
    drawn = LatinHypercube(d=len(names), rng=np.random.default_rng(seed)).random(space["points"])
    return [_possible({name: _value(name, space[name], float(at)) for name, at in zip(names, row, strict=True)}) for row in drawn]


def _possible(point: Point) -> Point:
    """Return the point with what its hypergradient does not leave open as that hypergradient has it."""
    fixed = of_hypergradient(str(point["hypergradient"])) if "hypergradient" in point else {}
    return {name: fixed.get(KINDS.get(name, ""), value) for name, value in point.items()}


def _value(name: str, levels: Sequence[Any], at: float) -> Any:
    if name not in RANGES:
        return levels[int(at * len(levels))]
    low, high = map(math.log, levels)
    # Two digits, since the name of the run's folder has them.
    return float(f"{math.exp(low + at * (high - low)):.2g}")


def overrides(point: Point, config: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return what a point changes in params.yaml; the scale of LoRA stays what it is when its rank changes."""
    found: dict[str, Scalar] = {key: point[name] for name, key in {**RANGES, **STEPS, **KINDS}.items() if name in point}
    if "rank" in point:
        found["adapter.alpha"] = config["adapter"]["alpha"] / config["adapter"]["rank"] * int(point["rank"])
    if "hypergradient" in point:
        found |= of_hypergradient(str(point["hypergradient"]))
    return found


def runs(plan: Plan) -> list[Run]:
    """Return method mta at each point, on validation tools."""
    drawn = points(plan.config["sweeps"][plan.sweep], plan.config["seed"])
    validation: dict[str, Scalar] = {"eval_tasks.part": "validation"}
    return [
        run
        for number, point in enumerate(drawn)
        for run in plan.runs("mta", {POINT: number, **point}, {**overrides(point, plan.config), **validation})
    ]


@dataclass(frozen=True)
class Effect:
    """How much higher the accuracy is in the upper half of a param's values than in the lower one, with its interval."""

    name: str
    difference: float
    low: float
    high: float


def effects(rows: pl.DataFrame, names: Sequence[str], resamples: int = 2000) -> list[Effect]:
    """Return the main effect of each param that has a numeric order, the strongest first.

    The points are resampled for the interval, with a fixed seed. A space-filling design balances the other params only
    roughly, and with few points the interval says so. Of one point in a half it could not: such an effect is left out.

    Args:
        rows: a row a point, with its params and its accuracy as `value`.
        names: the params.
        resamples: of the interval.
    """
    found = []
    for name in names:
        levels, value = rows[name].to_numpy().astype(np.float64), rows["value"].to_numpy()
        upper = levels > np.median(levels)
        if upper.sum() < FEWEST:
            upper = levels >= np.median(levels)
        if min(upper.sum(), (~upper).sum()) < FEWEST:
            continue
        drawn = np.random.default_rng(0).integers(len(rows), size=(resamples, len(rows)))
        count = upper[drawn].sum(1)
        mixed = (count > 0) & (count < len(rows))
        sums = np.where(upper[drawn], value[drawn], 0).sum(1)[mixed], np.where(upper[drawn], 0, value[drawn]).sum(1)[mixed]
        differences = sums[0] / count[mixed] - sums[1] / (len(rows) - count[mixed])
        low, high = np.quantile(differences, (0.025, 0.975))
        found.append(Effect(name, float(value[upper].mean() - value[~upper].mean()), float(low), float(high)))
    return sorted(found, key=lambda effect: -abs(effect.difference))


def viable(rows: pl.DataFrame) -> dict[str, Any]:
    """Return the cheapest point that no interval tells from the best one: its upper end reaches the best accuracy."""
    cost = pl.fold(pl.lit(1), lambda product, factor: product * factor, [pl.col(name) for name in COST if name in rows.columns])
    return rows.filter(pl.col("high") >= rows["value"].max()).sort(cost, POINT).row(0, named=True)
