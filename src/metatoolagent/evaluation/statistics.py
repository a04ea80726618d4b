"""Intervals and paired tests for right-or-wrong outcomes that come in clusters.

Questions of one gold tool are alike, so the tools are the clusters: an interval that resamples questions alone would
be too narrow.
"""

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binom, binomtest

Floats = npt.NDArray[np.float64]
Sample = tuple[Sequence[float], Sequence[str]]
"""Values from {-1, 0, 1}, and the cluster of each."""
NARROW, WIDE = (-1, 0, 1), (-2, -1, 0, 1, 2)
LEVEL = 0.95
BLOCK = 2**20
"""Draws that are held at once, which bounds the memory."""
ALPHA = 0.05
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
        values: from {-1, 0, 1}: outcomes, or differences of paired outcomes; or from -2 to 2: differences of two of those.
        clusters: the cluster of each value.
        resamples: how many.
        rng: the generator.

    Raises:
        ValueError: if there are no values, or others than whole numbers from -2 to 2.
    """
    data = np.asarray(values, dtype=np.float64)
    if not len(data) or not np.isin(data, WIDE).all():
        raise ValueError("values must be some of -2, -1, 0, 1 and 2")
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    # A cluster's values are drawn as counts of each, which is the same and needs no loop. How many there are changes the
    # generator's stream, so -2 and 2 are there only if they are needed.
    kinds = np.array(NARROW if np.isin(data, NARROW).all() else WIDE)
    counts = np.stack([np.bincount(index[data == value], minlength=len(names)) for value in kinds], axis=1)
    sizes = counts.sum(1)
    block = max(1, BLOCK // len(names))
    shapes = [(min(block, resamples - start), len(names)) for start in range(0, resamples, block)]
    # The clusters of all resamples come before the first value in the generator's stream, so the numbers do not depend on
    # the blocks: a copy of the generator draws them, and the generator itself passes over them.
    first = copy.deepcopy(rng)
    for shape in shapes:
        rng.integers(len(names), size=shape)
    means = []
    for shape in shapes:
        drawn = first.integers(len(names), size=shape)
        inside = rng.multinomial(sizes[drawn], counts[drawn] / sizes[drawn][..., None])
        means.append((inside @ kinds).sum(1) / sizes[drawn].sum(1))
    low, high = np.quantile(np.concatenate(means), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Estimate(float(data.mean()), float(low), float(high), len(data))


def crossed_bootstrap(samples: Sequence[Sample], resamples: int, rng: np.random.Generator) -> Estimate:
    """Return the mean over several runs of training and its percentile interval.

    Runs and clusters are crossed: each resample draws runs with replacement, and clusters with replacement that are the
    same for all runs, then values within, as in `cluster_bootstrap`, which this is for a single run. Of S runs S - 1 are
    drawn, so that the variance of their mean is not too small by a factor of (S - 1) / S, which for two runs is one half
    (McCarthy and Snowden 1985; Rao and Wu 1988, section 2). Two or three runs still tell little of how runs differ.

    Args:
        samples: the outcomes of each run; the runs need not have the same clusters.
        resamples: how many.
        rng: the generator.

    Raises:
        ValueError: if there are no values, or others than -1, 0 and 1.
    """
    counts_STV = _counts(samples)
    sizes_ST = counts_STV.sum(2)
    shares_STV = counts_STV / np.maximum(sizes_ST, 1)[..., None]
    shares_STV[sizes_ST == 0, 1] = 1
    runs, clusters = sizes_ST.shape
    taken = max(1, runs - 1)
    block = max(1, BLOCK // (taken * clusters))
    means = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(runs, size=(size, taken))[:, :, None], rng.integers(clusters, size=(size, clusters))[:, None, :]
        inside = rng.multinomial(sizes_ST[drawn], shares_STV[drawn])
        total = sizes_ST[drawn].sum((1, 2))
        # A draw can hold no value where the runs have different clusters; it says nothing.
        means.append(((inside[..., 2] - inside[..., 0]).sum((1, 2))[total > 0]) / total[total > 0])
    low, high = np.quantile(np.concatenate(means), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    mean = float((counts_STV[..., 2] - counts_STV[..., 0]).sum() / sizes_ST.sum())
    return Estimate(mean, float(low), float(high), int(sizes_ST.sum()))


def _counts(samples: Sequence[Sample]) -> npt.NDArray[np.int64]:
    """Return how often each cluster of each run has the values -1, 0 and 1, shape (S, T, 3)."""
    names = sorted({cluster for _, clusters in samples for cluster in clusters})
    number = {name: index for index, name in enumerate(names)}
    counts_STV = np.zeros((len(samples), len(names), 3), np.int64)
    for run, (values, clusters) in enumerate(samples):
        if not len(values) or not np.isin(values, (-1, 0, 1)).all():
            raise ValueError("values must be some of -1, 0 and 1")
        cluster_N = np.array([number[name] for name in clusters], np.int64)
        np.add.at(counts_STV[run], (cluster_N, np.asarray(values, np.float64).astype(np.int64) + 1), 1)
    return counts_STV


def sign_flips(samples: Sequence[Sample], resamples: int, rng: np.random.Generator) -> float:
    """Return the two-sided p-value of a randomization test of paired differences, with the clusters as units.

    Under the null hypothesis the two methods may be exchanged on each cluster, so the sum of its differences over all runs
    has either sign with equal probability (Fisher 1935). All signs are tried where there are no more than `resamples` of
    them, else as many are drawn. The runs of training are taken as they are: another seed is another question.

    Args:
        samples: the differences of each run.
        resamples: how many signs are drawn.
        rng: the generator.
    """
    counts_STV = _counts(samples)
    sums_T = (counts_STV[..., 2] - counts_STV[..., 0]).sum(0)
    sums_T = sums_T[sums_T != 0]
    if 2 ** len(sums_T) <= resamples:
        signs = np.array(list(itertools.product((-1, 1), repeat=len(sums_T)))).reshape(2 ** len(sums_T), len(sums_T))
        return float((np.abs(signs @ sums_T) >= abs(sums_T.sum())).mean())
    block = max(1, BLOCK // len(sums_T))
    beyond = 0
    for start in range(0, resamples, block):
        signs = rng.choice((-1, 1), size=(min(block, resamples - start), len(sums_T)))
        beyond += int((np.abs(signs @ sums_T) >= abs(sums_T.sum())).sum())
    return (1 + beyond) / (1 + resamples)


def mean_bootstrap(values: Sequence[float], clusters: Sequence[str], resamples: int, rng: np.random.Generator) -> Estimate:
    """Return the mean of any numbers and its percentile interval, resampling clusters alone.

    Args:
        values: finite numbers, such as shares.
        clusters: the cluster of each value.
        resamples: how many.
        rng: the generator.

    Raises:
        ValueError: if there are no values.
    """
    data = np.asarray(values, dtype=np.float64)
    if not len(data):
        raise ValueError("there must be values")
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    sums, sizes = np.bincount(index, data), np.bincount(index)
    block = max(1, BLOCK // len(names))
    means = []
    for start in range(0, resamples, block):
        drawn = rng.integers(len(names), size=(min(block, resamples - start), len(names)))
        means.append(sums[drawn].sum(1) / sizes[drawn].sum(1))
    low, high = np.quantile(np.concatenate(means), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
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


def resolved(low: float, high: float, p: float | None) -> bool:
    """Return whether a difference is told from 0.

    Args:
        low: the lower end of its interval.
        high: the upper end.
        p: its p-value after Holm; None where the difference was not tested, and the interval alone decides.
    """
    return (low > 0 or high < 0) and (p is None or p < ALPHA)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return the p-values adjusted for the size of their family (Holm 1979)."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, p_values[name] * (len(p_values) - rank)))
        adjusted[name] = highest
    return adjusted
