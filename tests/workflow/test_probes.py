"""The targets of the probes as a user types them, on the tiny model."""

import json
import re
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished project, to be changed by a test."""
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


def test_each_probe_is_evaluated_shown_and_known_to_dvc(copy, shell):
    before = (copy / "dvc.yaml").read_bytes()
    done = shell("snakemake --cores 2 eval_abstention eval_robustness eval_adaptation", copy)
    for probe in ("abstention", "rotation", "injection", "adaptation"):
        assert probe.capitalize() in done.stdout
        assert (copy / f"results/probes/{probe}/metrics.json").is_file()
    assert not {"train", "ingest", "materialize"} & set(re.findall(r"rule (\w+):", done.stdout + done.stderr))
    assert "Nothing to be done" in shell("snakemake -n eval_probes", copy).stdout

    metrics = {}
    for path in (copy / "results/probes").glob("*/metrics.json"):
        metrics |= json.loads(path.read_text())
    for method in ("base", "ft", "mta"):
        assert metrics[f"abstention.{method}.scored.over_calling.n"] == 12
        assert [metrics[f"rotation.{method}.scored.position-{place}.n"] for place in range(3)] == [12] * 3
        assert metrics[f"injection.{method}.scored.all.success.n"] == 8 * 12
        assert metrics[f"adaptation.{method}.scored.steps-2.accuracy.n"] == 12

    assert (copy / "dvc.yaml").read_bytes() == before
    assert "up to date" in shell("dvc status", copy).stdout
    assert "Running stage" not in shell("dvc repro probes/dvc.yaml", copy).stdout
    shown = shell("PYTHONPATH=src python -m metatoolagent results", copy).stdout
    assert all(title in shown for title in ("Abstention", "Rotation", "Injection", "Adaptation", "mta - ft"))
