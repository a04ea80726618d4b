"""The figures of differences on record read the snapshots beside them; the numbers are those of docs/results-turns.md."""

import importlib.util
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "docs/results"


@pytest.fixture(scope="module")
def gap():
    spec = importlib.util.spec_from_file_location("gap", RESULTS / "gap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_is_the_recorded_difference(gap):
    first = gap.rows_of_turns()[0]
    assert first.what == "candidates of all domains"
    assert [round(value, 1) for value in (first.difference, first.low, first.high)] == [-4.5, -14.5, 5.2]


@pytest.mark.parametrize("figure", ["rows", "rows_of_turns"])
def test_every_row_is_drawn(gap, figure):
    recorded = getattr(gap, figure)()
    rows = {row.what: row for row in recorded}
    assert len(rows) == len(recorded)  # two rows of one name would be drawn as one
    assert all(row.low <= row.difference <= row.high for row in rows.values())
    drawn = gap.chart(list(rows.values())).to_dict()
    assert len(next(iter(drawn["datasets"].values()))) in {1, len(rows)}
