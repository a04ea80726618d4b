"""Fine-tuning against every hypergradient, at the same tasks and updates."""

import altair as alt
import polars as pl

from metatoolagent.sweeps.runs import Plan, Run
from metatoolagent.sweeps.wording import at, capped, differences, percent, points
from metatoolagent.variants import Scalar


def overrides(hypergradient: str) -> dict[str, Scalar]:
    """Return what choosing a hypergradient changes; reptile has no loss that a share of the support could be added to."""
    return {"mta.hypergradient": hypergradient, **({"mta.support_share": 0.0} if hypergradient == "reptile" else {})}


def runs(plan: Plan) -> list[Run]:
    """Return ft, and mta with each hypergradient under its name."""
    labels = {"split": "cd"}
    found = plan.runs("ft", labels, {})
    for name in dict.fromkeys(plan.config["sweeps"]["compare"]):
        found += plan.runs("mta", labels, overrides(name), name=name)
    return found


def figure(table: pl.DataFrame) -> alt.Chart:
    """Return the accuracy of each, a small point for each seed and a large one with the interval for all."""
    seeds = table.filter(pl.col("against").is_null(), pl.col("seed") != "all", pool="all", reading="scored")
    value = alt.X("value:Q", title="scored accuracy", scale=alt.Scale(domain=[0, 1]))
    each = alt.Chart(seeds).mark_point(size=20, opacity=0.6).encode(x=value, y=alt.Y("method:N", title=None))
    base = alt.Chart(at(table)).encode(y=alt.Y("method:N", title=None))
    return base.mark_rule().encode(x="low:Q", x2="high:Q") + base.mark_point(filled=True, size=80).encode(x=value) + each


def finding(table: pl.DataFrame, caps: dict[str, int]) -> str:
    """Say each accuracy, and how far each hypergradient is from fine-tuning."""
    told = [f"{row['method']} {percent(row)}" for row in at(table).to_dicts()]
    against = [f"{row['method']} less ft {points(row)}" for row in differences(table).filter(against="ft").to_dicts()]
    return f"Scored accuracy, split cd, pool all: {', '.join(told)}. {'; '.join(against)}. {capped(table, caps)}"
