"""The target multi_tool: choices on chains -> metrics, one table, one figure, one paragraph."""

from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
import vl_convert

from metatoolagent.artifacts import canonical_json, publishing
from metatoolagent.evaluation.chain_metrics import ALL, KEY, Files, table
from metatoolagent.evaluation.statistics import resolved
from metatoolagent.look import CONFIG

FILES = ("metrics.json", "table.csv", "figure.json", "figure.svg", "figure.png", "finding.md")
MARKS = {"order": ("#12355b", "circle"), "set": ("#e08a00", "square"), "prefix": ("#5f8f9f", "triangle-up")}
"""Colour and shape of each measure; the shapes, and the lightness of order, keep them apart in a greyscale print."""
SCALE = 2.0
"""Pixels of the PNG for one of the drawing."""


def report(predictions: Files, resamples: int, seed: int, out: Path) -> None:
    """Publish `metrics.json`, `table.csv`, `figure.json` (Vega-Lite), `figure.svg`, `figure.png` and `finding.md`.

    Args:
        predictions: the file of each method of each variant.
        resamples: of an interval and of a test.
        seed: of the resampling.
        out: the folder.

    Raises:
        UserError: E-CORRUPT or E-MISSING for inputs; E-UNPAIRED if the methods of a variant were given different tasks.
    """
    made = table(predictions, resamples, seed)
    drawn = figure(made).configure(**CONFIG | {"background": "white"}).to_json()
    inputs = [path for files in predictions.values() for path in files.values()]
    with publishing(out, FILES, producer="report_chains", inputs=inputs) as paths:
        paths["metrics.json"].write_text(canonical_json(metrics(made)), encoding="utf-8")
        made.write_csv(paths["table.csv"])
        paths["figure.json"].write_text(drawn + "\n", encoding="utf-8")
        paths["figure.svg"].write_text(vl_convert.vegalite_to_svg(drawn), encoding="utf-8")
        paths["figure.png"].write_bytes(vl_convert.vegalite_to_png(drawn, scale=SCALE))
        paths["finding.md"].write_text(finding(made) + "\n", encoding="utf-8")


def metrics(made: pl.DataFrame) -> dict[str, float]:
    """Return the table as flat keys: `<variant>.<chains>.<length>.<method>[_vs_<other>].<reading>.<measure>.<number>`."""
    found: dict[str, float] = {}
    for row in made.to_dicts():
        against = f"_vs_{row['against']}" if row["against"] else ""
        key = ".".join(f"{row[name]}{against}" if name == "method" else row[name] for name in KEY if name != "against")
        numbers = {name: value for name, value in row.items() if name not in KEY and value is not None}
        found |= {f"{key}.{name}": value for name, value in numbers.items()}
    return found


def headline(made: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of test chains of all lengths, scored, after the methods' own choices."""
    return made.filter((pl.col("chains") == "test") & (pl.col("length") == ALL) & (pl.col("reading") == "scored"))


def figure(made: pl.DataFrame) -> alt.FacetChart:
    """Return the three measures of every method, with intervals, a panel for each variant."""
    measures = list(MARKS)
    colours, shapes = ([mark[part] for mark in MARKS.values()] for part in (0, 1))
    base = alt.Chart(headline(made).filter(pl.col("against").is_null())).encode(
        x=alt.X("method:N", sort=None, title=None),
        xOffset=alt.XOffset("measure:N", sort=measures),
        color=alt.Color("measure:N", title="accuracy", scale=alt.Scale(domain=measures, range=colours)),
    )
    points = base.mark_point().encode(
        y=alt.Y("value:Q", title="scored accuracy", scale=alt.Scale(domain=[0, 1])),
        shape=alt.Shape("measure:N", title="accuracy", scale=alt.Scale(domain=measures, range=shapes)),
    )
    bars = base.mark_rule().encode(y="low:Q", y2="high:Q")
    return (points + bars).facet(column=alt.Column("variant:N", sort=None, title=None))


def finding(made: pl.DataFrame) -> str:
    """Say what was found: each method's order, set and prefix accuracy, and what sets the best apart from the others."""
    told = [_of_variant(name, made.filter(pl.col("variant") == name)) for name in made["variant"].unique(maintain_order=True)]
    about = "Order: the gold tools in their order; set: in any order; prefix: mean share of leading steps that are right. "
    about += "Scored, each step after the method's own choices; in brackets 95 % intervals over first tools."
    return "\n\n".join([*told, about])


def _of_variant(name: str, made: pl.DataFrame) -> str:
    rows = headline(made)
    single = rows.filter(pl.col("against").is_null())
    if single.is_empty():
        return f"{name}: no chain is over test tools alone."
    cells = {(row["method"], row["measure"]): row for row in single.to_dicts()}
    methods = list(dict.fromkeys(single["method"]))
    accuracies = "; ".join(
        f"{method} {_percent(cells[method, 'order'])} in order, {_percent(cells[method, 'set'])} as a set, "
        f"{_percent(cells[method, 'prefix'])} of the prefix"
        for method in methods
    )
    best = max(methods, key=lambda method: cells[method, "order"]["value"])
    text = f"{name}, {single['n'][0]} chains over test tools: {accuracies}."
    level = [method for method in methods if cells[method, "order"]["value"] == cells[best, "order"]["value"]]
    if len(level) > 1:
        return f"{text} In order, {', '.join(level)} are the highest, and the same."
    text += f" In order, {best} is the highest"
    told = [_difference(row, best) for row in rows.filter(pl.col("against").is_not_null()).to_dicts()]
    if compared := [item for item in told if item]:
        text += f" ({', '.join(compared)})"
    lengths = made.filter(
        (pl.col("chains") == "test")
        & (pl.col("reading") == "scored")
        & (pl.col("measure") == "order")
        & (pl.col("length") != ALL)
    ).filter((pl.col("method") == best) & pl.col("against").is_null())
    by_length = ", ".join(f"{_percent(row)} of {row['n']} chains of {row['length']}" for row in lengths.to_dicts())
    return f"{text}. {best} by length: {by_length}."


def _percent(row: dict[str, Any]) -> str:
    return f"{100 * row['value']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def _difference(row: dict[str, Any], best: str) -> str:
    """Return a difference as the best method sees it; nothing for the pairs of others."""
    if best not in (row["method"], row["against"]):
        return ""
    other, sign = (row["against"], 1) if row["method"] == best else (row["method"], -1)
    low, high = sorted((sign * row["low"], sign * row["high"]))
    text = f"{100 * sign * row['value']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}] to {other}, p = {row['p_holm']:.3g}"
    return text if resolved(low, high, row["p_holm"]) else f"{text}, not resolved"
