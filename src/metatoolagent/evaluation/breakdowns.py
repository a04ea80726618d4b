"""Accuracy by what a task is like, and which tools are taken for which.

A task is like its domain, the kind of its question, where the gold tool stands, how it is named, and how many
candidates there are. Tools of one domain are siblings.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from metatoolagent import known
from metatoolagent.artifacts import publishing, verify
from metatoolagent.catalog.schemas import BREAKDOWNS, CONFUSIONS, Table, write
from metatoolagent.evaluation.metrics import DIGITS, READINGS, answers, right
from metatoolagent.evaluation.statistics import cluster_bootstrap

FILES = ("breakdowns.parquet", "confusions.parquet")
AXES = ("domain", "kind", "position", "style", "candidates")
UNSAID = "not said"
"""The kind of a question whose author gives none, as in the published benchmarks."""
STYLES = {
    "one word": r"[a-z0-9]+",
    "snake_case": r"[a-z0-9]+(_[a-z0-9]+)+",
    "kebab-case": r"[a-z0-9]+(-[a-z0-9]+)+",
    "camelCase": r"[a-z0-9]+([A-Z][a-z0-9]*)+",
    "PascalCase": r"([A-Z][a-z0-9]*)+",
}
MIXED = "mixed"
"""The style of a name that is in none of `STYLES`, such as `AirportApi_getAirport`."""


def measure(split: str, predictions: Mapping[str, list[Path]], catalog: Path, resamples: int, seed: int, out: Path) -> None:
    """Publish `breakdowns.parquet` and `confusions.parquet`, with the columns of catalog/schemas.py.

    Args:
        split: the split or variant, as the keys of its metrics begin.
        predictions: the files of each method, one a fold.
        catalog: the folder with the tools and questions that the tasks are drawn from.
        resamples: of an interval.
        seed: of the resampling.
        out: the folder.

    Raises:
        UserError: E-CORRUPT or E-MISSING for inputs, E-STALE if the tasks are of another catalog, and as `metrics.answers`.
    """
    frames = answers(predictions)
    tools = pl.read_parquet(verify(catalog / "tools.parquet"))
    questions = pl.read_parquet(verify(catalog / "questions.parquet"))
    asked = next(iter(frames.values()))
    known.require(asked["candidates"].explode().unique(maintain_order=True), set(tools["name"]), catalog)
    known.require(asked["question_id"], set(questions["question_id"]), catalog)
    accuracies: list[dict[str, Any]] = []
    confused: list[pl.DataFrame] = []
    for method, frame in frames.items():
        keys = {"split": split, "method": method}
        accuracies += [keys | row for row in of_method(described(frame, tools, questions), resamples, seed)]
        confused.append(confusions(frame, tools).with_columns(split=pl.lit(split), method=pl.lit(method)))
    inputs = [path for paths in predictions.values() for path in paths]
    inputs += [catalog / "tools.parquet", catalog / "questions.parquet"]
    with publishing(out, FILES, producer="breakdowns", inputs=inputs) as paths:
        write(_typed(pl.DataFrame(accuracies), BREAKDOWNS), BREAKDOWNS, paths[FILES[0]])
        write(_typed(pl.concat(confused), CONFUSIONS), CONFUSIONS, paths[FILES[1]])


def _typed(frame: pl.DataFrame, schema: Table) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(column.dtype.type) for name, column in schema.columns.items())


def described(frame: pl.DataFrame, tools: pl.DataFrame, questions: pl.DataFrame) -> pl.DataFrame:
    """Return predictions with a text column for each of `AXES`."""
    domains = tools.select(gold="name", domain="domain")
    kinds = questions.select("question_id", pl.col("kind").fill_null(UNSAID))
    return (
        frame.join(domains, on="gold", how="left", maintain_order="left")
        .join(kinds, on="question_id", how="left", maintain_order="left")
        .with_columns(
            pl.col("position").cast(pl.String),
            pl.col("candidates").list.len().cast(pl.String),
            pl.col("gold").map_elements(style, return_dtype=pl.String).alias("style"),
        )
    )


def style(name: str) -> str:
    """Return the style in which a tool is named."""
    return next((known for known, pattern in STYLES.items() if re.fullmatch(pattern, name)), MIXED)


def of_method(frame: pl.DataFrame, resamples: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the accuracy of each part of a described frame, axis by axis, values in the order of their names."""
    for axis in AXES:
        for (pool, value), part in sorted(frame.group_by("pool", axis, maintain_order=True), key=lambda item: item[0]):
            for reading in READINGS:
                rng = np.random.default_rng(seed)
                found = cluster_bootstrap(right(part, reading).cast(pl.Float64).to_list(), part["gold"].to_list(), resamples, rng)
                yield {
                    "pool": pool,
                    "reading": reading,
                    "axis": axis,
                    "value": value,
                    "n": found.n,
                    "tools": part["gold"].n_unique(),
                    "accuracy": round(found.mean, DIGITS),
                    "low": round(found.low, DIGITS),
                    "high": round(found.high, DIGITS),
                }


def confusions(frame: pl.DataFrame, tools: pl.DataFrame) -> pl.DataFrame:
    """Return how often each distractor was offered beside a gold tool, and how often it was selected in its place."""
    domains = dict(tools.select("name", "domain").iter_rows())
    offered = frame.select("pool", "gold", "candidates", *READINGS).explode("candidates").rename({"candidates": "distractor"})
    counted = (
        offered.filter(pl.col("distractor") != pl.col("gold"))
        .unpivot(READINGS, index=["pool", "gold", "distractor"], variable_name="reading", value_name="selected")
        .group_by("pool", "reading", "gold", "distractor")
        .agg(
            pl.len().alias("offered"), (pl.col("selected") == pl.col("distractor")).fill_null(value=False).sum().alias("selected")
        )
        .sort("pool", "reading", "gold", "distractor")
    )
    domain_of = {column: pl.col(column).replace_strict(domains) for column in ("gold", "distractor")}
    return counted.with_columns(siblings=domain_of["gold"] == domain_of["distractor"])
