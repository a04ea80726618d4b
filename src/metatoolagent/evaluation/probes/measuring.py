"""Predictions of a probe -> its file of metrics.

All keys begin with the probe; those of methods go on with the method and the reading (`free` or `scored`), those of
comparisons with the pair and the reading. Every share ends in `rate`, `low`, `high` and `n`, every paired difference in
`difference`, `low` and `high`, with `p` and `p_holm` between methods; intervals resample the tools that are asked for,
then questions. The modules beside this one say what lies between.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from metatoolagent.artifacts import canonical_json, publishing
from metatoolagent.catalog.schemas import PROBE_PREDICTIONS, read
from metatoolagent.evaluation.metrics import FILE, check_paired
from metatoolagent.evaluation.probes import abstention, adaptation, injection, rotation

Measure = Callable[[Mapping[str, pl.DataFrame], int, int], dict[str, float]]
"""Gives a probe's metrics from each method's predictions, the number of resamples and the seed."""
MEASURES: dict[str, Measure] = {
    "abstention": abstention.measure,
    "rotation": rotation.measure,
    "injection": injection.measure,
    "adaptation": adaptation.measure,
}


def measure(probe: str, predictions: Mapping[str, Path], resamples: int, seed: int, out: Path) -> None:
    """Publish `metrics.json`.

    Args:
        probe: one of `MEASURES`.
        predictions: the file of each method, in the order in which methods are compared.
        resamples: of an interval.
        seed: of the resampling.
        out: the folder.

    Raises:
        UserError: E-CORRUPT, E-MISSING or E-SCHEMA for inputs; E-UNPAIRED if the methods were not given the same tasks.
    """
    frames = {method: read(path, PROBE_PREDICTIONS[probe]) for method, path in predictions.items()}
    check_paired(frames, files={method: [path] for method, path in predictions.items()})
    metrics = MEASURES[probe](frames, resamples, seed)
    with publishing(out, (FILE,), producer="metrics_probe", inputs=list(predictions.values())) as paths:
        paths[FILE].write_text(canonical_json(metrics), encoding="utf-8")
