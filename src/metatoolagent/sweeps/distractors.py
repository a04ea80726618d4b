"""Distractors in training against distractors in evaluation: where more of them stop to help."""

import altair as alt
import polars as pl

from metatoolagent.sweeps.runs import Plan, Run
from metatoolagent.sweeps.wording import at, capped, percent

METHODS = ("ft", "mta")


def runs(plan: Plan) -> list[Run]:
    """Return each method trained with each number of distractors, and evaluated with each."""
    numbers = list(dict.fromkeys(plan.config["sweeps"]["distractors"]))
    return [
        run
        for training in numbers
        for evaluation in numbers
        for method in METHODS
        for run in plan.runs(
            method,
            {"training": training, "evaluation": evaluation},
            {"distractors": training, "eval_tasks.distractors": evaluation},
        )
    ]


def figure(table: pl.DataFrame) -> alt.Chart:
    """Return accuracy against distractors in evaluation, a line for each number in training."""
    base = alt.Chart(at(table)).encode(
        x=alt.X("evaluation:O", title="distractors in evaluation"),
        color=alt.Color("training:O", title="in training", legend=alt.Legend(title="distractors in training")),
        xOffset="training:O",
    )
    value = alt.Y("value:Q", title="scored accuracy", scale=alt.Scale(domain=[0, 1]))
    shape = alt.Shape("training:O", legend=alt.Legend(title="distractors in training"))
    points = base.mark_line().encode(y=value) + base.mark_point().encode(y=value, shape=shape)
    bars = base.mark_rule().encode(y="low:Q", y2="high:Q")
    return (points + bars).facet(column=alt.Column("method:N", title=None))


def saturation(rows: pl.DataFrame) -> int:
    """Return the fewest training distractors from which up to the best number no interval lies below the best one's mean.

    Args:
        rows: one method at one number of evaluation distractors, a row for each number in training.
    """
    best = rows.sort("value", "training", descending=[True, False]).row(0, named=True)
    below = rows.filter((pl.col("high") < best["value"]) & (pl.col("training") < best["training"]))["training"].to_list()
    return min(int(value) for value in rows["training"] if all(value > low for low in below))


def finding(table: pl.DataFrame, caps: dict[str, int]) -> str:
    """Say what was found, at the most distractors in evaluation."""
    rows = at(table)
    hardest = max(rows["evaluation"])
    told = []
    for method in METHODS:
        of_method = rows.filter((pl.col("method") == method) & (pl.col("evaluation") == hardest)).sort("training")
        told.append(f"{method}: " + ", ".join(f"{row['training']} in training {percent(row)}" for row in of_method.to_dicts()))
        best = of_method.sort("value", "training", descending=[True, False])["training"][0]
        told[-1] += f"; best with {best}, and from {saturation(of_method)} up to it no interval lies below that"
    return f"Scored accuracy with {hardest} distractors in evaluation, pool all. {'. '.join(told)}. {capped(table, caps)}"
