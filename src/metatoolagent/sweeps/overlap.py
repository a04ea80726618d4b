"""Overlap: accuracy against how much of their documentation the candidates share, without training anew.

The adapters are those of the main run, on its tasks of pool `all`; `tasks/overlap.py` says what is done to the descriptions.
"""

import altair as alt
import polars as pl

from metatoolagent import params
from metatoolagent.look import colour, shape
from metatoolagent.sweeps.runs import Plan, Run
from metatoolagent.sweeps.wording import at, capped, percent

SIBLINGS = "siblings"


def runs(plan: Plan) -> list[Run]:
    """Return every method at each share of shared words, and among siblings."""
    chosen = plan.config["sweeps"]["overlap"]
    levels = [str(share) for share in sorted(set(chosen["shares"]))]
    return [
        Run(
            {"overlap": level},
            method,
            plan.config["seed"] if params.OF_METHOD[method] else None,
            [f"results/overlap-{level}/{method}/predictions.parquet"],
        )
        for level in [*levels, SIBLINGS]
        for method in params.OF_METHOD  # in its order, which comparisons are named by
        if method in chosen["methods"]
    ]


def figure(table: pl.DataFrame) -> alt.LayerChart:
    """Return accuracy against overlap, a line for each method; siblings stand apart."""
    rows = at(table)
    methods = rows["method"].unique(maintain_order=True).to_list()
    x = alt.X("overlap:N", sort=None, title="shared words in % of a description")
    base = alt.Chart(rows).encode(x=x, color=colour(methods), xOffset=alt.XOffset("method:N", sort=None))
    value = alt.Y("value:Q", title="scored accuracy", scale=alt.Scale(domain=[0, 1]))
    points = base.mark_point().encode(y=value, shape=shape(methods))
    lines = base.mark_line().encode(y="value:Q").transform_filter(alt.datum.overlap != SIBLINGS)
    return alt.layer(base.mark_rule().encode(y="low:Q", y2="high:Q"), lines, points)


def finding(table: pl.DataFrame, caps: dict[str, int]) -> str:
    """Say what became of each method's accuracy from the least to the most overlap, and among siblings."""
    del caps  # nothing is trained here, and the tasks are those of the main run
    rows = at(table)
    levels = sorted(int(level) for level in set(rows["overlap"]) - {SIBLINGS})
    told = []
    for method in dict.fromkeys(rows["method"]):
        found = {row["overlap"]: row for row in rows.filter(pl.col("method") == method).to_dicts()}
        low, high, near = found[str(levels[0])], found[str(levels[-1])], found[SIBLINGS]
        change = 100 * (high["value"] - low["value"])
        told.append(f"{method}: {percent(low)} to {percent(high)} ({change:+.1f} points), siblings {percent(near)}")
    start = f"Scored accuracy as shared words rise from {levels[0]} to {levels[-1]} % of each description, and among siblings "
    return f"{start}whose descriptions differ in one constraint. {'; '.join(told)}. {capped(table, {})}"
