"""The page and Snakemake's own report, and the other splits, which both then have, as a user asks for them."""

import json
import re
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
NOTHING = "Nothing to be done"


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished project, to be changed by a test."""
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


def splits(page: Path) -> list[str]:
    """The splits in the page's browser of tasks."""
    text = re.search(r'id="data-tasks">(.*?)</script>', page.read_text(encoding="utf-8"), re.S)[1]
    return re.findall(r'"(\w[\w-]*)": \{"catalog"', text)


def missing(page: Path) -> set[str]:
    """The targets that the page says it lacks."""
    told = re.search(r'id="missing">(.*?)</p>', page.read_text(encoding="utf-8"), re.S)[1]
    return set(re.findall(r"<code>(\w+)</code>", told))


def test_the_page_needs_the_main_job_alone_and_shows_what_else_is_up_to_date(copy, shell, reported):
    before = (copy / "dvc.yaml").read_bytes()
    made = shell("snakemake --cores 2 report", copy).stderr
    assert set(re.findall(r"rule (\w+):", made)) == {"breakdowns", "figures", "page", "report"}
    page = copy / "results/report/index.html"
    assert splits(page) == ["cd"]
    assert {"eval_sd", "eval_abstention", "multi_tool", "sweep_distractors"} < missing(page)
    assert (copy / "dvc.yaml").read_bytes() == before
    assert "up to date" in shell("dvc status", copy).stdout
    assert "Running stage" not in shell("dvc repro report/dvc.yaml", copy).stdout

    shell("snakemake --report report.html report", copy)
    report = (copy / "report.html").read_text(encoding="utf-8")
    shown = {path.relative_to(copy).as_posix() for path in (copy / "results/report/figures").glob("*.svg")}
    assert len(shown) == 10
    assert set(reported(copy / "report.html")) == {*shown, "results/report/index.html"}
    assert re.findall(r'<(?:script|link)[^>]+(?:src|href)="http', report) == []

    assert not (copy / "splits").exists()
    shell("snakemake --cores 2 eval_sd", copy)
    assert json.loads((copy / "results/sd/metrics.json").read_text())["sd.mta.free.all.n"] == 24
    assert "up to date" in shell("dvc status splits/sd/dvc.yaml", copy).stdout
    assert "Running stage" not in shell("dvc repro splits/sd/dvc.yaml", copy).stdout
    assert "sd" in shell("mta results", copy).stdout

    shell("snakemake --cores 2 report", copy)
    assert splits(page) == ["cd", "sd"] and "eval_sd" not in missing(page)
    assert "snakemake --cores all eval_sd report</code>" in page.read_text(encoding="utf-8")
    assert "gold: " in shell("PYTHONPATH=src python -m metatoolagent show all-000001 --variant sd", copy).stdout
    assert NOTHING in shell("snakemake -n report eval_cd", copy).stdout

    # What an edit makes stale is left out, and not trained for the page; the main job is.
    edited = (copy / "params.yaml").read_text().replace("warmup: ", "warmup: 0.2 # ")
    (copy / "params.yaml").write_text(edited)
    listed = shell("snakemake -n report", copy).stdout
    assert "results/main/mta/adapter/" in listed and "results/sd/" not in listed
