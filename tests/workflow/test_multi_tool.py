"""`snakemake multi_tool sweep_overlap` as a user types it, on the tiny model and the published files."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from metatoolagent.params import MAIN_JOB

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("published")]


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished project, to be changed by a test."""
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


def test_both_targets_make_table_figure_and_finding_and_are_known_to_dvc(copy, shell, reported):
    before = (copy / "dvc.yaml").read_bytes()
    shell("snakemake --cores 2 multi_tool sweep_overlap", copy)
    metrics = json.loads((copy / "results/multi_tool/metrics.json").read_text())
    for method in MAIN_JOB:
        assert metrics[f"chains.test.all.{method}.scored.order.n"] == 6
        assert metrics[f"toolalpaca-chains.test.all.{method}.scored.order.n"] == 30
    overlap = pl.read_csv(copy / "results/sweep/overlap/table.csv", schema_overrides={"overlap": pl.String})
    assert set(overlap["overlap"]) == {"0", "60", "siblings"}
    for folder in ("multi_tool", "sweep/overlap"):
        for file in ("table.csv", "figure.svg", "figure.png", "finding.md"):
            assert (copy / "results" / folder / file).stat().st_size > 0
    shell("snakemake --report report.html multi_tool sweep_overlap", copy)
    shown = reported(copy / "report.html")
    figures = {f"results/{folder}/figure.svg" for folder in ("multi_tool", "sweep/overlap")}
    assert set(shown) == figures
    for folder in ("multi_tool", "sweep/overlap"):
        assert f"results/{folder}/finding.md" in shown[f"results/{folder}/figure.svg"]["caption"]

    assert (copy / "dvc.yaml").read_bytes() == before
    assert "up to date" in shell("dvc status", copy).stdout
    assert "Nothing to be done" in shell("snakemake -n multi_tool sweep_overlap", copy).stdout


def test_own_chains_alone_take_nothing_of_a_benchmark(copy, shell):
    path = copy / "params.yaml"
    path.write_text(path.read_text().replace("benchmarks: [toolalpaca]", "benchmarks: []"))
    listed = shell("snakemake -n multi_tool", copy).stdout
    assert "rule report_chains:" in listed and "toolalpaca" not in listed


def test_an_edit_of_a_chain_makes_nothing_of_the_main_job_again(copy, shell):
    path = copy / "tests/fixtures/catalog/chains/mixed.yaml"
    path.write_text(path.read_text().replace("octopus", "squid"))
    assert "Nothing to be done" in shell("snakemake -n eval_cd", copy).stdout
