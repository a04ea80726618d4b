import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from metatoolagent import params
from metatoolagent.artifacts import publishing, read_manifest
from metatoolagent.errors import UserError
from metatoolagent.evaluation.metrics import FILE, TABLE, answers, check_paired, comparisons, invalid, measure, of_method, pairs
from metatoolagent.evaluation.statistics import cluster_bootstrap
from whole_predictions import whole

GOLD = ["a", "a", "b", "b"]


def frame(scored, free, outcome, pool="all"):
    """Predictions of four tasks, two for each of two gold tools."""
    count = len(GOLD)
    return pl.DataFrame(
        {
            "task_id": [f"{pool}-{index}" for index in range(count)],
            "pool": [pool] * count,
            "question_id": [f"q-{index}" for index in range(count)],
            "gold": GOLD,
            "candidates": [["a", "b"]] * count,
            "scored": list(scored),
            "free": pl.Series(list(free), dtype=pl.String),
            "outcome": list(outcome),
        }
    )


BASE = frame("aaba", [None, "a", "a", None], ["cut", "right", "wrong", "none"])
BETTER = frame("aabb", ["a", "a", "b", None], ["right", "right", "right", "other_tool"])


def test_the_metrics_of_a_method_by_hand():
    found = of_method("cd.base", BASE, 200, 0)
    assert found["cd.base.scored.all.accuracy"] == 0.75
    assert found["cd.base.free.all.accuracy"] == 0.25
    assert found["cd.base.scored.all.n"] == 4
    assert found["cd.base.invalid"] == 0.5
    outcomes = {"right": 0.25, "wrong": 0.25, "other_tool": 0, "none": 0.25, "cut": 0.25}
    assert {name: found[f"cd.base.outcome.{name}"] for name in outcomes} == outcomes
    assert set(found) == {"cd.base.invalid", *(f"cd.base.outcome.{name}" for name in outcomes)} | {
        f"cd.base.{what}.all.{name}"
        for what, mean in (("free", "accuracy"), ("scored", "accuracy"), ("invalid", "rate"))
        for name in (mean, "low", "high", "n")
    }
    expected = cluster_bootstrap([1, 0, 0, 1], GOLD, 200, np.random.default_rng(0))
    assert [found[f"cd.base.invalid.all.{name}"] for name in ("rate", "n")] == [0.5, 4]
    assert found["cd.base.invalid.all.low"] == round(expected.low, 6)
    assert found["cd.base.invalid.all.high"] == round(expected.high, 6)
    expected = cluster_bootstrap([1, 1, 1, 0], GOLD, 200, np.random.default_rng(0))
    assert found["cd.base.scored.all.low"] == round(expected.low, 6)
    assert found["cd.base.scored.all.high"] == round(expected.high, 6)


def test_how_reasonings_ended_is_counted_in_pool_all_of_methods_that_reason():
    ends = pl.Series("reasoning_end", ["line", "cut", "cut", "turn"])
    other = frame("aaba", [None] * 4, ["cut"] * 4, pool="unseen").with_columns(pl.lit("cut").alias("reasoning_end"))
    found = of_method("cd.cot", pl.concat([BASE.with_columns(ends), other]), 100, 0)
    assert {key: value for key, value in found.items() if ".reasoning." in key} == {
        "cd.cot.reasoning.line": 0.25,
        "cd.cot.reasoning.turn": 0.25,
        "cd.cot.reasoning.cut": 0.5,
    }
    without = BASE.with_columns(pl.lit(None, pl.String).alias("reasoning_end"))
    assert of_method("cd.base", without, 100, 0) == of_method("cd.base", BASE, 100, 0)


def test_a_free_answer_without_a_name_is_wrong_and_not_left_out():
    none = frame("aabb", [None] * 4, ["none"] * 4)
    found = of_method("cd.base", none, 100, 0)
    assert (found["cd.base.free.all.accuracy"], found["cd.base.free.all.n"]) == (0.0, 4)
    assert found["cd.base.invalid"] == 1.0


def test_pools_are_measured_apart_and_invalid_is_of_pool_all():
    both = pl.concat([BASE, frame("bbaa", ["b"] * 4, ["wrong", "wrong", "right", "right"], pool="unseen")])
    found = of_method("cd.base", both, 100, 0)
    assert found["cd.base.scored.all.accuracy"] == 0.75
    assert found["cd.base.scored.unseen.accuracy"] == 0.0
    assert found["cd.base.free.unseen.accuracy"] == 0.5
    assert found["cd.base.invalid"] == found["cd.base.invalid.all.rate"] == 0.5
    assert [found[f"cd.base.invalid.unseen.{name}"] for name in ("rate", "low", "high", "n")] == [0.0, 0.0, 0.0, 4]
    assert invalid(both) == 0.5


