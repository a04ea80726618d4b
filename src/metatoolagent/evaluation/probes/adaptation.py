"""Adaptation: what a few inner steps on a few questions of the new tools gain.

Keys: `adaptation.<method>.<reading>.steps-<k>.<measure>` for each number of inner steps:
- `accuracy.<rate|low|high|n>`: share of right answers; what methods are compared in, at the same number of steps
- `gain.<difference|low|high|n>`: that share minus the one before the first step, paired; for k > 0
"""

from collections.abc import Mapping

import polars as pl

from metatoolagent.evaluation.metrics import READINGS, estimate, paired, right

PROBE = "adaptation"


def measure(frames: Mapping[str, pl.DataFrame], resamples: int, seed: int) -> dict[str, float]:
    """Return the metrics of each method, and the comparisons."""
    metrics: dict[str, float] = {}
    first = next(iter(frames.values()))
    for reading in READINGS:
        for steps in sorted(set(first["steps"])):
            clusters = first.filter(steps=steps)["gold"]
            outcomes = {method: right(frame.filter(steps=steps), reading) for method, frame in frames.items()}
            for method, outcome in outcomes.items():
                key = f"{PROBE}.{method}.{reading}.steps-{steps}"
                metrics |= estimate(f"{key}.accuracy", "rate", outcome, clusters, resamples, seed)
                if steps:
                    gain = outcome.cast(pl.Int8) - right(frames[method].filter(steps=0), reading).cast(pl.Int8)
                    metrics |= estimate(f"{key}.gain", "difference", gain, clusters, resamples, seed)
            metrics |= paired(PROBE, f"{reading}.steps-{steps}", outcomes, clusters, resamples, seed)
    return metrics
