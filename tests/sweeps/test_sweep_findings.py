"""What each sweep draws and says, from tables written by hand."""

import json
import math
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import vl_convert
from snakemake.shell import shell

from metatoolagent.artifacts import publishing, read_manifest
from metatoolagent.errors import UserError
from metatoolagent.reporting import cost_tables
from metatoolagent.sweeps import bound, compare, distractors, queries, scale, search, sensitivity, space, stage, table2
from metatoolagent.sweeps.runs import NAMES, Run, planned, to_json
from metatoolagent.sweeps.wording import capped

CAPS = {"meta_tasks": 20, "eval_tasks": 100}
NONE = {"meta_tasks": 0, "eval_tasks": 0}


def drawn(module, table, **counted) -> str:
    """Draw a figure with the renderer, which refuses a specification that is not Vega-Lite."""
    svg = vl_convert.vegalite_to_svg(module.figure(table, **counted).to_json())
    assert svg.startswith("<svg")
    return svg


def difference(value, low, high, p, **labels):
    return {"method": "mta", "against": "ft", "value": value, "low": low, "high": high, "p": p, "p_holm": p, **labels}


def test_distractors_saturate_where_no_more_of_them_are_resolved_to_be_better(rows):
    values = {2: 0.30, 5: 0.45, 10: 0.50, 20: 0.48}
    grid = [
        {"training": j, "evaluation": i, "method": method, "value": value + 0.1 * (i == 2)}
        for method in ("ft", "mta")
        for j, value in values.items()
        for i in (2, 20)
    ]
    # 10 is resolved to be better than 2, and nothing than 5; that 20 is worse than 10 says nothing of where the best was reached.
    steps = [
        difference(value, value - 0.04, value + 0.04, 0.01, training=more, evaluation=20, against=f"training {fewer}")
        for more, fewer, value in ((5, 2, 0.03), (10, 2, 0.2), (10, 5, 0.02), (20, 2, 0.03), (20, 5, 0.03), (20, 10, -0.2))
    ]
    table = rows(*grid, *steps)
    at_most = table.filter(evaluation=20, method="mta")
    trained, compared = at_most.filter(pl.col("against").is_null()), at_most.filter(pl.col("against").is_not_null())
    assert distractors.saturation(trained, compared) == 5
    assert distractors.saturation(trained, compared.filter(pl.col("low") < 0)) == 2
    assert distractors.saturation(trained, compared.with_columns(p_holm=0.2)) == 2
    told = distractors.finding(table, CAPS)
    assert "with 20 distractors in evaluation" in told
    assert "ft: 2 in training 30.0 % [20.0, 40.0], 5 in training 45.0 % [35.0, 55.0]" in told
    assert "; from 5 on, more are not resolved to be better on the same tasks; " in told
    assert "20 less 2: +3.0 points [-1.0, +7.0], p = 0.01 over tools" in told
    assert "20 less 10: -20.0 points [-24.0, -16.0], p = 0.01 over tools, after Holm." in told
    assert told.count("no number is resolved to be better than a lower one") == 1  # ft, of which nothing is compared here
    assert "at most 20 meta-tasks a run and 100 eval-tasks a run" in told and "2 training seeds" in told
    assert drawn(distractors, table).count('aria-roledescription="legend"') == 1  # its colours and shapes say one thing


def test_what_an_interval_resamples_is_said_by_the_number_of_seeds(rows):
    told = {seeds: capped(rows({"value": 0.5, "seeds": seeds}), NONE) for seeds in (1, 2, 5)}
    assert told[1].endswith("1 training seed; intervals (95 %) resample tools and questions, and say nothing of other trainings.")
    several = "intervals (95 %) resample seeds, tools and questions, p-values take the trainings as they are"
    assert told[2].endswith(f"2 training seeds; {several}; 2 seeds tell little of how trainings differ.")
    assert told[5].endswith(f"5 training seeds; {several}.")


