"""Query tasks a meta-task, training tools, and questions of each: the generalization gap, next to the shape of the bound.

The gap is the accuracy on tasks of the tools that were trained on, less that on validation tools; one of the three is varied at
a time, the others as in the main run. With more query packs the share of the support loss in mta's outer loss shrinks as it
does in ft's mean over packs, so that with one support pack the two differ in the inner loop alone at every size. (Of several,
mta's outer loss has the first.)
"""

import math
from collections.abc import Mapping

import altair as alt
import polars as pl

from metatoolagent.errors import Exit, UserError
from metatoolagent.look import colour, shape
from metatoolagent.sweeps.bound import fit
from metatoolagent.sweeps.runs import Plan, Run
from metatoolagent.sweeps.wording import at, capped
from metatoolagent.variants import Scalar

METHODS = ("ft", "mta")
AXES = {"query_tasks": "query tasks a meta-task", "tools": "training tools", "questions": "questions a training tool"}


def runs(plan: Plan) -> list[Run]:
    """Return each method at each size of each axis, on tasks of training tools and of validation tools.

    Raises:
        UserError: E-PARAMS if a number of training tools, or of their questions, is too small for any meta-task.
    """
    chosen, pack = plan.config["sweeps"]["queries"], plan.config["meta_tasks"]["tasks_per_pack"]
    _require_room(plan)
    sizes: list[tuple[str, int, dict[str, Scalar]]] = []
    for count in sorted(set(chosen["query_tasks"])):
        packs = math.ceil(count / pack)
        # As many as the packs hold is what 0 stands for: one name for one thing.
        named = 0 if count == packs * pack else count
        changed: dict[str, Scalar] = {"meta_tasks.query_packs": packs, "meta_tasks.query_tasks": named}
        if plan.config["mta"]["support_share"]:
            supports = plan.config["meta_tasks"]["support_packs"]
            changed["mta.support_share"] = round(supports / (supports + packs), 4)
        sizes.append(("query_tasks", count, changed))
    sizes += [("tools", count, {"meta_tasks.tools": count}) for count in _rising(chosen["tools"])]
    sizes += [("questions", count, {"meta_tasks.questions_per_tool": count}) for count in _rising(chosen["questions"])]
    return [
        run
        for axis, size, changed in sizes
        for part in ("train", "validation")
        for method in METHODS
        for run in plan.runs(method, {"axis": axis, "size": size, "part": part}, {**changed, "eval_tasks.part": part})
    ]


def _rising(sizes: list[int]) -> list[int]:
    """Return the different sizes, the smallest first and 0, which is all there are, last."""
    return sorted(set(sizes), key=lambda size: size or math.inf)


def _require_room(plan: Plan) -> None:
    """Refuse sizes that no meta-task could be made at, whatever the catalog is like."""
    meta, candidates = plan.config["meta_tasks"], plan.config["distractors"] + 1
    # Support and query candidates are different tools; with abstention a pack has one more tool than candidates, and may ask
    # for that one in all of its tasks.
    tools = 2 * (candidates + bool(meta["abstention"]))
    questions = meta["tasks_per_pack"] if meta["abstention"] else math.ceil(meta["tasks_per_pack"] / candidates)
    sides = f"the candidates of a meta-task, {candidates - 1} distractors and the right tool for support and for query,"
    for axis, least, why, instead in (
        ("tools", tools, f"{sides} take {tools} training tools", "distractors"),
        (
            "questions",
            questions,
            f"a pack asks up to {questions} different questions of a training tool",
            "meta_tasks.tasks_per_pack",
        ),
    ):
        key = f"sweeps.queries.{axis}"
        small = sorted({size for size in plan.config["sweeps"]["queries"][axis] if 0 < size < least})
        if small:
            fix = f"take what is below {least} out of {key}, or lower {instead}"
            got = ", ".join(map(str, small))
            raise UserError("E-PARAMS", why, f"key {key}", got, fix, "nothing was run", exit_code=Exit.PARAMS)


def gaps(table: pl.DataFrame) -> pl.DataFrame:
    """Return the gap of each method at each size: columns axis, size, method, gap, low, high.

    The interval is that of two independent means. The tools of both parts are different ones; the seeds of training are the
    same, and what they have in common is left out.
    """
    rows = at(table)
    joined = rows.filter(part="train").join(
        rows.filter(part="validation"), on=["axis", "size", "method"], suffix="_validation", maintain_order="left"
    )
    gap = pl.col("value") - pl.col("value_validation")
    below = ((pl.col("value") - pl.col("low")) ** 2 + (pl.col("high_validation") - pl.col("value_validation")) ** 2).sqrt()
    above = ((pl.col("high") - pl.col("value")) ** 2 + (pl.col("value_validation") - pl.col("low_validation")) ** 2).sqrt()
    return joined.select("axis", "size", "method", gap=gap, low=gap - below, high=gap + above)


def figure(table: pl.DataFrame, largest: Mapping[str, int]) -> alt.Chart:
    """Return the gap against the size, a panel for each axis, with the fitted shape as a broken line.

    Args:
        table: of the sweep.
        largest: how many there are of each axis, which is where size 0, all of them, is drawn; the line is not fitted to it.
    """
    sized = gaps(table)
    everything = pl.col("axis").replace_strict(largest, default=None, return_dtype=sized["size"].dtype)
    found = sized.with_columns(size=pl.when(size=0).then(everything).otherwise("size"))
    curves = []
    for _, rows in sized.filter(pl.col("size") > 0).group_by("axis", "method", maintain_order=True):
        if bound := fit(rows["size"].to_list(), rows["gap"].to_list()):
            fitted = (bound.complexity / rows["size"]).sqrt()
            curves.append(rows.select("axis", "size", "method").with_columns(fitted=fitted))
    data = found.join(pl.concat(curves), on=["axis", "size", "method"], how="left") if curves else found.with_columns(fitted=None)
    data = data.with_columns(pl.col("axis").replace_strict(AXES))
    methods = data["method"].unique(maintain_order=True).to_list()
    x = alt.X("size:Q", scale=alt.Scale(type="log"), title="size")
    base = alt.Chart(data).encode(x=x, color=colour(methods))
    gap = alt.Y("gap:Q", title="accuracy on training tools less on validation tools", axis=alt.Axis(format="+.0%"))
    points = base.mark_point().encode(y=gap, shape=shape(methods))
    bars = base.mark_rule().encode(y="low:Q", y2="high:Q")
    line = base.mark_line(strokeDash=[4, 4]).encode(y="fitted:Q")
    return (bars + points + line).facet(column=alt.Column("axis:N", title=None)).resolve_scale(x="independent")


def finding(table: pl.DataFrame, caps: dict[str, int]) -> str:
    """Say the gaps, and how well sqrt(C / n) fits them; size 0, which is all, is told and not fitted."""
    told = []
    for (axis, method), rows in gaps(table).group_by("axis", "method", maintain_order=True):
        each = ", ".join(
            f"{row['size'] or 'all'}: {100 * row['gap']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
            for row in rows.to_dicts()
        )
        sized = rows.filter(pl.col("size") > 0)
        bound = fit(sized["size"].to_list(), sized["gap"].to_list())
        quality = f"sqrt(C/n) with C = {bound.complexity:.3g} has R² = {bound.r_squared:.2f}" if bound else "nothing to fit"
        told.append(f"{method}, {AXES[str(axis)]}: {each}; {quality}")
    return (
        "Generalization gap in points, scored, pool all: accuracy on tasks of the tools that were trained on less accuracy on "
        f"validation tools. {'. '.join(told)}. {capped(table, caps)}"
    )
