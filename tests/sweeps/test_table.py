from pathlib import Path

import polars as pl
import pytest

from metatoolagent.errors import UserError
from metatoolagent.sweeps.runs import Run, from_json, to_json
from metatoolagent.sweeps.table import table

RESAMPLES = 400


def run(method, seed, *files, **labels):
    return Run(labels or {"at": 1}, method, seed, list(files))


def test_a_row_for_each_seed_and_one_for_all_of_them(predictions):
    runs = [run("ft", 0, predictions("a", "1100")), run("ft", 1, predictions("b", "1111"))]
    found = table(runs, RESAMPLES, seed=0).filter(reading="scored")
    assert found.select("at", "method", "seed", "seeds", "n", "value").rows() == [
        (1, "ft", "0", 1, 4, 0.5),
        (1, "ft", "1", 1, 4, 1.0),
        (1, "ft", "all", 2, 4, 0.75),
    ]
    assert (found["low"] <= found["value"]).all() and (found["value"] <= found["high"]).all()
    assert found["p"].null_count() == 3


def test_methods_of_a_point_are_compared_on_the_same_tasks_seed_by_seed(predictions):
    base = run("base", None, predictions("base", "0000000000"))
    trained = [run("ft", seed, predictions(f"ft{seed}", outcomes)) for seed, outcomes in ((0, "1111111100"), (1, "1111110000"))]
    found = table([base, *trained], RESAMPLES, seed=0).filter(reading="scored", method="ft", against="base")
    assert found.select("seed", "seeds", "n", "value").rows() == [("0", 1, 10, 0.8), ("1", 1, 10, 0.6), ("all", 2, 10, 0.7)]
    # The differences of five tools sum to 4, 4, 4, 2 and 0 over both seeds: of their 16 signs, two reach the sum of 14.
    assert found["p"].to_list() == [None, None, 2 / 16]
    assert found["p_holm"].to_list() == [None, None, 2 / 16]


def test_a_method_is_compared_with_itself_along_a_label_where_the_others_are_equal(predictions):
    right, half = predictions("right", "1111111111"), predictions("half", "1010101010")
    runs = [
        run(method, 0, file, training=training, evaluation=evaluation)
        for evaluation in (1, 2)
        for training, file in ((2, half), (5, right))
        for method in ("ft", "mta")
    ]
    found = table(runs, RESAMPLES, seed=0, along="training").filter(reading="scored")
    steps = found.filter(against="training 2")
    assert steps.select("training", "evaluation", "method", "value", "p").rows() == [
        (5, evaluation, method, 0.5, 2 / 32) for evaluation in (1, 2) for method in ("ft", "mta")
    ]
    # Four such differences are a family of their own, and so are those between the methods.
    assert steps["p_holm"].to_list() == [4 * 2 / 32] * 4
    between = found.filter(against="ft")
    assert between.select("training", "evaluation").rows() == [(training, i) for i in (1, 2) for training in (2, 5)]
    assert table(runs, RESAMPLES, seed=0).equals(
        table(runs, RESAMPLES, seed=0, along="training").filter(pl.col("against").is_null() | (pl.col("against") == "ft"))
    )


def test_p_values_are_adjusted_over_the_points_of_the_table(predictions):
    wrong, right = predictions("wrong", "0000000000"), [predictions(f"right{at}", "1111111111") for at in (1, 2)]
    runs = [run(method, None, file, at=at) for at in (1, 2) for method, file in (("random", wrong), ("ft", right[at - 1]))]
    found = table(runs, RESAMPLES, seed=0).filter(against="random")
    assert found["p"].to_list() == [2 / 32] * 4  # five tools that all differ, at two points, in two readings
    assert found["p_holm"].to_list() == [2 * 2 / 32] * 4
    # A third point that is the first one's runs under another label has the same test.
    again = [run(method, None, file, at=3) for method, file in (("random", wrong), ("ft", right[0]))]
    assert table([*runs, *again], RESAMPLES, seed=0).filter(against="random")["p_holm"].to_list() == [2 * 2 / 32] * 6


def test_folds_are_taken_together(predictions):
    runs = [run("ft", 0, predictions("a", "1111"), predictions("b", "00", tools="xy"))]
    found = table(runs, RESAMPLES, seed=0).filter(reading="scored")
    assert found.select("seed", "n", "value").rows() == [("all", 6, round(4 / 6, 6))]


def test_methods_with_different_tasks_are_not_compared(predictions):
    runs = [run("base", None, predictions("a", "11")), run("ft", 0, predictions("b", "1111"))]
    with pytest.raises(UserError, match="E-UNPAIRED"):
        table(runs, RESAMPLES, seed=0)


def test_a_damaged_file_is_refused(predictions):
    file = predictions("a", "11")
    with Path(file).open("ab") as damaged:
        damaged.write(b"x")
    with pytest.raises(UserError, match="E-CORRUPT"):
        table([run("ft", 0, file)], RESAMPLES, seed=0)


def test_runs_survive_their_way_through_the_command_line():
    runs = [Run({"at": 1, "kind": "x"}, "mta", None, ["results/sweep/x/a=1/mta/predictions.parquet"])]
    assert from_json(to_json(runs)) == runs
