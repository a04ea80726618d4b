"""How much each hyper-parameter matters, over a space-filling design on validation tools."""

import altair as alt
import polars as pl

from metatoolagent.sweeps.space import COST, KINDS, POINT, RANGES, STEPS, effects, runs, viable
from metatoolagent.sweeps.wording import at, capped, percent

__all__ = ["figure", "finding", "runs"]

WORDS = {
    "outer_lr": "learning rate",
    "inner_lr": "rate of the inner steps",
    "rank": "rank of LoRA",
    "tasks": "tasks a pack",
    "inner_steps": "inner steps",
    "meta_tasks": "meta-tasks",
}
"""What a panel of the figure says of each param."""


def names(table: pl.DataFrame) -> list[str]:
    """Return the params of the table that have a numeric order."""
    return [name for name in (*RANGES, *STEPS) if name in table.columns]


def kinds(table: pl.DataFrame) -> list[str]:
    """Return the params of the table that have a few named values."""
    return [name for name in KINDS if name in table.columns]


def figure(table: pl.DataFrame) -> alt.Chart:
    """Return accuracy against each param, a panel each, marked by the kinds of the points where there are several."""
    told = [POINT, "value", "low", "high", *kinds(table)]
    levels = at(table).with_columns(pl.col(names(table)).cast(pl.Float64))
    data = levels.unpivot(names(table), index=told, variable_name="param", value_name="level")
    data = data.with_columns(pl.col("param").replace_strict(WORDS))
    x = alt.X("level:Q", scale=alt.Scale(type="log", nice=False, padding=12), axis=alt.Axis(tickCount=4), title=None)
    base = alt.Chart(data).encode(x=x)
    value = alt.Y("value:Q", title="scored accuracy on validation tools", axis=alt.Axis(format=".0%"))
    marks = {
        "hypergradient": alt.Color("hypergradient:N", title="hypergradient"),
        "support_share": alt.Shape("support_share:N", title="support share"),
    }
    marked = base.mark_point(filled=True).encode(value, *(marks[name] for name in kinds(table)))
    drawn = base.mark_rule(opacity=0.3).encode(y="low:Q", y2="high:Q") + marked
    return (
        drawn.properties(width=160, height=160).facet(alt.Facet("param:N", title=None), columns=3).resolve_scale(x="independent")
    )


def setting(row: dict[str, object], table: pl.DataFrame) -> str:
    """Return a point as text."""
    return ", ".join(f"{name} {row[name]}" for name in (*names(table), *kinds(table)))


def finding(table: pl.DataFrame, caps: dict[str, int]) -> str:
    """Say the main effects, the best point, and the cheapest one that is not told from it."""
    rows = at(table)
    best, cheapest = rows.sort("value", descending=True).row(0, named=True), viable(rows)
    told = "; ".join(
        f"{effect.name} {100 * effect.difference:+.1f} points [{100 * effect.low:+.1f}, {100 * effect.high:+.1f}]"
        for effect in effects(rows, names(table))
    )
    price = ", ".join(name for name in COST if name in table.columns)
    return (
        f"Method mta at {len(rows)} points of a Latin hypercube, scored, validation tools, pool all. Main effects (mean of the "
        f"points in the upper half of a param less that of the others; intervals over points): {told}. Best: {percent(best)} at "
        f"{setting(best, table)}. Minimum viable (the least product of {price} whose interval reaches the best accuracy): "
        f"{percent(cheapest)} at {setting(cheapest, table)}. The best of {len(rows)} points is flattered by having been chosen. "
        f"{capped(table, caps)}"
    )