def test_comparisons_are_paired_better_minus_worse():
    found = comparisons("cd", {"base": BASE, "mta": BETTER}, 200, 0)
    assert found["cd.mta_vs_base.scored.all.difference"] == 0.25
    assert found["cd.mta_vs_base.free.all.difference"] == 0.5
    assert found["cd.mta_vs_base.free.all.p"] == 0.5  # two pairs differ, both one way: 2 / 2^2
    assert found["cd.mta_vs_base.scored.all.p"] == 1.0
    assert found["cd.mta_vs_base.scored.all.p_holm"] == 1.0
    assert len(found) == 2 * 7


def test_the_detectable_difference_stands_beside_a_comparison_that_could_find_one():
    many = [pl.concat([frame] * 2) for frame in (frame("bbaa", [None] * 4, ["cut"] * 4), frame("aabb", GOLD, ["right"] * 4))]
    found = comparisons("cd", dict(zip(("base", "mta"), many, strict=True)), 100, 0)
    # Eight of eight differ; 0, 8 reject (2 / 2^8), and so does 1 no more (18 / 2^8 = 0.07): p = 0.8^(1/8).
    assert found["cd.mta_vs_base.scored.all.mdd"] == round(2 * 0.8 ** (1 / 8) - 1, 6)
    assert not any(key.endswith(".mdd") for key in comparisons("cd", {"base": BASE, "mta": BETTER}, 100, 0))


def test_three_methods_are_compared_in_their_order_and_adjusted_as_a_family():
    worst = frame("bbaa", [None] * 4, ["cut"] * 4)
    found = comparisons("cd", {"base": worst, "ft": BASE, "mta": BETTER}, 100, 0)
    pairs = ["ft_vs_base", "mta_vs_base", "mta_vs_ft"]
    assert sorted({key.split(".")[1] for key in found}) == pairs
    p = {pair: found[f"cd.{pair}.scored.all.p"] for pair in pairs}
    # Discordant: 3 to 0, 4 to 0, 1 to 0.
    assert p == {"ft_vs_base": 0.25, "mta_vs_base": 0.125, "mta_vs_ft": 1.0}
    adjusted = {pair: found[f"cd.{pair}.scored.all.p_holm"] for pair in pairs}
    assert adjusted == {"mta_vs_base": 0.375, "ft_vs_base": 0.5, "mta_vs_ft": 1.0}


def test_up_to_five_methods_all_pairs_are_compared_of_more_those_with_ft_or_mta():
    main = params.MAIN_JOB
    assert len(pairs(main)) == 10
    assert len(pairs(["base"])) == 0
    found = pairs(params.OF_METHOD)
    others = len(params.OF_METHOD) - 2
    assert len(found) == len(set(found)) == 2 * others + 1
    assert ("ft", "mta") in found and ("bm25", "mta") in found and ("ft", "masking") in found
    assert all({"ft", "mta"} & set(pair) for pair in found)


def test_many_methods_are_adjusted_over_the_comparisons_that_are_made():
    frames = dict.fromkeys(("random", "bm25", "base", "icl", "ft"), BASE) | {"mta": BETTER}
    found = comparisons("cd", frames, 100, 0)
    assert {key.split(".")[1] for key in found} == {f"{b}_vs_{w}" for w, b in pairs(frames)}
    assert "cd.icl_vs_bm25.free.all.p" not in found
    assert found["cd.mta_vs_ft.free.all.p"] == 0.5
    assert found["cd.mta_vs_ft.free.all.p_holm"] == 1.0


@pytest.mark.parametrize(
    "other",
    [
        BETTER.reverse(),
        BETTER.head(3),
        BETTER.with_columns(pl.lit("c").alias("gold")),
        BETTER.with_columns(pl.Series("candidates", [["b", "a"]] * 4)),
        BETTER.with_columns(pl.Series("question_id", ["q-0", "q-1", "q-2", "q-9"])),
    ],
)
def test_methods_on_different_tasks_are_not_compared(other):
    with pytest.raises(UserError) as raised:
        check_paired({"base": BASE, "mta": other})
    assert (raised.value.code, raised.value.exit_code) == ("E-UNPAIRED", 66)
    assert "mta and base" in raised.value.what
    check_paired({"base": BASE, "mta": BETTER})


