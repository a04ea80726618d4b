"""Predictions on both candidate sets of a benchmark (cd and sd) -> one file of metrics."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from metatoolagent.artifacts import canonical_json, publishing, verify
from metatoolagent.evaluation.metrics import FILE, check_paired, comparisons, of_method

Files = Mapping[str, Mapping[str, Path]]


def measure(predictions: Files, resamples: int, seed: int, out: Path) -> None:
    """Publish `metrics.json`.

    Args:
        predictions: the file of each method of each variant, such as `toolalpaca-cd`, which begins its keys.
        resamples: of an interval.
        seed: of the resampling.
        out: the folder.

    Raises:
        UserError: E-CORRUPT or E-MISSING for inputs; E-UNPAIRED if the methods were not given the same tasks.
    """
    metrics: dict[str, float] = {}
    for variant, files in predictions.items():
        frames = {method: pl.read_parquet(verify(path)) for method, path in files.items()}
        check_paired(frames)
        for method, frame in frames.items():
            metrics |= of_method(f"{variant}.{method}", frame, resamples, seed)
        metrics |= comparisons(variant, frames, resamples, seed)
    inputs = [path for files in predictions.values() for path in files.values()]
    with publishing(out, (FILE,), producer="metrics_external", inputs=inputs) as paths:
        paths[FILE].write_text(canonical_json(metrics), encoding="utf-8")
