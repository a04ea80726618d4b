"""SIGKILL of an engine while a rule runs; then the same command, and nothing else."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from metatoolagent.locks import at_work

pytestmark = pytest.mark.slow
COMMANDS = {"snakemake": "snakemake --cores 2 eval_cd", "dvc": "dvc repro"}
PATIENCE = 240
"""Seconds that a rule may take to start or to end on a busy machine."""


def wait_for(condition):
    """Wait until a condition holds; it failing to is a failure."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)  # each look walks all processes


def runs(folder, stage):
    """Say whether a job of a stage is at work in a folder."""
    return any(f"metatoolagent {stage}" in " ".join(process.cmdline()) for process in at_work(folder))


@pytest.mark.parametrize(
    ("engine", "old", "new", "stage"),
    [
        ("snakemake", "inner_lr: 0.001", "inner_lr: 0.01", "train"),
        ("snakemake", "bootstrap: 200", "bootstrap: 300", "metrics"),
        ("dvc", "inner_lr: 0.001", "inner_lr: 0.01", "train"),
    ],
)
def test_the_same_command_finishes_after_a_kill(finished, shell, environment, tmp_path, engine, old, new, stage):
    folder = Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
    params = folder / "params.yaml"
    assert params.read_text().count(old) == 1
    params.write_text(params.read_text().replace(old, new))

    with subprocess.Popen(
        COMMANDS[engine].split(), cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        wait_for(lambda: runs(folder, stage) or run.poll() is not None)
        assert run.poll() is None, f"ended before {stage} ran"
        run.send_signal(signal.SIGKILL)

    again = shell(COMMANDS[engine], folder)
    if engine == "snakemake":  # DVC's own Snakemake gives its lock back when it ends
        assert "lock: that of a killed run was cleared" in again.stderr
    assert "Traceback" not in again.stderr
    assert "Nothing to be done" in shell("snakemake -n eval_cd", folder).stdout
    assert "up to date" in shell("dvc status", folder).stdout
    shell("mta verify results/main/metrics.json results/main/mta/predictions.parquet", folder)
