"""Where meta-learning helps: the differences between `mta` and `ft` on record, in two figures.

`python docs/results/gap.py` reads the snapshots beside it and writes gap.svg, and of the former prompt turns/gap.svg. Scored
accuracy, pool `all`, unless a row says otherwise; 95 % intervals as the snapshots have them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import altair as alt
import polars as pl
import vl_convert

from metatoolagent.artifacts import atomic_path
from metatoolagent.look import CONFIG, INK, QUIET, VEGA_LITE

HERE = Path(__file__).parent
TURNS = HERE / "turns"
"""Of snapshots that were made with the former prompt, turns of a chat (docs/decisions/0020)."""
ONE, SEVERAL = "one training of each", "three to five trainings of each"
FAULT = " *"
"""Marks adapters of mta that were trained with a fault in the optimistic choice (docs/log.md, 2026-11-29)."""


@dataclass(frozen=True)
class Row:
    """One difference, in points."""

    what: str
    trainings: str
    difference: float
    low: float
    high: float


def of_metrics(what: str, file: str, key: str, folder: Path = TURNS) -> Row:
    """Return a row from a snapshot of metrics."""
    found = json.loads((folder / file).read_text(encoding="utf-8"))
    return Row(what, ONE, *(100 * found[f"{key}.{name}"] for name in ("difference", "low", "high")))


def of_table(what: str, file: str, trainings: str = ONE, folder: Path = TURNS, **where: str) -> Row:
    """Return a row from a table, by the values of its columns; pool `all` and scored answers unless they say otherwise."""
    table = pl.read_csv(folder / file, infer_schema=False)
    chosen = (
        {"method": "mta", "against": "ft", "reading": "scored"} | ({"pool": "all"} if "pool" in table.columns else {}) | where
    )
    (row,) = table.filter(**chosen).iter_rows(named=True)
    return Row(what, trainings, *(100 * float(row[name]) for name in ("value", "low", "high")))


def rows() -> list[Row]:
    """Return the rows of today's prompt, from the top."""
    compared = {"file": "compare.csv", "method": "first_order", "folder": HERE}
    five = compared | {"seed": "all", "trainings": SEVERAL}
    return [
        of_table("candidates of all domains", **five),
        of_table("the same, free answers", reading="free", **five),
        of_table("the same, every candidate new", pool="unseen", **five),
        of_table("every candidate new, free answers", reading="free", pool="unseen", **five),
        *[of_table(f"candidates of all domains, seed {seed}", **compared, seed=str(seed)) for seed in range(5)],
        *[
            of_table(f"candidates of all domains, {what}", "hypergradients.csv", SEVERAL, HERE, method=method, seed="all")
            for what, method in (("exact hypergradient", "exact"), ("reptile", "reptile"))
        ],
        *[
            of_table(f"candidates of one domain{what}", "sd-seeds.csv", SEVERAL, HERE, method=method, seed="all", **where)
            for what, method, where in (
                ("", "first_order", {}),
                (", free answers", "first_order", {"reading": "free"}),
                (", every one new", "first_order", {"pool": "unseen"}),
                (", every one new, free answers", "first_order", {"reading": "free", "pool": "unseen"}),
                (", exact hypergradient", "exact", {}),
                (", reptile", "reptile", {}),
            )
        ],
        of_metrics("domains held out, iot and office", "hd.json", "hd.mta_vs_ft.scored.all", HERE),
        of_metrics("the domain held out alone, iot and office", "hd.json", "hd.mta_vs_ft.scored.unseen", HERE),
        of_metrics("eleven candidates", "distractors-10.json", "cd.mta_vs_ft.scored.all", HERE),
        of_metrics("eleven candidates, free answers", "distractors-10.json", "cd.mta_vs_ft.free.all", HERE),
        *[
            of_table(
                f"{training} wrong candidates in training, 5 in evaluation",
                "distractors.csv",
                folder=HERE,
                training=training,
                evaluation="5",
            )
            for training in ("2", "10")
        ],
        *[
            of_table(f"{share} % of each description shared", "overlap.csv", folder=HERE, overlap=share)
            for share in ("30", "60", "90")
        ],
        of_table("siblings that differ in one constraint", "overlap.csv", folder=HERE, overlap="siblings"),
        *[
            of_table(what, "queries.csv", folder=HERE, axis=axis, size=size, part="validation")
            for what, axis, size in (
                ("12 training tools, on validation tools", "tools", "12"),
                ("20 training tools, on validation tools", "tools", "20"),
                ("40 training tools, on validation tools", "tools", "40"),
                ("all 92 training tools, on validation tools", "tools", "0"),
                ("2 questions of each training tool, on validation tools", "questions", "2"),
                ("1 query task a meta-task, on validation tools", "query_tasks", "1"),
            )
        ],
        of_table(
            "chains, exact order", "multi_tool.csv", folder=HERE, variant="chains", chains="test", length="all", measure="order"
        ),
        of_metrics("ToolAlpaca, across APIs", "toolalpaca.json", "toolalpaca-cd.mta_vs_ft.scored.all", HERE),
        of_metrics("ToolAlpaca, within an API", "toolalpaca.json", "toolalpaca-sd.mta_vs_ft.scored.all", HERE),
        of_metrics("API-Bench, across hubs", "apibench.json", "apibench-cd.mta_vs_ft.scored.all", HERE),
        of_metrics("API-Bench, across hubs, free answers", "apibench.json", "apibench-cd.mta_vs_ft.free.all", HERE),
        of_metrics("API-Bench, within a hub", "apibench.json", "apibench-sd.mta_vs_ft.scored.all", HERE),
        of_metrics("API-Bench, within a hub, free answers", "apibench.json", "apibench-sd.mta_vs_ft.free.all", HERE),
        of_metrics("right, or rightly none of the candidates", "abstention.json", "abstention.mta_vs_ft.scored.balanced", HERE),
        of_metrics("the same choice in every order", "rotation.json", "rotation.mta_vs_ft.scored.consistency", HERE),
        of_metrics("after 8 inner steps on new tools", "adaptation.json", "adaptation.mta_vs_ft.scored.steps-8", HERE),
    ]


