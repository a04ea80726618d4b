"""Intervals and paired tests for right-or-wrong outcomes that come in clusters.

Questions of one gold tool are alike, so the tools are the clusters: an interval that resamples questions alone would
be too narrow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binom, binomtest

Floats = npt.NDArray[np.float64]
LEVEL = 0.95
ALPHA = 1 - LEVEL
POWER = 0.8
"""Of a minimum detectable difference."""


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


def minimum_detectable(discordant: int, n: int) -> float | None:
    """Return the smallest true difference that the exact McNemar test would have found in four of five such samples.

    Given m discordant pairs, those that the first method has right are Binomial(m, p), and the difference of the two
    accuracies is (2 p - 1) m / n. The test rejects where at most k or at least m - k of them are, k being the largest
    with 2 F(k; m, 1/2) <= 0.05; the result is the difference at the p >= 1/2 at which that has a probability of 0.8.
    It is the power of the conditional test (SAS/STAT, PROC POWER, PAIREDFREQ with DIST=EXACT_COND) at the m that was
    seen; before Holm, and with pairs taken as independent, as the test takes them.

    Args:
        discordant: pairs in which one of the two is right.
        n: pairs.

    Returns:
        The difference, a share of n; None where so few discordant pairs can never reach significance.
    """
    tails = binom.cdf(np.arange(discordant // 2 + 1), discordant, 0.5)
    k = int((2 * tails <= ALPHA).sum()) - 1
    if k < 0:
        return None

    def short(p: float) -> float:
        return float(binom.cdf(k, discordant, p) + binom.sf(discordant - k - 1, discordant, p)) - POWER

    return float((2 * brentq(short, 0.5, 1.0) - 1) * discordant / n)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return the p-values adjusted for the size of their family (Holm 1979)."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, p_values[name] * (len(p_values) - rank)))
        adjusted[name] = highest
    return adjusted
