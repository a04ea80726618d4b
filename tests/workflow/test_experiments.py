"""DVC's experiments, diffs and plots, as a user types them, on the tiny model."""

import hashlib
import json
import re
import shutil
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PATIENCE = 600
"""Seconds that the queue may take on a busy machine."""


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished project, to be changed by a test."""
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


def experiments(shell, folder):
    """Return the params and metrics of each experiment, by its name."""
    commits = json.loads(shell("dvc exp show --json", folder).stdout)
    return {
        experiment["name"]: experiment["revs"][0]["data"] for commit in commits for experiment in commit.get("experiments") or []
    }


def ended(shell, folder):
    """Wait until both experiments of the queue have ended; on its way to a worker one is neither queued nor running."""
    end = time.monotonic() + PATIENCE
    while len(re.findall("Success|Failed", shell("dvc queue status", folder).stdout)) < 2:
        assert time.monotonic() < end
        time.sleep(5)  # each look starts DVC, on the cores that the trainings use


def moments(folder, what):
    """Return when each of the queue's workers says that about its task, in the words of its log."""
    logs = sorted((folder / ".dvc/tmp/exps/celery").glob("*.out"))
    line = re.compile(rf"^\[(\S+ \S+): INFO.*run_exp\[.*\] {what}", re.MULTILINE)
    return [moment for log in logs for moment in line.findall(log.read_text(encoding="utf-8"))]


def test_a_queue_trains_side_by_side_in_copies_and_shows_each_value(copy, shell):
    before = (copy / "results/main/metrics.json").read_bytes()
    shell("dvc exp run --queue -S 'distractors=1,3'", copy)
    shell("dvc queue start -j 2", copy)
    ended(shell, copy)
    begun, done = (moments(copy, what) for what in ("received", "succeeded"))
    assert len(begun) == len(done) == 2 and max(begun) < min(done)  # side by side
    found = experiments(shell, copy)
    assert sorted(data["params"]["params.yaml"]["data"]["distractors"] for data in found.values()) == [1, 3]
    for data in found.values():
        assert "cd.mta.free.all.accuracy" in json.dumps(data["metrics"])
    for method in ("ft", "mta"):
        adapter = f"results/main/{method}/adapter/adapter_model.safetensors"
        hashes = {data["outs"][adapter]["hash"] for data in found.values()}
        assert len(hashes) == 2 and hashlib.md5((copy / adapter).read_bytes()).hexdigest() not in hashes
    assert (copy / "results/main/metrics.json").read_bytes() == before


def test_an_experiment_in_a_temporary_copy_uses_that_copys_code(copy, shell):
    before = (copy / "results/main/metrics.json").read_bytes()
    module = copy / "src/metatoolagent/evaluation/metrics.py"
    assert module.read_text().count("DIGITS = 6") == 1
    module.write_text(module.read_text().replace("DIGITS = 6", "DIGITS = 1"))
    shell("dvc exp run --temp -n rounded", copy)
    assert (copy / "results/main/metrics.json").read_bytes() == before
    shell("dvc exp apply rounded", copy)
    metrics = json.loads((copy / "results/main/metrics.json").read_text())
    assert all(round(value, 1) == value for key, value in metrics.items() if not key.rpartition(".")[2].startswith("p"))
    assert "Nothing to be done" in shell("snakemake -n eval_cd", copy).stdout


def test_diffs_and_plots_show_what_an_experiment_changed(copy, shell):
    shell("dvc exp run -S metrics.bootstrap=300 -n more", copy)
    diff = json.loads(shell("dvc metrics diff --json", copy).stdout)
    assert any(key.endswith((".low", ".high")) for key in json.dumps(diff).split('"'))
    assert "metrics.bootstrap" in shell("dvc params diff", copy).stdout
    shell("dvc plots show", copy)
    page = (copy / "dvc_plots/index.html").read_text()
    assert "training loss" in page and "train_log.csv" in page
    assert "accuracy of every method" in page and '"method": "mta"' in page and "yOffset" in page  # the template's own
