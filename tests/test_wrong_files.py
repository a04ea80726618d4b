"""Files that are not what a command asks for: one error with the file, what was expected there, and what to do."""

import json

import polars as pl
import pytest

from metatoolagent.artifacts import publishing
from metatoolagent.catalog.schemas import PROBE_PREDICTIONS
from report_fixtures import COMMITTED, hostile_catalog, results  # noqa: F401
from test_cli import mta  # noqa: F401
from whole_predictions import whole

GIVEN = json.dumps({key: COMMITTED[key] for key in ("metrics", "seed")})
ROWS = {
    "main": ["all-000000"],
    "abstention": ["all-000000-present", "all-000000-absent"],
    "rotation": ["all-000000-turn0", "all-000000-turn1"],
    "injection": ["all-000000-always"],
    "adaptation": ["unseen-000000"],
}
"""The tasks of the predictions of each kind."""


@pytest.fixture
def files(tmp_path):
    """Predictions of each kind, and files that are none."""
    for kind, tasks in ROWS.items():
        frame = pl.DataFrame({"task_id": tasks}).with_columns(
            pool=pl.lit("unseen" if kind == "adaptation" else "all"),
            question_id=pl.lit("a-1"),
            candidates=pl.lit(["a", "b"]),
            gold=pl.lit("a"),
            scored=pl.lit("a"),
            free=pl.lit("a"),
            attacked=pl.lit("b"),
            attack=pl.lit("always"),
            instruction=pl.lit("!"),
            steps=0,
        )
        with publishing(tmp_path / kind, ["predictions.parquet"], producer="evaluate") as paths:
            schema = [PROBE_PREDICTIONS[kind]] if kind in PROBE_PREDICTIONS else []
            whole(frame, *schema).write_parquet(paths["predictions.parquet"])
    with publishing(tmp_path, ["metrics.json", "tools.parquet", "table.csv"], producer="test") as paths:
        paths["metrics.json"].write_text('{"cd.base.scored.all.accuracy": 0.5}', encoding="utf-8")
        paths["table.csv"].write_text("split,n\ncd,1\n", encoding="utf-8")
        pl.DataFrame({"name": ["a"], "domain": ["x"], "description": ["A."], "parameters": ["{}"]}).write_parquet(
            paths["tools.parquet"]
        )
    found = {kind: tmp_path / kind / "predictions.parquet" for kind in ROWS}
    return found | {"json": tmp_path / "metrics.json", "tools": tmp_path / "tools.parquet", "csv": tmp_path / "table.csv"}


MEASURED = [(["metrics", "cd"], "main"), (["breakdowns", "cd", "--catalog", "nosuch"], "main"), (["report-chains"], "chains")]
MEASURED += [(["metrics-external", "--catalog", "nosuch"], "main")]
MEASURED += [(["metrics-probe", probe], probe) for probe in PROBE_PREDICTIONS]

WRONG = [(command, came) for command, wanted in MEASURED for came in (*ROWS, "json", "tools", "csv") if came != wanted]


@pytest.mark.parametrize(("command", "came"), WRONG)
def test_what_is_measured_must_be_predictions_of_its_kind(mta, files, tmp_path, command, came):  # noqa: F811
    key = "v:base" if command[0] in ("metrics-external", "report-chains") else "base"
    code, out, err = mta(*command, "--prediction", f"{key}={files[came]}", "--out", tmp_path / "out", "--params", GIVEN)
    assert (code, out) == (66, "")
    assert err.startswith("error[E-SCHEMA] ") and str(files[came]) in err and "  fix: " in err
    assert "column None" not in err and "Error(" not in err
    assert not (tmp_path / "out").exists()
