"""Intervals and paired tests for right-or-wrong outcomes that come in clusters.

Questions of one gold tool are alike, so the tools are the clusters: an interval that resamples questions alone would
be too narrow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

Floats = npt.NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int


def cluster_bootstrap(values: Sequence[float], clusters: Sequence[str], resamples: int, rng: np.random.Generator) -> Estimate:
    """Return the mean of `values` and its percentile interval.

    Each resample draws clusters with replacement, and from each drawn cluster as many values as it has, again with
    replacement; the statistic is the mean over all values drawn. Resampling twice counts the variance within clusters
    twice, so the interval is on the wide side (docs/log.md has its coverage).

    Args:
        values: from {-1, 0, 1}: outcomes, or differences of paired outcomes.
        clusters: the cluster of each value.
        resamples: how many.
        rng: the generator.

    Raises:
        ValueError: if there are no values, or others than -1, 0 and 1.
    """
    data = np.asarray(values, dtype=np.float64)
    if not len(data) or not np.isin(data, (-1, 0, 1)).all():
        raise ValueError("values must be some of -1, 0 and 1")
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    # A cluster's values are drawn as counts of -1, 0 and 1, which is the same and needs no loop.
    counts = np.stack([np.bincount(index[data == value], minlength=len(names)) for value in (-1, 0, 1)], axis=1)
    sizes = counts.sum(1)
    drawn = rng.integers(len(names), size=(resamples, len(names)))
    inside = rng.multinomial(sizes[drawn], counts[drawn] / sizes[drawn][..., None])
    means = (inside[..., 2] - inside[..., 0]).sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Estimate(float(data.mean()), float(low), float(high), len(data))


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the two-sided p-value of the exact McNemar test on paired outcomes; 1 where none differs.

    McNemar 1947; exact: the discordant pairs are binomial with probability 1/2 under the null hypothesis.
    """
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    only_first, only_second = int((a & ~b).sum()), int((~a & b).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return the p-values adjusted for the size of their family (Holm 1979)."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, p_values[name] * (len(p_values) - rank)))
        adjusted[name] = highest
    return adjusted
