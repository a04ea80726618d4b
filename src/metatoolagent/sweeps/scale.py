"""A ladder of backbones: this one with fewer layers, and others."""

import math
from collections.abc import Sequence

import altair as alt
import polars as pl

from metatoolagent import params
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.look import colour, shape
from metatoolagent.sweeps.runs import Plan, Run
from metatoolagent.sweeps.wording import at, capped, differences, percent, points
from metatoolagent.variants import Scalar

METHODS = ("base", "ft", "mta")


def rungs(plan: Plan) -> dict[str, dict[str, Scalar]]:
    """Return what each rung of the ladder changes, by its name in the table: fewer layers first, sources in their order."""
    chosen, own = plan.config["sweeps"]["scale"], plan.config["backbone"]["source"]
    numbers = sorted(chosen["layers"], key=lambda layers: layers or math.inf)
    cut: dict[str, dict[str, Scalar]] = {f"{own}, {layers or 'all'} layers": {"backbone.layers": layers} for layers in numbers}
    return cut | {source: {"backbone.source": source, "backbone.layers": 0} for source in chosen["sources"]}


def runs(plan: Plan) -> list[Run]:
    """Return each method on each rung.

    Raises:
        UserError: E-PARAMS if a source, or a number of layers of one whose number is known, is no rung.
    """
    _require_rungs(plan)
    ladder = rungs(plan).items()
    return [run for name, changed in ladder for method in METHODS for run in plan.runs(method, {"backbone": name}, changed)]


def _require_rungs(plan: Plan) -> None:
    """Refuse rungs whose backbone cannot be made: the others would be trained before one of these is."""
    chosen, own = plan.config["sweeps"]["scale"], plan.config["backbone"]["source"]
    most = params.LAYERS.get(own, params.MOST)
    _refuse("sources", [name for name in chosen["sources"] if not params.is_source(name)], f"name {params.SOURCES}")
    _refuse("layers", [layers for layers in chosen["layers"] if layers > most], f"{own} has {most} layers; 0 is all of them")


def _refuse(name: str, wrong: Sequence[str | int], fix: str) -> None:
    if wrong:
        what, where, got = "no backbone can be made for a rung", f"key sweeps.scale.{name}", shown(", ".join(map(str, wrong)))
        raise UserError("E-PARAMS", what, where, got, fix, "nothing was run", exit_code=Exit.PARAMS)


def figure(table: pl.DataFrame) -> alt.Chart:
    """Return accuracy with its interval on each rung, methods side by side."""
    order = table["backbone"].unique(maintain_order=True).to_list()
    offset = alt.XOffset("method:N", sort=list(METHODS))
    x = alt.X("backbone:N", sort=order, title=None)
    base = alt.Chart(at(table)).encode(x=x, color=colour(METHODS), xOffset=offset)
    value = alt.Y("value:Q", title="scored accuracy", scale=alt.Scale(domain=[0, 1]))
    bars = base.mark_rule().encode(y="low:Q", y2="high:Q")
    return (bars + base.mark_point().encode(y=value, shape=shape(METHODS))).properties(width=alt.Step(26))


def finding(table: pl.DataFrame, caps: dict[str, int]) -> str:
    """Say each method's accuracy on each rung, and how far mta is from ft there."""
    told = []
    for (name,), rows in at(table).group_by("backbone", maintain_order=True):
        told.append(f"{name}: " + ", ".join(f"{row['method']} {percent(row)}" for row in rows.to_dicts()))
        asked = differences(table).filter(backbone=name, method="mta", against="ft").to_dicts()
        told[-1] += "".join(f"; mta less ft {points(row)}" for row in asked)
    return f"Scored accuracy, pool all. {'. '.join(told)}. {capped(table, caps)}"