def test_where_nothing_was_trained_no_training_is_counted(rows):
    untrained = rows({"method": "random", "value": 0.2}, {"method": "bm25", "value": 0.3}, seeds=1)
    told = capped(untrained, NONE)
    assert told == "100 evaluation tasks a row, nothing was trained; intervals (95 %) resample tools and questions."
    for trained in ("ft", "exact"):  # compare names mta by its hypergradient
        both = pl.concat([untrained, rows({"method": trained, "value": 0.3}, seeds=1)])
        assert "1 training seed; " in capped(both, NONE) and "say nothing of other trainings" in capped(both, NONE)


def test_table2_says_every_method_on_every_split_and_whether_mta_is_above_ft(rows):
    table = rows(
        {"method": "ft", "value": 0.5},
        {"value": 0.6},
        difference(0.1, 0.02, 0.18, 0.01),
        split="sd",
    )
    told = table2.finding(table, NONE)
    assert "sd: mta 60.0 % [50.0, 70.0], ft 50.0 % [40.0, 60.0]; mta less ft +10.0 points [+2.0, +18.0], p = 0.01 over" in told
    assert "Small form" not in told
    unresolved = table.with_columns(low=pl.when(pl.col("against").is_not_null()).then(-0.02).otherwise(pl.col("low")))
    assert "[-2.0, +18.0], p = 0.01 over tools, after Holm, not resolved" in table2.finding(unresolved, NONE)
    untold = table.with_columns(p_holm=pl.when(pl.col("against").is_not_null()).then(0.2))
    assert "[+2.0, +18.0], p = 0.2 over tools, after Holm, not resolved" in table2.finding(untold, NONE)
    drawn(table2, table)


def test_compare_says_how_far_each_hypergradient_is_from_ft_on_each_split(rows):
    of_split = [
        {"method": "ft", "value": 0.5},
        {"method": "exact", "value": 0.55},
        {"method": "exact", "value": 0.6, "seed": "0", "seeds": 1},
        {**difference(0.05, -0.1, 0.2, 0.6), "method": "exact"},
    ]
    table = rows(*({"split": "cd", **row} for row in of_split), {"split": "sd", "method": "ft", "value": 0.4})
    told = compare.finding(table, CAPS)
    assert "cd: ft 50.0 % [40.0, 60.0], exact 55.0 % [45.0, 65.0]. exact less ft +5.0 points" in told and "not resolved" in told
    assert "sd: ft 40.0 % [30.0, 50.0]." in told
    assert compare.overrides("reptile") == {"mta.hypergradient": "reptile", "mta.support_share": 0.0}
    drawn(compare, table)


def test_scale_climbs_the_ladder_in_its_order(rows):
    table = rows(
        {"backbone": "b, 10 layers", "method": "ft", "value": 0.2},
        {"backbone": "a", "method": "ft", "value": 0.4},
        {**difference(0.1, 0.05, 0.15, 0.001), "backbone": "a"},
    )
    told = scale.finding(table, NONE)
    assert "b, 10 layers: ft 20.0 % [10.0, 30.0]. a: ft 40.0 % [30.0, 50.0]; mta less ft +10.0 points" in told
    drawn(scale, table)


def test_the_bound_is_fitted_exactly_where_the_gaps_have_its_shape():
    sizes = [1, 4, 16]
    exact = bound.fit(sizes, [math.sqrt(0.04 / n) for n in sizes])
    assert (exact.complexity, exact.r_squared) == (pytest.approx(0.04, rel=1e-6), pytest.approx(1))
    # Equal gaps have no variance that could be explained.
    assert bound.fit([1, 4], [0.1, 0.1]) is None
    # Nor have those that are equal but for rounding, whose R² would be -1e+30 and -2e+11.
    assert bound.fit([1, 8, 32], [0.6 - 0.5, 0.7 - 0.6, 0.8 - 0.7]) is None
    assert bound.fit([1, 8, 32], [0.666667 - 0.333333, 0.333333, 0.333333]) is None
    # The root of C is sum(gap / sqrt(n)) / sum(1 / n) = 0.2 / 1.25 = 0.16: residuals (0.04, -0.08), squares 0.008,
    # deviations (0.1, -0.1), squares 0.02.
    rough = bound.fit([1, 4], [0.2, 0.0])
    assert (rough.complexity, rough.r_squared) == (pytest.approx(0.0256), pytest.approx(0.6))
    assert bound.fit([4], [0.2]) is None
    assert bound.fit([1, 8], [-0.1, -0.04]) is None  # new tools are answered better, so C would be 0


