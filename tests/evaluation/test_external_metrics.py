import json

import polars as pl
import pytest

from metatoolagent.artifacts import publishing
from metatoolagent.catalog.external import toolalpaca
from metatoolagent.errors import UserError
from metatoolagent.evaluation.external import KINDS, measure
from metatoolagent.evaluation.metrics import FILE, comparisons, of_method
from whole_predictions import whole


def predictions(scored, prefix="q"):
    """Predictions of four tasks, two for each of two gold tools; the free answer is the scored one."""
    return pl.DataFrame(
        {
            "task_id": [f"all-{index}" for index in range(4)],
            "pool": ["all"] * 4,
            "question_id": [f"{prefix}-{index}" for index in range(4)],
            "gold": ["a", "a", "b", "b"],
            "candidates": [["a", "b"]] * 4,
            "scored": list(scored),
            "free": list(scored),
            "outcome": ["right" if answer == gold else "wrong" for answer, gold in zip(scored, "aabb", strict=True)],
        }
    )


@pytest.fixture
def files(tmp_path):
    """Writes predictions and returns their files by variant and method."""

    def write(frames):
        for variant, methods in frames.items():
            for method, frame in methods.items():
                with publishing(tmp_path / variant / method, ["predictions.parquet"], producer="evaluate") as paths:
                    whole(frame).write_parquet(paths["predictions.parquet"])
        return {v: {m: tmp_path / v / m / "predictions.parquet" for m in methods} for v, methods in frames.items()}

    return write


@pytest.fixture
def catalog(tmp_path):
    """Publishes the names of the tools with the file that each is from."""

    def write(**files):
        rows = [{"name": name, "published": name, "file": file, "row": "0"} for name, file in files.items()]
        with publishing(tmp_path / "catalog", ["published.parquet"], producer="ingest_external") as paths:
            pl.DataFrame(rows).write_parquet(paths["published.parquet"])
        return tmp_path / "catalog"

    return write


def test_each_variant_has_the_metrics_that_its_tasks_alone_would_have(files, catalog, tmp_path):
    frames = {
        "bench-cd": {"base": predictions("abab"), "mta": predictions("aabb")},
        "bench-sd": {"base": predictions("bbbb"), "mta": predictions("aabb")},
    }
    measure(files(frames), catalog(a="bench/hub.json", b="bench/hub.json"), 200, 0, tmp_path / "out")
    found = json.loads((tmp_path / "out" / FILE).read_text(encoding="utf-8"))
    expected = {}
    for variant, methods in frames.items():
        for method, frame in methods.items():
            expected |= of_method(f"{variant}.{method}", frame, 200, 0)
        expected |= comparisons(variant, methods, 200, 0)
    assert found == expected
    assert found["bench-sd.mta.scored.all.accuracy"] == 1.0


def test_methods_that_answered_other_tasks_are_not_compared(files, catalog, tmp_path):
    frames = {"bench-cd": {"base": predictions("aabb"), "mta": predictions("aabb", prefix="other")}}
    with pytest.raises(UserError, match="E-UNPAIRED"):
        measure(files(frames), catalog(a="f", b="f"), 200, 0, tmp_path / "out")


def test_real_and_simulated_apis_are_told_apart_beside_the_total(files, catalog, tmp_path):
    frames = {"toolalpaca-cd": {"base": predictions("abab"), "mta": predictions("aabb")}}
    kinds = {"a": "toolalpaca/eval_real.json", "b": "toolalpaca/eval_simulated.json"}
    measure(files(frames), catalog(**kinds), 200, 0, tmp_path / "out")
    found = json.loads((tmp_path / "out" / FILE).read_text(encoding="utf-8"))
    total = {}
    for method, frame in frames["toolalpaca-cd"].items():
        total |= of_method(f"toolalpaca-cd.{method}", frame, 200, 0)
        for kind, gold in (("real", "a"), ("simulated", "b")):
            alone = of_method("x", frame.filter(gold=gold), 200, 0)
            for reading, mean in (("free", "accuracy"), ("scored", "accuracy"), ("invalid", "rate")):
                for name in (mean, "low", "high", "n"):
                    key = f"toolalpaca-cd.{method}.{reading}.{kind}.{name}"
                    assert found.pop(key) == alone[f"x.{reading}.all.{name}"]
    assert found == total | comparisons("toolalpaca-cd", frames["toolalpaca-cd"], 200, 0)


def test_a_kind_that_no_task_is_of_has_no_metrics_and_a_tool_of_another_catalog_is_refused(files, catalog, tmp_path):
    frames = {"toolalpaca-sd": {"base": predictions("abab")}}
    real = "toolalpaca/eval_real.json"
    measure(files(frames), catalog(a=real, b=real), 200, 0, tmp_path / "out")
    found = json.loads((tmp_path / "out" / FILE).read_text(encoding="utf-8"))
    assert found["toolalpaca-sd.base.free.real.n"] == 4 and not any(".simulated." in key for key in found)
    with pytest.raises(UserError, match="E-STALE") as raised:
        measure(files(frames), catalog(a=real), 200, 0, tmp_path / "out")
    assert raised.value.got == '"b"'


def test_every_file_of_toolalpaca_has_its_kind():
    assert list(KINDS) == toolalpaca.FILES
