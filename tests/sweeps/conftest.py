"""Predictions as the evaluation publishes them, written by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest

from metatoolagent.artifacts import publishing
from whole_predictions import whole

Predictions = Callable[..., str]


@pytest.fixture
def predictions(tmp_path: Path) -> Predictions:
    """Publishes the outcomes of some tasks, `1` right and `0` wrong, two tasks a gold tool, and gives the file."""

    def make(name: str, outcomes: str, *, pools: Sequence[str] = ("all",), tools: str = "abcdefghij") -> str:
        rows = [
            {
                "task_id": f"{pool}-{number:06}",
                "pool": pool,
                "question_id": f"{tools[number // 2]}-{number}",
                "gold": tools[number // 2],
                "candidates": [tools[number // 2], "other"],
                "scored": tools[number // 2] if outcome == "1" else "other",
                "free": tools[number // 2] if outcome == "1" else None,
            }
            for pool in pools
            for number, outcome in enumerate(outcomes)
        ]
        frame = pl.DataFrame(rows, schema_overrides={"free": pl.String})
        with publishing(tmp_path / name, ("predictions.parquet",), producer="evaluate") as paths:
            whole(frame).write_parquet(paths["predictions.parquet"])
        return str(tmp_path / name / "predictions.parquet")

    return make


@pytest.fixture
def rows() -> Callable[..., pl.DataFrame]:
    """Makes rows of a table of a sweep by hand: its labels, the method and the value; the interval is one tenth to each side."""

    def make(*given: dict[str, object], **common: object) -> pl.DataFrame:
        fixed = {
            "against": None,
            "pool": "all",
            "reading": "scored",
            "seed": "all",
            "seeds": 2,
            "n": 100,
            "p": None,
            "p_holm": None,
        }
        whole = [{**fixed, "method": "mta", **common, **row} for row in given]
        for row in whole:
            row |= {"low": row.get("low", row["value"] - 0.1), "high": row.get("high", row["value"] + 0.1)}
        kinds = {"against": pl.String, "p": pl.Float64, "p_holm": pl.Float64}
        return pl.DataFrame(whole, schema_overrides=kinds, infer_schema_length=None)

    return make
