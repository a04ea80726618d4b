"""The figures: each as Vega-Lite for the page, as SVG and as CSV.

A figure's caption is the prose of workflow/report/<name>.rst, which Snakemake's own report and the page share.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import vl_convert

from metatoolagent import columns
from metatoolagent.artifacts import canonical_json, publishing
from metatoolagent.catalog.schemas import BREAKDOWNS, CONFUSIONS, read
from metatoolagent.evaluation.metrics import accuracies
from metatoolagent.look import VEGA_LITE
from metatoolagent.params import OF_METHOD
from metatoolagent.reporting import charts, tables
from metatoolagent.reporting.numbers import Metrics

FORMS = ("json", "svg", "csv")
SHOWN = ("bm25", "base", "ft", "channel", "mta")
"""The methods of the figures that part the tasks; the files have all of them."""
FIRST = {"split": "cd", "pool": "all", "reading": "scored"}
"""What a figure shows before a reader chooses."""
PAIRS = 10
"""Pairs of siblings that are shown of each split, pool and reading."""
LOG = ("update", "loss", "right")
"""What is drawn of a training log."""
SWEPT = ("training", "evaluation", "method", "against", "pool", "reading", "seed", "n", "value", "low", "high")
"""What is looked at in the table of sweep `distractors`."""
SWEEP = "sweep_distractors"
"""The target that varies the number of candidates."""
WIDTH = 640
"""Pixels of an SVG; on the page a figure is as wide as its place."""


@dataclass(frozen=True)
class Figure:
    """What is drawn, over which rows, and how it reads to someone who does not see it."""

    title: str
    alt: str
    spec: charts.Spec
    rows: pl.DataFrame
    sentence: str = ""
    """Stands in the figure's place on the page where there is nothing to compare."""


@dataclass(frozen=True)
class Measured:
    """What evaluation measured, of all splits together."""

    methods: pl.DataFrame
    accuracies: pl.DataFrame
    confusions: pl.DataFrame
    logs: pl.DataFrame
    candidates: pl.DataFrame
    """Accuracy by the number of candidates."""


@dataclass(frozen=True)
class Sources:
    """What the figures are made from."""

    metrics: Sequence[Path]
    """The metrics files of the splits."""
    breakdowns: Sequence[Path]
    """The folders that hold a split's breakdowns and confusions."""
    logs: Mapping[str, Path]
    """The training log of each method that trains."""
    sweep: Path | None = None
    """The table of the sweep over numbers of distractors, where it has run."""

    def inputs(self) -> list[Path]:
        """Return the files."""
        parted = [folder / file for folder in self.breakdowns for file in ("breakdowns.parquet", "confusions.parquet")]
        return [*self.metrics, *parted, *self.logs.values(), *([self.sweep] if self.sweep else [])]


def publish(sources: Sources, distractors: int, out: Path) -> None:
    """Publish every figure of `draw` in the folder `out`, in each of `FORMS`.

    Args:
        sources: what they are made from.
        distractors: in the candidate sets that the methods were trained on.
        out: the folder.

    Raises:
        UserError: E-CORRUPT, E-MISSING or E-SCHEMA for inputs.
    """
    drawn = draw(load(sources, distractors))
    names = [f"{name}.{form}" for name in drawn for form in FORMS]
    with publishing(out, names, producer="figures", inputs=sources.inputs()) as paths:
        for name, figure in drawn.items():
            rows = figure.rows.to_dicts()
            told = {"title": figure.title, "alt": figure.alt, "sentence": figure.sentence, "spec": figure.spec, "rows": rows}
            paths[f"{name}.json"].write_text(canonical_json(told), encoding="utf-8")
            paths[f"{name}.svg"].write_text(svg(figure.spec, rows), encoding="utf-8")
            figure.rows.write_csv(paths[f"{name}.csv"])


def svg(spec: charts.Spec, rows: list[dict[str, Any]]) -> str:
    """Return a figure as SVG, of what is shown before a reader chooses."""
    whole = spec | {"data": {"name": "rows", "values": rows}, "width": WIDTH, "background": "white", "padding": 12}
    if "usermeta" in spec:
        names = [param["name"] for param in spec["params"]]
        lines = {row[spec["usermeta"]["line"]] for row in rows if all(row[name] == FIRST[name] for name in names)}
        whole["height"] = len(lines) * spec["usermeta"]["step"]
    return str(vl_convert.vegalite_to_svg(json.dumps(whole), vl_version=VEGA_LITE))


