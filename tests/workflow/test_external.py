"""`snakemake --cores 8 eval_toolalpaca` and `eval_apibench` as a user types them, on the tiny model and the published files."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("published")]


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished project, to be changed by a test."""
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


def test_toolalpaca_is_evaluated_shown_and_known_to_dvc(copy, shell):
    before = (copy / "dvc.yaml").read_bytes()
    done = shell("snakemake --cores 2 eval_toolalpaca", copy)
    assert "toolalpaca-cd" in done.stdout and "toolalpaca-sd" in done.stdout
    metrics = json.loads((copy / "results/toolalpaca/metrics.json").read_text())
    for method in ("base", "ft", "mta"):
        assert metrics[f"toolalpaca-cd.{method}.free.all.n"] == 24
        assert 0 <= metrics[f"toolalpaca-sd.{method}.scored.all.accuracy"] <= 1
    assert not any(".unseen." in key for key in metrics)
    excluded = pl.read_parquet(copy / "data/interim/toolalpaca/excluded.parquet")
    assert excluded.filter(pl.col("code") == "E-MULTI-TOOL").height == 63
    asked, unused = (pl.read_parquet(copy / f"results/toolalpaca-cd/tasks/{name}.parquet") for name in ("eval_tasks", "unused"))
    assert len(asked) + len(unused) == 146 and set(unused["reason"]) == {"beyond eval_tasks.count"}

    assert (copy / "dvc.yaml").read_bytes() == before
    assert "up to date" in shell("dvc status", copy).stdout
    assert "Running stage" not in shell("dvc repro splits/toolalpaca/dvc.yaml", copy).stdout
    assert "Nothing to be done" in shell("snakemake -n eval_toolalpaca", copy).stdout
    assert "toolalpaca-cd" in shell("PYTHONPATH=src python -m metatoolagent results", copy).stdout


def test_apibench_is_evaluated_shown_and_known_to_dvc(copy, shell):
    done = shell("snakemake --cores 2 eval_apibench", copy)
    assert "apibench-cd" in done.stdout and "apibench-sd" in done.stdout
    metrics = json.loads((copy / "results/apibench/metrics.json").read_text())
    for method in ("base", "ft", "mta"):
        assert metrics[f"apibench-cd.{method}.free.all.n"] == metrics[f"apibench-sd.{method}.scored.all.n"] == 24
    asked, unused = (pl.read_parquet(copy / f"results/apibench-sd/tasks/{name}.parquet") for name in ("eval_tasks", "unused"))
    questions = pl.read_parquet(copy / "data/interim/apibench/questions.parquet")
    assert (
        len(asked) + len(unused) == len(questions) == 1703
        and asked["question_id"].is_in(questions["question_id"].implode()).all()
    )
    tools = pl.read_parquet(copy / "data/interim/apibench/tools.parquet")
    hub_of = dict(tools.select("name", "domain").iter_rows())
    for row in asked.iter_rows(named=True):  # split sd stays within the hub of the right tool
        assert {hub_of[name] for name in row["candidates"]} == {hub_of[row["gold"]]}

    assert "up to date" in shell("dvc status", copy).stdout
    assert "Running stage" not in shell("dvc repro splits/apibench/dvc.yaml", copy).stdout
    assert "Nothing to be done" in shell("snakemake -n eval_apibench", copy).stdout
