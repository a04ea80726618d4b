"""Every method on every split: the paper's second table."""

import altair as alt
import polars as pl

from metatoolagent.params import OF_METHOD
from metatoolagent.sweeps.runs import Plan, Run
from metatoolagent.sweeps.wording import at, capped, differences, percent, points


def runs(plan: Plan) -> list[Run]:
    """Return each method on each split; the folds of hd are taken together."""
    chosen, held_out = plan.config["sweeps"]["table2"], plan.config["held_out"]
    return [
        run
        for split in dict.fromkeys(chosen["splits"])
        for method in OF_METHOD  # in its order, which comparisons are named by
        if method in chosen["methods"]
        for run in plan.runs(
            method, {"split": split}, {}, splits=[f"hd-{domain}" for domain in held_out] if split == "hd" else [split]
        )
    ]


def figure(table: pl.DataFrame) -> alt.Chart:
    """Return the accuracy of each method with its interval, a panel for each split."""
    order = table["method"].unique(maintain_order=True).to_list()
    base = alt.Chart(at(table)).encode(y=alt.Y("method:N", sort=order, title=None))
    points = base.mark_point(filled=True).encode(x=alt.X("value:Q", title="scored accuracy", scale=alt.Scale(domain=[0, 1])))
    return (base.mark_rule().encode(x="low:Q", x2="high:Q") + points).facet(column=alt.Column("split:N", title=None))


def finding(table: pl.DataFrame, caps: dict[str, int]) -> str:
    """Say each method's accuracy on each split, and how far mta is from ft."""
    told = []
    for (split,), rows in at(table).group_by("split", maintain_order=True):
        accuracies = ", ".join(f"{row['method']} {percent(row)}" for row in rows.sort("value", descending=True).to_dicts())
        told.append(f"{split}: {accuracies}")
        asked = differences(table).filter(split=split, method="mta", against="ft").to_dicts()
        told[-1] += "".join(f"; mta less ft {points(row)}" for row in asked)
    return f"Scored accuracy, pool all. {'. '.join(told)}. {capped(table, caps)}"
