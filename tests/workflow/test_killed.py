"""SIGKILL of an engine while a rule runs; then the same command, and nothing else."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from metatoolagent.artifacts import MADE, MANIFEST, read_manifest, sha256
from metatoolagent.locks import at_work

pytestmark = pytest.mark.slow
COMMANDS = {"snakemake": "snakemake --cores 2 eval_cd", "dvc": "dvc repro"}
PATIENCE = 240
"""Seconds that a rule may take to start or to end on a busy machine."""
SHORT = {
    "ingest": "data/interim",
    "split": "data/processed/cd",
    "materialize": "results/main/meta_tasks",
    "materialize-evaluation": "results/main/tasks",
    "backbone": "models/backbone",
    "evaluate": "results/main/ft",
}
"""Stages that end too soon to be met at work by chance, and where each publishes."""
HOLD = """
import os, time

def replace(source, target, published=os.replace):
    published(source, target)
    if os.path.dirname(os.path.abspath(target)) in {places!r}:
        open(os.path.join({held!r}, str(os.getpid())), "w").close()
        time.sleep({patience})

os.replace = replace
"""
"""Read by the jobs' Python as it starts: a stage that has published the first of its files waits with the others."""


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


def made(folder):
    """Return the hash of every file that the workflow published in a folder."""
    files = [path for place in MADE for path in (folder / place).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def killed_while_publishing(command, folder, places, environment):
    """Run a command until stages have published the first of their files in some places; then all of it dies with the machine."""
    held, hold = folder.parent / "held", folder / "src/sitecustomize.py"
    held.mkdir()
    hold.write_text(HOLD.format(places=[str((folder / place).resolve()) for place in places], held=str(held), patience=PATIENCE))
    said = subprocess.DEVNULL
    with subprocess.Popen(command.split(), cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True) as run:
        wait_for(lambda: len(list(held.iterdir())) == len(places) or run.poll() is not None)
        assert run.poll() is None, f"ended before all of {', '.join(places)} were published in"
        os.killpg(run.pid, signal.SIGKILL)
    hold.unlink()
    for place in places:
        assert len([path for path in (folder / place).iterdir() if path.is_file() and not path.name.startswith(".")]) == 1


@pytest.mark.parametrize("stage", SHORT)
def test_a_stage_that_died_with_its_engine_while_it_published_is_made_again(finished, shell, environment, tmp_path, stage):
    """The files are asked for by name: no stage after this one has to run for them."""
    folder = Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
    files = [f"{SHORT[stage]}/{name}" for name in (*read_manifest(folder / SHORT[stage])["files"], MANIFEST)]
    for file in files:
        (folder / file).unlink()
    command = f"snakemake --cores 2 {' '.join(files)}"
    killed_while_publishing(command, folder, [SHORT[stage]], environment)

    again = shell(command, folder)
    assert "lock: that of a killed run was cleared" in again.stderr and "Traceback" not in again.stderr
    assert made(folder) == made(finished)
    assert "Nothing to be done" in shell("snakemake -n eval_cd", folder).stdout


def test_jobs_of_other_targets_that_died_together_are_made_again(finished, shell, environment, tmp_path):
    """Of rules sweep, adapt and evaluate_chains."""
    folder = Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
    params = folder / "params.yaml"
    small = params.read_text().replace("eval_tasks: 8}", "eval_tasks: 0}").replace("splits: [sd, cd]", "splits: [cd]")
    params.write_text(small.replace("table2: {methods: [random, base, ft, mta]", "table2: {methods: [random]"))
    files = ("sweep/table2/table.csv", "probe-adaptation/base/predictions.parquet", "chains/base/chain_predictions.parquet")
    places = [str(Path("results", file).parent) for file in files]
    command = f"snakemake --cores 3 --resources gpu=2 -- {' '.join(f'results/{file}' for file in files)}"
    shell(command, folder)
    before = made(folder)
    for place in places:
        shutil.rmtree(folder / place)
    killed_while_publishing(command, folder, places, environment)

    again = shell(command, folder)
    assert "lock: that of a killed run was cleared" in again.stderr and "Traceback" not in again.stderr
    assert made(folder) == before
    assert "Nothing to be done" in shell(command.replace(" -- ", " -n -- "), folder).stdout


def test_an_evaluation_that_died_with_dvc_while_it_published_is_made_again(finished, shell, environment, tmp_path):
    folder = Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
    params = folder / "params.yaml"
    assert params.read_text().count("max_new_tokens: 8 ") == 1
    params.write_text(params.read_text().replace("max_new_tokens: 8 ", "max_new_tokens: 9 "))
    command = "dvc repro --single-item evaluate-ft"
    killed_while_publishing(command, folder, ["results/main/ft"], environment)

    again = shell(command, folder)
    assert "Running stage 'evaluate-ft'" in again.stdout and "Traceback" not in again.stderr
    shell("mta verify results/main/ft/predictions.parquet", folder)
    assert "up to date" in shell("dvc status evaluate-ft", folder).stdout
    assert "Nothing to be done" in shell("snakemake -n results/main/ft/predictions.parquet", folder).stdout
