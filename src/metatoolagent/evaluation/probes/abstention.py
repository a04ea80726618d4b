"""Abstention: whether a method says `none of these` where no candidate fits, and only there.

Keys: `abstention.<method>.<reading>.<measure>.<rate|low|high|n>` with the measures
- `over_calling`: of the tasks without the gold tool, the share in which a tool is chosen
- `under_calling`: of the tasks with it, the share in which `none of these` is chosen
- `accuracy`: of the tasks with it, the share in which it is chosen
- `balanced`: of all tasks, half of each sort, the share of right answers; what methods are compared in
A free answer that names no candidate is neither a tool nor `none of these`: `abstention.<method>.invalid` has its share.
"""

from collections.abc import Mapping

import polars as pl

from metatoolagent.evaluation.metrics import DIGITS, READINGS, estimate, paired, right
from metatoolagent.tasks.abstention import NONE

PROBE = "abstention"


def measure(frames: Mapping[str, pl.DataFrame], resamples: int, seed: int) -> dict[str, float]:
    """Return the metrics of each method, and the comparisons."""
    metrics: dict[str, float] = {}
    for method, frame in frames.items():
        absent = frame["gold"] == NONE
        tools = asked_for(frame)
        metrics[f"{PROBE}.{method}.invalid"] = round(frame["free"].null_count() / len(frame), DIGITS)
        for reading in READINGS:
            none = (frame[reading] == NONE).fill_null(value=False)
            called = frame[reading].is_not_null() & ~none
            found = {
                "over_calling": (called, absent),
                "under_calling": (none, ~absent),
                "accuracy": (right(frame, reading), ~absent),
                "balanced": (right(frame, reading), absent | ~absent),
            }
            for name, (values, of) in found.items():
                key = f"{PROBE}.{method}.{reading}.{name}"
                metrics |= estimate(key, "rate", values.filter(of), tools.filter(of), resamples, seed)
    clusters = asked_for(next(iter(frames.values())))
    for reading in READINGS:
        outcomes = {method: right(frame, reading) for method, frame in frames.items()}
        metrics |= paired(PROBE, f"{reading}.balanced", outcomes, clusters, resamples, seed, repeated=True)
    return metrics


def asked_for(frame: pl.DataFrame) -> pl.Series:
    """Return the tool that answers each task's question, also where it is no candidate: every question comes with it too."""
    tool = dict(frame.filter(pl.col("gold") != NONE).select("question_id", "gold").iter_rows())
    return frame["question_id"].replace_strict(tool, return_dtype=pl.String)