def test_the_gap_is_training_less_validation_accuracy(rows):
    table = rows(
        *[
            {"axis": "tools", "size": size, "part": part, "value": value}
            for size, train, validation in ((10, 0.8, 0.4), (40, 0.6, 0.4), (0, 0.5, 0.5))
            for part, value in (("train", train), ("validation", validation))
        ]
    )
    found = queries.gaps(table)
    assert found["gap"].to_list() == pytest.approx([0.4, 0.2, 0.0])
    assert found["low"].to_list() == pytest.approx([gap - math.sqrt(0.02) for gap in (0.4, 0.2, 0.0)])
    told = queries.finding(table, CAPS)
    # sqrt(1.6 / 10) = 0.4 and sqrt(1.6 / 40) = 0.2: the shape itself; all tools have no size to be fitted at.
    assert "mta, training tools: 10: +40.0 [+25.9, +54.1], 40: +20.0" in told and "all: +0.0" in told
    assert "C = 1.6 has R² = 1.00" in told
    drawn(queries, table, largest={"tools": 92})


IN_TOOLS = (("tools", 0, 0.5), ("tools", 10, 0.8), ("tools", 40, 0.6))


def test_all_tools_are_drawn_where_their_number_is_and_no_line_is_fitted_to_them(rows):
    table = rows(
        *[
            {"axis": axis, "size": size, "part": part, "value": value}
            for axis, size, train in (*IN_TOOLS, ("query_tasks", 8, 0.7), ("questions", 2, 0.9), ("questions", 0, 0.4))
            for part, value in (("train", train), ("validation", 0.4))
        ]
    )
    (data,) = queries.figure(table, largest={"tools": 92, "questions": 70}).to_dict()["datasets"].values()
    axis = {told: name for name, told in queries.AXES.items()}
    found = {(axis[row["axis"]], row["size"]): (row["gap"], row["fitted"]) for row in data}
    assert set(found) == {
        ("query_tasks", 8),
        *(("tools", size) for size in (92, 10, 40)),
        *(("questions", size) for size in (70, 2)),
    }
    assert found["tools", 92] == (pytest.approx(0.1), None)
    assert found["tools", 40] == (pytest.approx(0.2), pytest.approx(0.2))


def test_a_training_tool_is_one_with_a_question_of_its_own(tmp_path):
    questions = pl.DataFrame(
        {
            "tool": ["a", "a", "a", "a", "b", "c", "d"],
            "also": [[], [], [], ["b"], ["a"], [], []],  # all of b's have a second answer
            "part": ["train"] * 6 + ["test"],
        }
    )
    with publishing(tmp_path, [stage.QUESTIONS], producer="split") as paths:
        questions.write_parquet(paths[stage.QUESTIONS])
    assert stage.trained_on(tmp_path) == {"tools": 2, "questions": 2}


def test_with_more_query_packs_the_support_has_the_share_that_fine_tuning_gives_it(committed):
    config = committed.model_dump()
    pack = config["meta_tasks"]["tasks_per_pack"]
    config["sweeps"]["queries"] = {"query_tasks": [1, pack, 3 * pack], "tools": [0], "questions": [0]}
    runs = [run for run in planned("queries", config) if run.method == "mta" and run.labels["axis"] == "query_tasks"]
    assert {run.labels["size"] for run in runs if "mta.support_share" not in run.files[0]} == {1, pack}
    assert {run.labels["size"] for run in runs if "mta.support_share=0.25" in run.files[0]} == {3 * pack}


