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
    """Return ft, and mta with each hypergradient under its name, on each split."""
    chosen, found = plan.config["sweeps"]["compare"], []
    for split in dict.fromkeys(chosen["splits"]):
        labels = {"split": split}
        found += plan.runs("ft", labels, {}, splits=[split])
        for name in dict.fromkeys(chosen["hypergradients"]):
            found += plan.runs("mta", labels, overrides(name), name=name, splits=[split])
    return found


def figure(table: pl.DataFrame) -> alt.Chart:
    """Return the accuracy of each, a small point for each seed and a large one with the interval for all."""
    shown = table.filter(pl.col("against").is_null(), pool="all", reading="scored")
    row, value = alt.Y("method:N", title=None), alt.X("value:Q", title="scored accuracy", scale=alt.Scale(domain=[0, 1]))
    base, over_all = alt.Chart(shown).encode(y=row), alt.datum.seed == "all"
    interval = base.mark_rule().encode(x="low:Q", x2="high:Q").transform_filter(over_all)
    points = base.mark_point(filled=True, size=80).encode(x=value).transform_filter(over_all)
    each = base.mark_point(size=20, opacity=0.6).encode(x=value).transform_filter(alt.datum.seed != "all")
    return (interval + points + each).facet(column=alt.Column("split:N", title=None))


def finding(table: pl.DataFrame, caps: dict[str, int]) -> str:
    """Say each accuracy, and how far each hypergradient is from fine-tuning."""
    told = []
    for (split,), rows in at(table).group_by("split", maintain_order=True):
        accuracies = ", ".join(f"{row['method']} {percent(row)}" for row in rows.to_dicts())
        against = differences(table).filter(split=split, against="ft").to_dicts()
        apart = "; ".join(f"{row['method']} less ft {points(row)}" for row in against)
        told.append(f"{split}: {accuracies}. {apart}")
    return f"Scored accuracy, pool all. {'. '.join(told)}. {capped(table, caps)}"
