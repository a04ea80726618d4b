"""Rotation: whether a method chooses the same tool wherever it stands.

Keys: `rotation.<method>.<reading>.<measure>.<rate|low|high|n>` with the measures
- `consistency`: share of the questions with the same selection in all turns of the candidates; what methods are compared in.
  A question with a free answer that names no candidate is not one of them: a method that says nothing is not consistent.
- `always_right`: share of the questions that are right in all turns
- `position-<p>`: share of right answers where the gold tool stands at place p, from 0
"""

from collections.abc import Mapping

import polars as pl

from metatoolagent.evaluation.metrics import READINGS, estimate, paired, right

PROBE = "rotation"


def measure(frames: Mapping[str, pl.DataFrame], resamples: int, seed: int) -> dict[str, float]:
    """Return the metrics of each method, and the comparisons."""
    metrics: dict[str, float] = {}
    for reading in READINGS:
        questions = {method: by_question(frame, reading) for method, frame in frames.items()}
        for method, found in questions.items():
            key = f"{PROBE}.{method}.{reading}"
            for name in ("consistency", "always_right"):
                metrics |= estimate(f"{key}.{name}", "rate", found[name], found["gold"], resamples, seed)
            for (place,), part in frames[method].group_by("position", maintain_order=True):
                place_key = f"{key}.position-{place}"
                metrics |= estimate(place_key, "rate", right(part, reading), part["gold"], resamples, seed)
        outcomes = {method: found["consistency"] for method, found in questions.items()}
        clusters = next(iter(questions.values()))["gold"]
        metrics |= paired(PROBE, f"{reading}.consistency", outcomes, clusters, resamples, seed)
    return metrics


def by_question(frame: pl.DataFrame, reading: str) -> pl.DataFrame:
    """Return a row a question: its gold tool, whether all turns have one selection, and whether all are right."""
    selected = pl.col(reading)
    same = (selected.n_unique() == 1) & selected.is_not_null().all()
    all_right = (selected == pl.col("gold")).fill_null(value=False).all()
    named = {"consistency": same, "always_right": all_right}
    return frame.group_by("question_id", "gold", maintain_order=True).agg(**named)
