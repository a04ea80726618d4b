import pytest

from metatoolagent.params import MAIN_JOB
from metatoolagent.sweeps import overlap
from metatoolagent.sweeps.runs import planned

OVERLAP = {"shares": [0, 60, 60], "methods": list(MAIN_JOB)}
CONFIG = {"seed": 3, "sweeps": {"overlap": OVERLAP, "caps": {"meta_tasks": 20, "eval_tasks": 100}}}


def test_every_method_is_run_at_every_share_and_among_siblings():
    found = planned("overlap", CONFIG)
    assert [run.labels["overlap"] for run in found] == [level for level in ("0", "60", "siblings") for _ in MAIN_JOB]
    assert found[-1].files == ["results/overlap-siblings/mta/predictions.parquet"]
    assert {run.method: run.seed for run in found} == {"random": None, "bm25": None, "base": None, "ft": 3, "mta": 3}


@pytest.fixture
def table(rows):
    values = {"0": 0.6, "60": 0.45, "90": 0.25, "siblings": 0.2}
    return rows(*({"overlap": level, "value": value} for level, value in values.items()), seeds=1, n=300)


def test_the_finding_tells_the_change_and_the_siblings(table):
    told = overlap.finding(table, CONFIG["sweeps"]["caps"])
    assert "rise from 0 to 90 %" in told
    assert "mta: 60.0 % [50.0, 70.0] to 25.0 % [15.0, 35.0] (-35.0 points), siblings 20.0 % [10.0, 30.0]" in told
    assert "Small form" not in told


def test_the_figure_has_a_line_without_the_siblings(table):
    drawn = overlap.figure(table).to_dict()
    lines = [layer for layer in drawn["layer"] if layer["mark"]["type"] == "line"]
    assert "siblings" in lines[0]["transform"][0]["filter"]
