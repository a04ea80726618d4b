import json

import polars as pl
import pytest

from metatoolagent.artifacts import publishing
from metatoolagent.errors import UserError
from metatoolagent.evaluation.external import measure
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


def test_each_variant_has_the_metrics_that_its_tasks_alone_would_have(files, tmp_path):
    frames = {
        "bench-cd": {"base": predictions("abab"), "mta": predictions("aabb")},
        "bench-sd": {"base": predictions("bbbb"), "mta": predictions("aabb")},
    }
    measure(files(frames), 200, 0, tmp_path / "out")
    found = json.loads((tmp_path / "out" / FILE).read_text(encoding="utf-8"))
    expected = {}
    for variant, methods in frames.items():
        for method, frame in methods.items():
            expected |= of_method(f"{variant}.{method}", frame, 200, 0)
        expected |= comparisons(variant, methods, 200, 0)
    assert found == expected
    assert found["bench-sd.mta.scored.all.accuracy"] == 1.0


def test_methods_that_answered_other_tasks_are_not_compared(files, tmp_path):
    frames = {"bench-cd": {"base": predictions("aabb"), "mta": predictions("aabb", prefix="other")}}
    with pytest.raises(UserError, match="E-UNPAIRED"):
        measure(files(frames), 200, 0, tmp_path / "out")