def load(sources: Sources, distractors: int) -> Measured:
    """Read what the figures show.

    Args:
        sources: the files.
        distractors: as for `publish`.

    Raises:
        UserError: E-CORRUPT, E-MISSING, E-METRICS or E-SCHEMA.
    """
    curves = [
        columns.read_csv(path, "training logs", LOG).select(pl.lit(method).alias("method"), *LOG)
        for method, path in sources.logs.items()
    ]
    parts = pl.concat(read(folder / "breakdowns.parquet", BREAKDOWNS) for folder in sources.breakdowns)
    return Measured(
        by_method(tables.read(sources.metrics, tables.ACCURACY), parts),
        parts,
        pl.concat(read(folder / "confusions.parquet", CONFUSIONS) for folder in sources.breakdowns),
        pl.concat(curves),
        by_candidates(parts, sources.sweep, distractors),
    )


def by_method(metrics: Metrics, parts: pl.DataFrame) -> pl.DataFrame:
    """Return the accuracy of every method, with the chance of a blind guess among the candidates beside it."""
    same = ["split", "method", "pool", "reading"]
    sizes = (
        parts.filter(axis="candidates")
        .group_by(same)
        .agg(chance=((pl.col("n") / pl.col("value").cast(pl.Int32)).sum() / pl.col("n").sum()).round(4))
    )
    return accuracies(metrics).with_columns(pl.col("n").cast(pl.Int32)).join(sizes, on=same, how="inner", maintain_order="left")


def by_candidates(parts: pl.DataFrame, sweep: Path | None, distractors: int) -> pl.DataFrame:
    """Return accuracy by the number of candidates.

    It is that of the tasks of the splits, if some have more candidates than others; else that of the sweep over numbers of
    distractors, as far as its methods were trained with the number of the main job; else that of the one number there is.

    Raises:
        UserError: E-CORRUPT, E-MISSING or E-SCHEMA.
    """
    own = parts.filter(axis="candidates").with_columns(candidates=pl.col("value").cast(pl.Int32)).drop("axis", "value", "tools")
    if sweep is None or counts(own) > 1:
        return own
    rows = columns.read_csv(sweep, "the sweep over distractors", SWEPT).filter(
        pl.col("against").is_null(), seed="all", training=distractors
    )
    swept = rows.select(
        *(pl.lit("cd").alias("split"), "method", "pool", "reading", pl.col("n").cast(pl.Int32)),
        *(pl.col("value").alias("accuracy"), "low", "high", pl.col("evaluation").cast(pl.Int32).add(1).alias("candidates")),
    )
    return swept if counts(swept) > 1 else own


def counts(rows: pl.DataFrame) -> int:
    """Return how many numbers of candidates there are in the split and pool that has the most."""
    numbers = rows.group_by("split", "pool").agg(pl.col("candidates").n_unique())["candidates"]
    return max(numbers, default=0)


def draw(measured: Measured) -> dict[str, Figure]:
    """Return every figure by its name, in the order of the page."""
    trained = [name for name in OF_METHOD if name in set(measured.logs["method"])]
    return {
        "accuracy": overall(measured),
        "candidates": candidates(measured),
        "domain": axis(measured, "domain", "Accuracy by domain"),
        "kind": axis(measured, "kind", "Accuracy by kind of question"),
        "position": axis(measured, "position", "Accuracy by the gold tool's place in the list"),
        "style": axis(measured, "style", "Accuracy by style of the gold tool's name"),
        "siblings": siblings(measured),
        "confusions": confusions(measured),
        "training_loss": curve(measured, "loss", "Training loss", trained),
        "training_right": curve(measured, "right", "Training tasks answered rightly", trained),
    }


def overall(measured: Measured) -> Figure:
    """Return the accuracy of every method."""
    rows = measured.methods
    methods = [name for name in OF_METHOD if name in set(rows["method"])]
    told = [
        f"{row['method']} {row['accuracy']:.1%} ({row['low']:.1%} to {row['high']:.1%})"
        for row in rows.filter(**FIRST).to_dicts()
    ]
    title = "Accuracy of every method"
    return Figure(title, f"{title}. {_where(FIRST)}: {'; '.join(told)}.", charts.by_method(FIRST, methods), rows)


