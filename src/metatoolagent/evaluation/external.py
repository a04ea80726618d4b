"""Predictions on both candidate sets of a benchmark (cd and sd) -> one file of metrics."""

from collections.abc import Mapping
from pathlib import Path

from metatoolagent.artifacts import canonical_json, publishing
from metatoolagent.evaluation.metrics import FILE, answers, comparisons, of_method

Files = Mapping[str, Mapping[str, Path]]


def measure(predictions: Files, resamples: int, seed: int, out: Path) -> None:
    """Publish `metrics.json`.

    Args:
        predictions: the file of each method of each variant, such as `toolalpaca-cd`, which begins its keys.
        resamples: of an interval.
        seed: of the resampling.
        out: the folder.

    Raises:
        UserError: as `metrics.answers`.
    """
    metrics: dict[str, float] = {}
    for variant, files in predictions.items():
        frames = answers({method: [path] for method, path in files.items()})
        for method, frame in frames.items():
            metrics |= of_method(f"{variant}.{method}", frame, resamples, seed)
        metrics |= comparisons(variant, frames, resamples, seed)
    inputs = [path for files in predictions.values() for path in files.values()]
    with publishing(out, (FILE,), producer="metrics_external", inputs=inputs) as paths:
        paths[FILE].write_text(canonical_json(metrics), encoding="utf-8")