def test_too_few_training_tools_for_a_meta_task_are_refused_when_the_sweep_is_planned(committed):
    config = committed.model_dump()
    config["sweeps"]["queries"] |= {
        "tools": [4, 6, 0],
        "questions": [0],
    }  # with 2 distractors, three candidates for support and three for query
    with pytest.raises(UserError, match="E-PARAMS") as raised:
        planned("queries", config)
    assert (raised.value.where, raised.value.got, raised.value.exit_code) == ("key sweeps.queries.tools", "4", 64)
    assert raised.value.fix.startswith("take what is below 6 out of sweeps.queries.tools")
    config["sweeps"]["queries"]["tools"] = [6, 0]
    assert planned("queries", config)


@pytest.mark.parametrize(("abstention", "least"), [(0.0, 3), (0.1, 8)])
def test_too_few_questions_of_a_tool_for_a_pack_are_refused_when_the_sweep_is_planned(committed, abstention, least):
    config = committed.model_dump()
    config["meta_tasks"] |= {"tasks_per_pack": 8, "abstention": abstention}  # eight tasks ask for three candidates in turn
    config["sweeps"]["queries"]["questions"] = [least - 1, least, 0]
    with pytest.raises(UserError, match="E-PARAMS") as raised:
        planned("queries", config)
    assert (raised.value.where, raised.value.got) == ("key sweeps.queries.questions", str(least - 1))
    assert raised.value.fix.startswith(f"take what is below {least} out of sweeps.queries.questions")
    config["sweeps"]["queries"]["questions"] = [least, 0]
    assert planned("queries", config)


@pytest.mark.parametrize("form", cost_tables.forms(Path(__file__).parents[2]), ids=["small", "full"])
def test_the_committed_sizes_leave_support_and_query_a_tool_and_its_distractors_each(form):
    sizes = [size for size in form["sweeps"]["queries"]["tools"] if size]
    assert min(sizes) // 2 >= form["distractors"] + 1


SPACE = {"points": 8, "outer_lr": [0.001, 0.1], "rank": [2, 4, 8, 16]}


def test_points_fill_the_space_evenly_and_come_from_the_seed():
    found = space.points(SPACE, seed=3)
    assert found == space.points(SPACE, seed=3) != space.points(SPACE, seed=4)
    assert sorted(point["rank"] for point in found) == [2, 2, 4, 4, 8, 8, 16, 16]
    # One point in each eighth of the two decades; a value has two digits, so it may lie a little beside its eighth.
    eighths = sorted(math.log10(point["outer_lr"] / 0.001) * 4 for point in found)
    assert all(index - 0.1 < at < index + 1.1 for index, at in enumerate(eighths))


def test_a_change_of_rank_leaves_the_scale_of_lora(committed):
    config = committed.model_dump()
    found = space.overrides({"rank": 4, "inner_lr": 0.01, "hypergradient": "reptile"}, config)
    assert found["adapter.alpha"] / found["adapter.rank"] == config["adapter"]["alpha"] / config["adapter"]["rank"]
    assert found["mta.support_share"] == 0.0


def points(rows, **more):
    """Four points: rank makes ten points of difference, inner_lr none."""
    grid = [(2, 0.01, 0.40), (2, 0.1, 0.40), (8, 0.01, 0.50), (8, 0.1, 0.50)]
    given = [
        {"point": i, "rank": r, "inner_lr": lr, "value": v, "low": v - 0.02, "high": v + 0.02}
        for i, (r, lr, v) in enumerate(grid)
    ]
    return rows(*given, **more)


