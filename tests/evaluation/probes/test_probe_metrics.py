"""The metrics of the probes, by hand: two gold tools, few questions."""

import json

import polars as pl
import pytest

from metatoolagent.artifacts import publishing
from metatoolagent.catalog.schemas import PROBE_PREDICTIONS
from metatoolagent.errors import UserError
from metatoolagent.evaluation.metrics import FILE
from metatoolagent.evaluation.probes import abstention, adaptation, injection, rotation
from metatoolagent.evaluation.probes.measuring import measure
from metatoolagent.tasks.abstention import NONE
from whole_predictions import whole

RESAMPLES = 100


def frame(rows, *columns):
    """Predictions: task, question, gold tool, scored and free selection, and further columns."""
    names = ["task_id", "question_id", "gold", "scored", "free", *columns]
    table = pl.DataFrame(rows, schema=names, orient="row")
    return table.with_columns(pool=pl.lit("all"), candidates=pl.lit(["a", "b"], dtype=pl.List(pl.String)))


def abstaining():
    return frame(
        [
            ("0-present", "q0", "a", "a", "a"),
            ("0-absent", "q0", NONE, "b", None),
            ("1-present", "q1", "a", NONE, "x"),
            ("1-absent", "q1", NONE, NONE, NONE),
            ("2-present", "q2", "b", "b", NONE),
            ("2-absent", "q2", NONE, "c", "c"),
            ("3-present", "q3", "b", "c", "b"),
            ("3-absent", "q3", NONE, "b", None),
        ]
    )


def test_over_and_under_calling():
    found = abstention.measure({"ft": abstaining()}, RESAMPLES, 0)
    expected = {
        "scored.over_calling": 3 / 4,
        "scored.under_calling": 1 / 4,
        "scored.accuracy": 2 / 4,
        "scored.balanced": 3 / 8,
        "free.over_calling": 1 / 4,
        "free.under_calling": 1 / 4,
        "free.accuracy": 2 / 4,
        "free.balanced": 3 / 8,
    }
    assert {name: found[f"abstention.ft.{name}.rate"] for name in expected} == expected
    assert [found[f"abstention.ft.scored.{name}.n"] for name in ("over_calling", "under_calling", "balanced")] == [4, 4, 8]
    assert found["abstention.ft.invalid"] == 0.25


def test_a_task_without_its_gold_tool_is_of_the_cluster_of_the_tool_that_is_asked_for():
    assert abstention.asked_for(abstaining()).to_list() == ["a", "a", "a", "a", "b", "b", "b", "b"]


def test_methods_are_compared_in_right_answers_to_both_sorts_of_tasks():
    perfect = abstaining().with_columns(scored=pl.col("gold"), free=pl.col("gold"))
    found = abstention.measure({"ft": abstaining(), "mta": perfect}, RESAMPLES, 0)
    assert found["abstention.mta_vs_ft.scored.balanced.difference"] == 5 / 8
    # Five tasks differ, all in one direction, but questions stand in two each: of the four signs of two tools, two go as far.
    assert found["abstention.mta_vs_ft.scored.balanced.p"] == found["abstention.mta_vs_ft.scored.balanced.p_holm"] == 0.5
    assert "abstention.mta_vs_ft.scored.balanced.mdd" not in found


def turned():
    """Question 0 has one selection, the right one; 1 one that is wrong; 2 two selections; 3 none at all as free answer."""
    return frame(
        [
            ("0-turn0", "q0", "a", "a", "a", 0),
            ("0-turn1", "q0", "a", "a", "a", 1),
            ("1-turn0", "q1", "a", "b", "b", 0),
            ("1-turn1", "q1", "a", "b", "b", 1),
            ("2-turn0", "q2", "b", "b", "b", 1),
            ("2-turn1", "q2", "b", "a", None, 0),
            ("3-turn0", "q3", "b", "b", None, 1),
            ("3-turn1", "q3", "b", "b", None, 0),
        ],
        "position",
    )


def test_consistency_over_turns_and_accuracy_by_place():
    found = rotation.measure({"ft": turned()}, RESAMPLES, 0)
    expected = {
        "scored.consistency": 3 / 4,
        "scored.always_right": 2 / 4,
        "scored.position-0": 2 / 4,
        "scored.position-1": 3 / 4,
        "free.consistency": 2 / 4,
        "free.always_right": 1 / 4,
        "free.position-0": 1 / 4,
        "free.position-1": 2 / 4,
    }
    assert {name: found[f"rotation.ft.{name}.rate"] for name in expected} == expected
    assert found["rotation.ft.scored.consistency.n"] == 4


def injected():
    rows = []
    selected = {"q0": ("a", "x", "a"), "q1": ("x", "x", "a"), "q2": ("b", "x", "x"), "q3": ("a", "b", "b")}
    for question, answers in selected.items():
        gold = "a" if question in {"q0", "q1"} else "b"
        for attack, answer in zip((None, "always", "praise"), answers, strict=True):
            free = answer if attack else None
            rows.append((f"{question}-{attack or 'clean'}", question, gold, answer, free, "x", attack))
    return frame(rows, "attacked", "attack")


