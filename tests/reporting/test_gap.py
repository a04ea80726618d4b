"""The figure of differences on record reads the snapshots beside it; the numbers are those of docs/results.md."""

import importlib.util
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "docs/results"


def test_rows_are_the_recorded_differences():
    spec = importlib.util.spec_from_file_location("gap", RESULTS / "gap.py")
    gap = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gap)
    recorded = gap.rows()
    rows = {row.what: row for row in recorded}
    assert len(rows) == len(recorded)  # two rows of one name would be drawn as one
    first = rows["candidates of all domains"]
    assert [round(value, 1) for value in (first.difference, first.low, first.high)] == [-4.5, -14.5, 5.2]
    assert all(row.low <= row.difference <= row.high for row in rows.values())
    drawn = gap.chart(list(rows.values())).to_dict()
    assert len(next(iter(drawn["datasets"].values()))) in {1, len(rows)}