def test_main_effects_are_differences_of_halves_the_strongest_first(rows):
    rank, rate = space.effects(points(rows), ["inner_lr", "rank"])
    assert (rank.name, rank.difference, rank.low, rank.high) == ("rank", *[pytest.approx(0.1)] * 3)
    assert (rate.name, rate.difference) == ("inner_lr", pytest.approx(0))
    assert rate.low < 0 < rate.high
    assert space.effects(points(rows).with_columns(rank=pl.lit(2)), ["rank"]) == []


def test_no_half_of_a_main_effect_is_a_single_point():
    def effects(values, *levels):
        return space.effects(pl.DataFrame({"rank": levels, "value": values}), ["rank"])

    # One point of four: its interval would be [0.2, 0.2], as if nothing could vary.
    assert effects([0.4, 0.4, 0.4, 0.6], 4, 8, 8, 16) == []
    # One point of five is above the median, so that half begins at the median, as where none is above it.
    (one,), (none,) = effects([0.1, 0.2, 0.4, 0.5, 0.9], 4, 8, 16, 16, 32), effects([0.1, 0.2, 0.4, 0.5, 0.9], 4, 8, 16, 16, 16)
    assert one == none
    assert one.difference == pytest.approx(1.8 / 3 - 0.15) and one.low < one.difference < one.high


def test_a_point_has_what_its_hypergradient_leaves_open():
    config = {"adapter": {"alpha": 32, "rank": 16}}
    grid = {"points": 6, "support_share": [0.0, 0.5], "hypergradient": ["reptile", "exact"]}
    drawn = space.points(grid, 0)
    assert {0.0, 0.5} == {point["support_share"] for point in drawn if point["hypergradient"] == "exact"}
    assert {0.0} == {point["support_share"] for point in drawn if point["hypergradient"] == "reptile"}
    for point in drawn:
        assert space.overrides(point, config)["mta.support_share"] == point["support_share"]


def test_the_minimum_viable_setting_is_the_cheapest_that_is_not_below_the_best(rows):
    assert space.viable(points(rows))["point"] == 2  # rank 8: both of rank 2 end at 42 %, below 50 %
    wide = points(rows).with_columns(high=pl.col("value") + 0.1)
    assert space.viable(wide)["point"] == 0


def test_sensitivity_and_search_say_the_effects_and_the_best_setting(rows):
    table = points(rows)
    told = sensitivity.finding(table, CAPS)
    assert "rank +10.0 points [+10.0, +10.0]; inner_lr +0.0 points" in told
    assert "Best: 50.0 % [48.0, 52.0] at inner_lr 0.01, rank 8." in told
    assert "flattered by having been chosen" in told
    searched = table.with_columns(
        hypergradient=pl.Series(["exact", "first_order", "exact", "first_order"]), support_share=pl.Series([0.5, 0.5, 0.5, 0.0])
    )
    first = search.finding(searched, CAPS)
    assert "50.0 % [48.0, 52.0] at inner_lr 0.01, rank 8, hypergradient exact, support_share 0.5" in first
    assert "Mean by hypergradient: exact 45.0 % (2 points), first_order 45.0 % (2 points)" in first
    assert "Mean by support_share: 0.5 43.3 % (3 points), 0.0 50.0 % (1 points)" in first
    drawn(sensitivity, table)
    drawn(search, searched)


def test_a_cap_that_each_point_sets_itself_is_not_said_to_have_held(rows):
    kinds = {"hypergradient": pl.lit("exact"), "support_share": pl.lit(0.5)}
    drawn_meta_tasks = points(rows).with_columns(meta_tasks=pl.Series([10, 40, 10, 40]), **kinds)
    assert search.finding(drawn_meta_tasks, CAPS).endswith("Small form: at most 100 eval-tasks a run.")
    assert "Small form" not in search.finding(drawn_meta_tasks, {"meta_tasks": 20, "eval_tasks": 0})
    assert "at most 20 meta-tasks a run and 100 eval-tasks a run." in sensitivity.finding(points(rows), CAPS)


