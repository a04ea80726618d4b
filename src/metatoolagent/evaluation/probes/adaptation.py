"""Adaptation: what a few inner steps on a few questions of the new tools gain.

Keys: `adaptation.<method>.<reading>.steps-<k>.<measure>` for each number of inner steps:
- `accuracy.<rate|low|high|n>`: share of right answers; what methods are compared in, at the same number of steps
- `gain.<difference|low|high|n>`: that share minus the one before the first step, paired; for k > 0
`adaptation.<better>_vs_<worse>.<reading>.steps-<k>.gain.<difference|low|high|p_tools|p_tools_holm>`: one's gain minus the
other's, paired, and a sign-flip test over tools: whether meta-learning made the steps worth more.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from metatoolagent.evaluation.metrics import DIGITS, READINGS, estimate, paired, pairs, right
from metatoolagent.evaluation.statistics import holm, sign_flips

PROBE = "adaptation"


def measure(frames: Mapping[str, pl.DataFrame], resamples: int, seed: int) -> dict[str, float]:
    """Return the metrics of each method, and the comparisons."""
    metrics: dict[str, float] = {}
    first = next(iter(frames.values()))
    for reading in READINGS:
        for steps in sorted(set(first["steps"])):
            clusters = first.filter(steps=steps)["gold"]
            outcomes = {method: right(frame.filter(steps=steps), reading) for method, frame in frames.items()}
            after = f"{reading}.steps-{steps}"
            for method, outcome in outcomes.items():
                metrics |= estimate(f"{PROBE}.{method}.{after}.accuracy", "rate", outcome, clusters, resamples, seed)
            metrics |= paired(PROBE, after, outcomes, clusters, resamples, seed)
            if steps:
                before = {method: right(frame.filter(steps=0), reading) for method, frame in frames.items()}
                gains = {name: outcome.cast(pl.Int8) - before[name].cast(pl.Int8) for name, outcome in outcomes.items()}
                metrics |= gained(f"{after}.gain", gains, clusters, resamples, seed)
    return metrics


def gained(after: str, gains: Mapping[str, pl.Series], clusters: pl.Series, resamples: int, seed: int) -> dict[str, float]:
    """Return the mean gain of each method, and the paired differences between gains, which are one family of p-values.

    Args:
        after: ends each key, after the method or the pair.
        gains: whether a question is right, less whether it was before, of each method on the same questions.
        clusters: the gold tool of each question.
        resamples: of an interval and of a test.
        seed: of the resampling.
    """
    metrics: dict[str, float] = {}
    for method, gain in gains.items():
        metrics |= estimate(f"{PROBE}.{method}.{after}", "difference", gain, clusters, resamples, seed)
    p_values: dict[str, float] = {}
    for worse, better in pairs(gains):
        key = f"{PROBE}.{better}_vs_{worse}.{after}"
        found = estimate(key, "difference", gains[better] - gains[worse], clusters, resamples, seed)
        metrics |= {name: value for name, value in found.items() if name != f"{key}.n"}
        # The test takes the sums of several samples by tool; one gain and the other turned around sum to their difference.
        samples = [(gain.to_list(), clusters.to_list()) for gain in (gains[better], -gains[worse])]
        p_values[key] = sign_flips(samples, resamples, np.random.default_rng(seed))
    metrics |= {f"{key}.p_tools": round(value, DIGITS) for key, value in p_values.items()}
    return metrics | {f"{key}.p_tools_holm": round(value, DIGITS) for key, value in holm(p_values).items()}
