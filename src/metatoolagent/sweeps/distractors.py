"""Distractors in training against distractors in evaluation: where more of them stop to help."""

import altair as alt
import polars as pl

from metatoolagent.evaluation.statistics import resolved
from metatoolagent.sweeps.runs import Plan, Run
from metatoolagent.sweeps.wording import at, capped, differences, percent, points

METHODS = ("ft", "mta")
ALONG = "training"
LEGEND = "distractors in training"
WIDTH = 240
"""Pixels of a panel: with a width by the number of points, the axis titles of panels with few of them touch."""


def runs(plan: Plan) -> list[Run]:
    """Return each method trained with each number of distractors, and evaluated with each."""
    numbers = sorted(set(plan.config["sweeps"]["distractors"]))
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
    numbers = alt.Scale(domain=sorted(set(table["training"])))
    base = alt.Chart(at(table)).encode(
        x=alt.X("evaluation:O", title="distractors in evaluation", axis=alt.Axis(labelAngle=0)),
        color=alt.Color("training:O", title=LEGEND, scale=numbers),
        xOffset="training:O",
    )
    value = alt.Y("value:Q", title="scored accuracy", scale=alt.Scale(domain=[0, 1]))
    # Colour and shape have one title and one domain, so that they are one legend.
    points = base.mark_line().encode(y=value) + base.mark_point().encode(
        y=value, shape=alt.Shape("training:O", title=LEGEND, scale=numbers)
    )
    bars = base.mark_rule().encode(y="low:Q", y2="high:Q")
    return (points + bars).properties(width=WIDTH).facet(column=alt.Column("method:N", title=None))


def saturation(rows: pl.DataFrame, steps: pl.DataFrame) -> int:
    """Return the fewest training distractors from which on no larger number is resolved to be better, on the same tasks.

    Args:
        rows: one method at one number of evaluation distractors, a row for each number in training.
        steps: its paired differences between those numbers.
    """
    better = [row["against"] for row in steps.to_dicts() if row["low"] > 0 and resolved(row["low"], row["high"], row["p_holm"])]
    worse = {int(against.removeprefix(f"{ALONG} ")) for against in better}
    return min(int(number) for number in rows["training"] if all(number > other for other in worse))


def finding(table: pl.DataFrame, caps: dict[str, int]) -> str:
    """Say what was found, at the most distractors in evaluation."""
    rows = at(table)
    hardest = max(rows["evaluation"])
    told = []
    for method in METHODS:
        of_method = rows.filter(method=method, evaluation=hardest).sort("training")
        steps = differences(table).filter(pl.col("against").str.starts_with(ALONG), method=method, evaluation=hardest)
        told.append(f"{method}: " + ", ".join(f"{row['training']} in training {percent(row)}" for row in of_method.to_dicts()))
        if (from_ := saturation(of_method, steps)) > of_method["training"][0]:
            told[-1] += f"; from {from_} on, more are not resolved to be better on the same tasks"
        else:
            told[-1] += "; no number is resolved to be better than a lower one on the same tasks"
        for row in steps.filter(training=of_method["training"].max()).to_dicts():
            told[-1] += f"; {row['training']} less {row['against'].removeprefix(f'{ALONG} ')}: {points(row)}"
    return f"Scored accuracy with {hardest} distractors in evaluation, pool all. {'. '.join(told)}. {capped(table, caps)}"