def test_the_stage_publishes_one_table_one_figure_and_one_paragraph(predictions, tmp_path):
    runs = [
        Run({"training": j, "evaluation": 1}, method, 0, [predictions(f"{method}{j}", outcomes)])
        for j in (1, 2)
        for method, outcomes in (("ft", "1100"), ("mta", "1110"))
    ]
    stage.collect("distractors", runs, NONE, 200, 0, tmp_path / "out")
    table = pl.read_csv(tmp_path / "out/table.csv")
    assert table.columns[:2] == ["training", "evaluation"] and len(table) == 2 * (2 * 3 + 2)
    assert json.loads((tmp_path / "out/figure.json").read_text())["$schema"].startswith(
        "https://vega.github.io/schema/vega-lite/"
    )
    assert (tmp_path / "out/figure.png").read_bytes().startswith(b"\x89PNG")
    assert "mta: 1 in training 75.0 %" in (tmp_path / "out/finding.md").read_text()
    before = {name: (tmp_path / "out" / name).read_bytes() for name in stage.FILES}
    stage.collect("distractors", runs, NONE, 200, 0, tmp_path / "out")
    assert before == {name: (tmp_path / "out" / name).read_bytes() for name in stage.FILES}


def test_the_stage_counts_the_training_tools_for_queries(predictions, tmp_path):
    with publishing(tmp_path / "parts", [stage.QUESTIONS], producer="split") as paths:
        questions = pl.DataFrame({"tool": list("abc"), "also": [[], [], ["a"]], "part": "train"})
        questions.write_parquet(paths[stage.QUESTIONS])
    runs = [
        Run({"axis": "tools", "size": size, "part": part}, "mta", 0, [predictions(f"{size}{part}", outcomes)])
        for size in (0, 1)
        for part, outcomes in (("train", "1110"), ("validation", "1000"))
    ]
    stage.collect("queries", runs, NONE, 200, 0, tmp_path / "out", tmp_path / "parts")
    (data,) = json.loads((tmp_path / "out/figure.json").read_text())["datasets"].values()
    assert {row["size"] for row in data} == {1, 2}
    assert set(pl.read_csv(tmp_path / "out/table.csv")["size"]) == {0, 1}
    assert (tmp_path / "parts" / stage.QUESTIONS).as_posix() in read_manifest(tmp_path / "out")["inputs"]


def test_a_plan_longer_than_an_argument_may_be_reaches_the_stage(predictions, tmp_path, monkeypatch):
    """Linux takes 128 KiB in one argument, and ten seeds of sensitivity need more: the rule's own command, in its own shell."""
    made = [
        Run({"training": 1, "evaluation": 1}, method, 0, [predictions(method, outcomes)])
        for method, outcomes in (("ft", "1100"), ("mta", "1110"))
    ]
    rule = (Path(__file__).parents[2] / "workflow/rules/sweep.smk").read_text()
    command = "".join(re.findall(r'^ +"(.*)"$', rule.partition("    shell:\n")[2], re.M))
    given = {"metrics": {"bootstrap": 200}, "seed": 0, "sweeps.caps": NONE}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    shell(
        command,
        wildcards=SimpleNamespace(sweep="distractors"),
        params=SimpleNamespace(runs=to_json(made) + " " * 2**17, given=json.dumps(given), parts=""),
        log="sweep.log",
    )
    assert "mta: 1 in training 75.0 %" in (tmp_path / "results/sweep/distractors/finding.md").read_text()


def test_every_sweep_has_its_three_functions():
    for name in NAMES:
        module = stage.module(name)
        assert all(callable(getattr(module, function)) for function in ("runs", "figure", "finding"))


def test_values_of_a_range_stay_inside():
    assert [space._value("inner_lr", [0.001, 0.1], at) for at in (0.0, 0.5, 1.0)] == [0.001, 0.01, 0.1]
    assert {space._value("rank", [2, 4], float(at)) for at in np.linspace(0, 0.999, 20)} == {2, 4}