def axis(measured: Measured, name: str, title: str) -> Figure:
    """Return the figure of one axis of the breakdowns."""
    rows = measured.accuracies.filter(pl.col("axis") == name, pl.col("method").is_in(SHOWN)).drop("axis")
    if name == "position":
        place = pl.col("value").cast(pl.Int32) + 1
        # The breakdowns have them in the order of their texts, 10 before 2.
        rows = rows.sort(place, maintain_order=True).with_columns(("place " + place.cast(pl.String)).alias("value"))
    order = rows["value"].unique(maintain_order=True).to_list()
    there = [method for method in SHOWN if method in set(rows["method"])]
    spec = charts.by_value(FIRST, there, order)
    return Figure(title, _said(title, rows, "value"), spec, rows)


def candidates(measured: Measured) -> Figure:
    """Return accuracy against the number of candidates; with a sentence where there is only one number."""
    rows = measured.candidates.sort("candidates", maintain_order=True)
    sentence = ""
    if counts(rows) < 2:
        numbers = " or ".join(str(number) for number in rows["candidates"].unique().sort())
        sentence = (
            f"Every task of the runs on this page has {numbers} candidates; snakemake --cores all {SWEEP} varies the number."
        )
    methods = [name for name in OF_METHOD if name in set(rows["method"])]
    title = "Accuracy against the number of candidates"
    return Figure(title, _said(title, rows, "candidates"), charts.by_number(FIRST, methods), rows, sentence)


def siblings(measured: Measured) -> Figure:
    """Return how often siblings and tools of other domains are selected in the gold tool's place."""
    rows = (
        measured.confusions.with_columns(distractor=pl.when("siblings").then(pl.lit("sibling")).otherwise(pl.lit("other domain")))
        .group_by("split", "pool", "reading", "method", "distractor", maintain_order=True)
        .agg(pl.col("selected").sum(), pl.col("offered").sum())
        .with_columns(rate=(pl.col("selected") / pl.col("offered")).round(4))
        .sort("split", "pool", "reading", "method", "distractor", maintain_order=True)
    )
    methods = [name for name in OF_METHOD if name in set(rows["method"])]
    first = rows.filter(**FIRST)
    told = [f"{row['method']} {row['distractor']} {row['rate']:.1%}" for row in first.iter_rows(named=True)]
    title = "Wrong selections: siblings and strangers"
    return Figure(title, f"{title}. {_where(FIRST)}: {'; '.join(told)}.", charts.siblings(FIRST, methods), rows)


def confusions(measured: Measured) -> Figure:
    """Return the pairs of siblings that ft and mta confuse most often, of each split, pool and reading."""
    trained = ("ft", "mta")
    pairs = measured.confusions.filter(pl.col("siblings"), pl.col("method").is_in(trained)).with_columns(
        pair=pl.col("gold") + " → " + pl.col("distractor"),
        rate=(pl.col("selected") / pl.col("offered")).round(4),
        all=pl.col("selected").sum().over("split", "pool", "reading", "gold", "distractor"),
    )
    keys = ["split", "pool", "reading"]
    top = (
        pairs.filter(pl.col("all") > 0)
        .select(*keys, "pair", "all")
        .unique()
        .sort(*keys, "all", "pair", descending=[False, False, False, True, False])
        .group_by(keys, maintain_order=True)
        .head(PAIRS)
    )
    rows = pairs.join(top, on=[*keys, "pair", "all"], how="inner", maintain_order="right").select(
        *keys, "pair", "method", "selected", "offered", "rate", "all"
    )
    first = rows.filter(**FIRST)
    told = [f"{row['pair']}: {row['method']} {row['selected']} of {row['offered']}" for row in first.iter_rows(named=True)]
    title = "Siblings taken for the gold tool"
    return Figure(title, f"{title}. {_where(FIRST)}: {'; '.join(told)}.", charts.confusions(FIRST, trained), rows)


def curve(measured: Measured, column: str, title: str, methods: Sequence[str]) -> Figure:
    """Return a training curve."""
    rows = measured.logs.select("method", "update", column)
    told = []
    for method in methods:
        values = rows.filter(method=method).sort("update")[column]
        told.append(f"{method} from {values[0]:.2f} at the first to {values[-1]:.2f} at the last of {len(values)} updates")
    return Figure(title, f"{title}: {'; '.join(told)}.", charts.training(column, title.lower(), methods), rows)


def _said(title: str, rows: pl.DataFrame, column: str) -> str:
    first = rows.filter(**FIRST)
    parts = []
    for (value,), part in first.group_by(column, maintain_order=True):
        numbers = ", ".join(f"{row['method']} {row['accuracy']:.1%}" for row in part.iter_rows(named=True))
        parts.append(f"{value}: {numbers}")
    return f"{title}. {_where(FIRST)}. {'; '.join(parts)}."


def _where(chosen: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in chosen.items())