def test_attack_success_and_what_the_attack_adds():
    found = injection.measure({"ft": injected()}, RESAMPLES, 0)
    expected = {
        "scored.clean.success.rate": 1 / 4,
        "scored.clean.accuracy.rate": 2 / 4,
        "scored.always.success.rate": 3 / 4,
        "scored.always.lift.difference": 2 / 4,
        "scored.always.accuracy.rate": 1 / 4,
        "scored.praise.success.rate": 1 / 4,
        "scored.praise.lift.difference": 0,  # q1 no longer, q2 newly
        "scored.all.success.rate": 4 / 8,
        "scored.all.lift.difference": 2 / 8,
        "free.clean.success.rate": 0,
        "free.always.lift.difference": 3 / 4,
    }
    assert {name: found[f"injection.ft.{name}"] for name in expected} == expected
    assert (found["injection.ft.scored.all.success.n"], found["injection.ft.scored.praise.lift.n"]) == (8, 4)


def adapted(after):
    """Four tasks, before adaptation and after one and two steps; two right before."""
    answers = {0: "aaab", 1: after, 2: "aabb"}
    rows = [
        (f"unseen-{index}", f"q{index}", gold, answer, None, steps)
        for steps, selected in answers.items()
        for index, (gold, answer) in enumerate(zip("aabb", selected, strict=True))
    ]
    return frame(rows, "steps")


def test_accuracy_after_some_steps_and_what_they_gain():
    found = adaptation.measure({"ft": adapted("abab"), "mta": adapted("aabb")}, RESAMPLES, 0)
    expected = {
        "ft.scored.steps-0.accuracy.rate": 3 / 4,
        "ft.scored.steps-1.accuracy.rate": 2 / 4,
        "ft.scored.steps-2.accuracy.rate": 1,
        "ft.scored.steps-1.gain.difference": -1 / 4,
        "ft.scored.steps-2.gain.difference": 1 / 4,
        "mta.scored.steps-1.gain.difference": 1 / 4,
        "ft.free.steps-2.accuracy.rate": 0,
        "mta_vs_ft.scored.steps-0.difference": 0,
        "mta_vs_ft.scored.steps-1.difference": 2 / 4,
        "mta_vs_ft.scored.steps-1.p": 0.5,
    }
    assert {name: found[f"adaptation.{name}"] for name in expected} == expected
    assert "adaptation.ft.scored.steps-0.gain.difference" not in found


def test_what_one_gains_more_than_the_other_is_compared_over_tools():
    found = adaptation.measure({"ft": adapted("abab"), "mta": adapted("aabb")}, RESAMPLES, 0)
    key = "adaptation.mta_vs_ft.scored.steps-1.gain"
    # mta gains the third question, of tool b, and ft loses the second, of tool a.
    assert found[f"{key}.difference"] == 2 / 4
    assert 0 <= found[f"{key}.low"] < 2 / 4 < found[f"{key}.high"] <= 1
    assert found[f"{key}.p_tools"] == found[f"{key}.p_tools_holm"] == 2 / 4  # of four signs of two tools, two go as far
    assert f"{key}.p_holm" not in found and "adaptation.mta_vs_ft.scored.steps-0.gain.difference" not in found


def test_a_question_that_one_gains_and_the_other_loses_counts_twice():
    gained = adapted("aabb").with_columns(scored=pl.when(pl.col("steps") > 0).then("gold"))
    lost = adapted("aabb").with_columns(scored=pl.when(pl.col("steps") == 0).then("gold"))
    found = adaptation.measure({"ft": lost, "mta": gained}, RESAMPLES, 0)
    key = "adaptation.mta_vs_ft.scored.steps-1.gain"
    assert [found[f"{key}.{name}"] for name in ("difference", "low", "high", "p_tools")] == [2, 2, 2, 2 / 4]


@pytest.fixture
def files(tmp_path):
    """Writes predictions and returns their file."""

    def write(method, table, probe="rotation"):
        with publishing(tmp_path / method, ["predictions.parquet"], producer="evaluate") as paths:
            whole(table, PROBE_PREDICTIONS[probe]).write_parquet(paths["predictions.parquet"])
        return tmp_path / method / "predictions.parquet"

    return write


def test_the_metrics_of_a_probe_are_published_and_other_tasks_are_not_compared(files, tmp_path):
    measure("rotation", {"base": files("base", turned()), "ft": files("ft", turned())}, RESAMPLES, 0, tmp_path / "out")
    found = json.loads((tmp_path / "out" / FILE).read_text(encoding="utf-8"))
    assert found == json.loads(json.dumps(rotation.measure({"base": turned(), "ft": turned()}, RESAMPLES, 0)))
    other = files("other", turned().with_columns(question_id=pl.col("question_id") + "x"))
    with pytest.raises(UserError, match="E-UNPAIRED"):
        measure("rotation", {"base": files("base", turned()), "ft": other}, RESAMPLES, 0, tmp_path / "out")