def test_the_first_task_that_differs_is_named_and_the_files():
    other = BETTER.with_columns(pl.Series("gold", ["a", "a", "b", "c"]))
    files = {"base": [Path("base/1")], "mta": [Path("mta/1"), Path("mta/2")]}
    with pytest.raises(UserError, match="E-UNPAIRED") as raised:
        check_paired({"base": BASE, "mta": other}, files=files)
    assert raised.value.where == "mta/1, mta/2, base/1"
    assert raised.value.got == 'task all-3: gold "c" against "b"'
    with pytest.raises(UserError, match="E-UNPAIRED") as raised:
        check_paired({"base": BASE, "mta": BETTER.head(3)})
    assert raised.value.got == "3 tasks against 4"


def published(frame, folder):
    with publishing(folder, ["predictions.parquet"], producer="evaluate") as paths:
        whole(frame).write_parquet(paths["predictions.parquet"])
    return folder / "predictions.parquet"


def test_measure_publishes_flat_numbers_over_all_folds(tmp_path):
    second = BETTER.with_columns(pl.col("question_id") + "-of-fold-2")
    folds = {
        "base": [published(BASE, tmp_path / "base1"), published(second, tmp_path / "base2")],
        "mta": [published(BETTER, tmp_path / "mta1"), published(second, tmp_path / "mta2")],
    }
    measure("hd", folds, 100, 0, tmp_path / "out")
    found = json.loads((tmp_path / "out" / FILE).read_text(encoding="utf-8"))
    assert found["hd.base.scored.all.accuracy"] == 0.875
    assert found["hd.mta.scored.all.n"] == 8
    assert found["hd.mta_vs_base.free.all.difference"] == 0.25
    assert all(isinstance(value, (int, float)) for value in found.values())
    assert len(read_manifest(tmp_path / "out")["inputs"]) == 4
    table = pl.read_csv(tmp_path / "out" / TABLE)
    assert len(table) == 4  # two methods, two readings
    assert table.filter(method="base", pool="all", reading="scored").row(0)[:6] == ("hd", "base", "all", "scored", 8, 0.875)
    before = (tmp_path / "out" / FILE).read_bytes()
    measure("hd", folds, 100, 0, tmp_path / "out")
    assert (tmp_path / "out" / FILE).read_bytes() == before


def test_a_method_without_answers_is_told(tmp_path):
    files = {"base": [published(BASE, tmp_path / "base")], "mta": [published(BETTER.clear(), tmp_path / "mta")]}
    with pytest.raises(UserError, match="E-EMPTY") as raised:
        measure("hd", files, 100, 0, tmp_path / "out")
    assert raised.value.where == str(files["mta"][0])
    assert not (tmp_path / "out").exists()


def test_predictions_that_are_given_twice_are_no_further_evidence(tmp_path):
    base, mta = published(BASE, tmp_path / "base"), published(BETTER, tmp_path / "mta")
    copies = [published(frame, tmp_path / f"{name}-copy") for name, frame in (("base", BASE), ("mta", BETTER))]
    again = base.parent / ".." / "base" / base.name
    for files in ({"base": [base, again], "mta": [mta, copies[1]]}, {"base": [base], "mta": [base]}):
        with pytest.raises(UserError, match="E-REPEATED") as raised:
            measure("hd", files, 100, 0, tmp_path / "out")
        assert (raised.value.exit_code, raised.value.what) == (64, "a file of predictions is named more than once")
    with pytest.raises(UserError, match="E-REPEATED") as raised:
        measure("hd", {"base": [base, copies[0]], "mta": [mta, copies[1]]}, 100, 0, tmp_path / "out")
    assert (raised.value.exit_code, raised.value.got) == (64, '"all-0"')
    assert not (tmp_path / "out").exists()


def test_measure_refuses_unpaired_and_damaged_predictions(tmp_path):
    files = {"base": [published(BASE, tmp_path / "base")], "mta": [published(BETTER.reverse(), tmp_path / "mta")]}
    with pytest.raises(UserError, match="E-UNPAIRED"):
        measure("cd", files, 100, 0, tmp_path / "out")
    content = bytearray(files["base"][0].read_bytes())
    content[len(content) // 2] ^= 1
    files["base"][0].write_bytes(content)
    with pytest.raises(UserError, match="E-CORRUPT"):
        measure("cd", files, 100, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folds_with_and_without_the_end_of_reasonings_are_read_together(tmp_path):
    told = BETTER.with_columns(question_id=pl.col("question_id") + "-2", reasoning_end=pl.lit("line"))
    found = answers({"cot": [published(BASE, tmp_path / "earlier"), published(told, tmp_path / "later")]})
    assert found["cot"]["reasoning_end"].to_list() == [None] * 4 + ["line"] * 4
