"""Predictions on both candidate sets of a benchmark (cd and sd) -> one file of metrics.

Keys are those of evaluation/metrics.py, and for a benchmark that parts its APIs as `KINDS` has them,
`<variant>.<method>.<free|scored>.<real|simulated>.<accuracy|low|high|n>` and
`<variant>.<method>.invalid.<real|simulated>.<rate|low|high|n>`: of pool `all`, the tasks whose gold tool is of that kind.
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from metatoolagent import known
from metatoolagent.artifacts import canonical_json, publishing
from metatoolagent.catalog.schemas import PUBLISHED, read
from metatoolagent.evaluation.metrics import FILE, answers, comparisons, of_method, of_tasks

Files = Mapping[str, Mapping[str, Path]]
KINDS = {"toolalpaca/eval_real.json": "real", "toolalpaca/eval_simulated.json": "simulated"}
"""What the APIs of a published file are: called as they are, or acted by a language model."""


def measure(predictions: Files, catalog: Path, resamples: int, seed: int, out: Path) -> None:
    """Publish `metrics.json`.

    Args:
        predictions: the file of each method of each variant, such as `toolalpaca-cd`, which begins its keys.
        catalog: the folder of the benchmark's tables, of which `published.parquet` says which file each tool is from.
        resamples: of an interval.
        seed: of the resampling.
        out: the folder.

    Raises:
        UserError: as `metrics.answers`; E-STALE if a gold tool is not in the catalog.
    """
    frames = {variant: answers({method: [path] for method, path in files.items()}) for variant, files in predictions.items()}
    published = catalog / "published.parquet"
    files = dict(read(published, PUBLISHED).select("name", "file").iter_rows())
    metrics: dict[str, float] = {}
    for variant, of_variant in frames.items():
        for method, frame in of_variant.items():
            known.require(frame["gold"], files, published)
            metrics |= of_method(f"{variant}.{method}", frame, resamples, seed)
            metrics |= by_kind(f"{variant}.{method}", frame, files, resamples, seed)
        metrics |= comparisons(variant, of_variant, resamples, seed)
    inputs = [published, *(path for of_variant in predictions.values() for path in of_variant.values())]
    with publishing(out, (FILE,), producer="metrics_external", inputs=inputs) as paths:
        paths[FILE].write_text(canonical_json(metrics), encoding="utf-8")


def by_kind(key: str, frame: pl.DataFrame, files: Mapping[str, str], resamples: int, seed: int) -> dict[str, float]:
    """Return the metrics of one method on the tasks of each of `KINDS` that there are.

    Args:
        key: of the variant and the method.
        frame: its predictions.
        files: the published file of each tool.
        resamples: of an interval.
        seed: of the resampling.
    """
    metrics: dict[str, float] = {}
    kinds = pl.Series([KINDS.get(files[name], "") for name in frame["gold"]], dtype=pl.String)
    for kind in KINDS.values():
        if not (part := frame.filter(kinds == kind, pl.col("pool") == "all")).is_empty():
            metrics |= of_tasks(key, kind, part, resamples, seed)
    return metrics