def rows_of_turns() -> list[Row]:
    """Return the rows of the former prompt, from the top."""
    compared = {"file": "compare.csv", "method": "first_order"}
    five = compared | {"seed": "all", "trainings": SEVERAL}
    longer = {"file": "longer-seeds.csv", "method": "first_order", "seed": "all", "trainings": SEVERAL}
    seeds = [of_table(f"candidates of all domains, seed {seed}", **compared, seed=str(seed)) for seed in range(5)]
    shared = [of_table(f"{share} % of each description shared", "overlap.csv", overlap=str(share)) for share in (30, 60, 90)]
    return [
        of_table("candidates of all domains", **five),
        of_table("the same, free answers", reading="free", **five),
        of_table("the same, every candidate new", pool="unseen", **five),
        *seeds,
        of_metrics("candidates of all domains, seed 0, in bfloat16", "bfloat16.json", "cd.mta_vs_ft.scored.all"),
        of_table("the same, exact hypergradient", "hypergradients.csv", method="exact", seed="all"),
        of_table("the same, reptile", "reptile.csv", method="reptile", seed="all"),
        of_table("160 updates, more real questions, in bfloat16", **longer),
        of_table("160 updates, free answers", reading="free", **longer),
        of_table("160 updates, every candidate new", pool="unseen", **longer),
        of_table("domains held out, seven trainings, in bfloat16", "hd.csv", split="hd"),
        of_table("domains held out, every candidate new, in bfloat16", "hd.csv", split="hd", pool="unseen"),
        of_table(f"the first 20 of 30 layers, in bfloat16{FAULT}", "scale.csv", backbone="embedded, 20 layers"),
        of_table(f"the first 10 of 30 layers, in bfloat16{FAULT}", "scale.csv", backbone="embedded, 10 layers"),
        *[
            of_table(f"validation tools, {named}, in bfloat16{FAULT}", "queries.csv", axis="tools", size=size, part="validation")
            for size, named in (("0", "after 92 training tools"), ("40", "after 40"), ("12", "after 12"))
        ],
        of_metrics("candidates of one domain", "sd.json", "sd.mta_vs_ft.scored.all"),
        of_metrics("eleven candidates", "distractors-10.json", "cd.mta_vs_ft.scored.all"),
        of_metrics("ToolAlpaca, across APIs", "toolalpaca.json", "toolalpaca-cd.mta_vs_ft.scored.all"),
        of_metrics("ToolAlpaca, within an API", "toolalpaca.json", "toolalpaca-sd.mta_vs_ft.scored.all"),
        of_metrics(f"API-Bench, across hubs, in bfloat16{FAULT}", "apibench.json", "apibench-cd.mta_vs_ft.scored.all"),
        of_metrics(f"API-Bench, within a hub, in bfloat16{FAULT}", "apibench.json", "apibench-sd.mta_vs_ft.scored.all"),
        *shared,
        of_table("siblings that differ in one constraint", "overlap.csv", overlap="siblings"),
        of_table("chains, exact order", "multi_tool.csv", variant="chains", chains="test", length="all", measure="order"),
        of_metrics("right, or rightly none of the candidates", "abstention.json", "abstention.mta_vs_ft.scored.balanced"),
        of_metrics("the same choice in every order", "rotation.json", "rotation.mta_vs_ft.scored.consistency"),
        of_metrics("after 8 inner steps on new tools", "adaptation.json", "adaptation.mta_vs_ft.scored.steps-8"),
    ]


def chart(drawn: list[Row]) -> alt.LayerChart:
    """Return the figure."""
    frame = pl.DataFrame([vars(row) for row in drawn])
    assert frame["what"].is_unique().all(), "two rows of one name would stand in one line"
    base = alt.Chart(frame).encode(alt.Y("what:N", sort=None, title=None, axis=alt.Axis(labelLimit=320)))
    shade = alt.Color("trainings:N", scale=alt.Scale(domain=[SEVERAL, ONE], range=[INK, QUIET]))
    zero = alt.Chart(pl.DataFrame({"zero": [0]})).mark_rule(color=INK, strokeWidth=1).encode(x="zero:Q")
    title = "mta − ft, points; 95 % interval"
    interval = base.mark_rule().encode(alt.X("low:Q", title=title), alt.X2("high:Q"), shade)
    shape = alt.Shape("trainings:N", scale=alt.Scale(domain=[SEVERAL, ONE], range=["diamond", "circle"]))
    point = base.mark_point().encode(alt.X("difference:Q"), shade, shape)
    return alt.layer(zero, interval, point).properties(width=420, height=alt.Step(22))


def main() -> None:
    """Write the figures."""
    for folder, drawn in ((HERE, rows()), (TURNS, rows_of_turns())):
        spec = chart(drawn).configure(**CONFIG).to_dict() | {"background": "white"}
        with atomic_path(folder / "gap.svg") as path:
            path.write_text(vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE), encoding="utf-8")


if __name__ == "__main__":
    main()
