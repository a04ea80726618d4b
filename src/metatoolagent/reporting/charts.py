"""The figures as Vega-Lite: one panel each, over rows that are given apart.

One set of rows serves the file, the page and its table. Rows of the figures on accuracy hold every split, pool and
reading; the chart shows those that its three parameters name.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

from metatoolagent.look import CONFIG, QUIET, colour, shape

Spec = dict[str, Any]
ROWS = alt.NamedData("rows")
SHARE = alt.Scale(domain=[0, 1])
PERCENT = alt.Axis(format=".0%", tickCount=5)
PARTED = "[split(datum.label, ' → ')[0], '→ ' + split(datum.label, ' → ')[1]]"
"""A pair's label on two lines: names as long as those of API-Bench would else end before the second of them."""


def by_method(chosen: dict[str, str], methods: Sequence[str]) -> Spec:
    """Return accuracy with its interval, a line for each method, and the chance of a blind guess as a rule."""
    base = _shown(chosen).encode(y=alt.Y("method:N", sort=list(methods), title=None))
    chance = _shown(chosen).mark_rule(color=QUIET, strokeDash=[3, 3]).encode(x="max(chance):Q")
    return _spec(alt.layer(chance, *_intervals(base, methods)), chosen, line=("method", 34), legend=False)


def by_value(chosen: dict[str, str], methods: Sequence[str], order: Sequence[str]) -> Spec:
    """Return accuracy with its interval on each value of an axis, methods side by side."""
    offset = alt.YOffset("method:N", sort=list(methods), scale=alt.Scale(padding=0.5))
    base = _shown(chosen).encode(y=alt.Y("value:N", sort=list(order), title=None), yOffset=offset)
    return _spec(alt.layer(*_intervals(base, methods)), chosen, line=("value", 14 * (len(methods) + 1)))


def by_number(chosen: dict[str, str], methods: Sequence[str]) -> Spec:
    """Return accuracy against the number of candidates, a line for each method, and the chance of a blind guess."""
    number = alt.X("candidates:Q", title="candidates", axis=alt.Axis(tickMinStep=1), scale=alt.Scale(zero=False))
    chance = _shown(chosen).transform_calculate(chance="1 / datum.candidates").mark_line(color=QUIET, strokeDash=[3, 3])
    base = _shown(chosen).encode(
        x=number,
        y=alt.Y("accuracy:Q", title="accuracy", scale=SHARE, axis=PERCENT),
        color=colour(methods),
    )
    band = base.mark_rule().encode(y="low:Q", y2="high:Q")
    points = base.mark_point().encode(shape=shape(methods))
    return _spec(alt.layer(chance.encode(x=number, y="chance:Q"), base.mark_line(), band, points), chosen, height=260)


def siblings(chosen: dict[str, str], methods: Sequence[str]) -> Spec:
    """Return how often an offered distractor is selected: a sibling of the gold tool, and a tool of another domain."""
    base = _shown(chosen).encode(y=alt.Y("method:N", sort=list(methods), title=None), x=_rate("share of those offered"))
    line = base.mark_line(color=QUIET).encode(detail="method:N")
    point = base.mark_point().encode(
        shape=alt.Shape("distractor:N", scale=alt.Scale(domain=["sibling", "other domain"], range=["circle", "square"])),
        color=alt.Color("distractor:N", scale=alt.Scale(domain=["sibling", "other domain"], range=["#12355b", "#8c8c8c"])),
        tooltip=["method:N", "distractor:N", alt.Tooltip("rate:Q", format=".1%"), "selected:Q", "offered:Q"],
    )
    return _spec(alt.layer(line, point), chosen, line=("method", 30))


def confusions(chosen: dict[str, str], methods: Sequence[str]) -> Spec:
    """Return the siblings that are selected most in a gold tool's place, a row for each pair."""
    base = _shown(chosen).encode(
        y=alt.Y(
            "pair:N",
            sort=alt.EncodingSortField("all", op="max", order="descending"),
            title=None,
            axis=alt.Axis(labelExpr=PARTED, labelLineHeight=14),
        ),
        x=_rate("share of tasks that offer it"),
        yOffset=alt.YOffset("method:N", sort=list(methods), scale=alt.Scale(padding=0.5)),
    )
    point = base.mark_point().encode(
        color=colour(methods),
        shape=shape(methods),
        tooltip=["pair:N", "method:N", "selected:Q", "offered:Q", alt.Tooltip("rate:Q", format=".0%")],
    )
    return _spec(point, chosen, line=("pair", 40))


def training(column: str, title: str, methods: Sequence[str]) -> Spec:
    """Return a column of the training logs by update, a line for each method that trains."""
    base = alt.Chart(ROWS).encode(
        x=alt.X("update:Q", title="update", axis=alt.Axis(tickMinStep=1)),
        y=alt.Y(f"{column}:Q", title=title, axis=alt.Axis(format=".0%") if column == "right" else alt.Axis()),
        color=colour(methods),
        shape=shape(methods),
        tooltip=["method:N", "update:Q", alt.Tooltip(f"{column}:Q", format=".3f")],
    )
    dash = alt.StrokeDash("method:N", sort=list(methods), legend=None)
    return _spec(alt.layer(base.mark_line(opacity=0.75).encode(strokeDash=dash), base.mark_point(size=26)), {}, height=240)


def _intervals(base: alt.Chart, methods: Sequence[str]) -> tuple[alt.Chart, alt.Chart]:
    rule = base.mark_rule().encode(
        x=alt.X("low:Q", title="accuracy, with its 95 % interval", scale=SHARE, axis=PERCENT), x2="high:Q", color=colour(methods)
    )
    point = base.mark_point().encode(
        x="accuracy:Q",
        color=colour(methods),
        shape=shape(methods),
        tooltip=[
            "method:N",
            *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("accuracy", "low", "high")),
            alt.Tooltip("n:Q", title="tasks"),
        ],
    )
    return rule, point


def _rate(title: str) -> alt.X:
    return alt.X("rate:Q", title=title, axis=alt.Axis(format=".0%", tickCount=5), scale=alt.Scale(zero=True))


def _shown(chosen: dict[str, str]) -> alt.Chart:
    chart = alt.Chart(ROWS)
    for column in chosen:
        chart = chart.transform_filter(f"datum.{column} === {column}")
    return chart


def _spec(
    chart: alt.Chart | alt.LayerChart,
    chosen: dict[str, str],
    *,
    height: int | None = None,
    line: tuple[str, int] | None = None,
    legend: bool = True,
) -> Spec:
    parameters = [alt.param(name=column, value=value) for column, value in chosen.items()]
    spec: Spec = chart.add_params(*parameters).to_dict() if parameters else chart.to_dict()
    config = CONFIG if legend else CONFIG | {"legend": {"disable": True}}
    # Vega-Lite's own step cannot be had together with a width that follows the page.
    tall = {"height": height} if line is None else {"usermeta": {"line": line[0], "step": line[1]}}
    return spec | {"width": "container", "config": config, **tall}
