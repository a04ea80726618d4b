"""What a run hands to DVC: nothing that was edited under it, and nothing that is damaged."""

import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
NOTHING = "Nothing to be done"
PATIENCE = 240
"""Seconds that a job may take to start on a busy machine."""
HOLD = """
import os, time

def replace(source, target, published=os.replace):
    if os.path.dirname(os.path.abspath(target)) == {folder!r} and not os.path.exists({held!r}):
        open({held!r}, "w").close()
        while not os.path.exists({edited!r}):
            time.sleep(0.1)
    published(source, target)

os.replace = replace
"""
"""Read by the jobs' Python as it starts: one that is about to publish in a folder waits for an edit."""
QUESTIONS = "tests/fixtures/catalog/questions/kitchen.yaml"
OUTER_LOOP = "src/metatoolagent/meta/outer_loop.py"
STATISTICS = "src/metatoolagent/evaluation/statistics.py"


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished project, in which `metrics` has to run again."""
    folder = Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
    params = folder / "params.yaml"
    assert params.read_text().count("bootstrap: 200") == 1
    params.write_text(params.read_text().replace("bootstrap: 200", "bootstrap: 300"))
    return folder


@contextmanager
def edited_meanwhile(folder: Path, *files: str):
    """Append a comment to files while the job of `metrics` in the block is at work."""
    held, edited, hold = folder.parent / "held", folder.parent / "edited", folder / "src/sitecustomize.py"
    place = str((folder / "results/main").resolve())
    hold.write_text(HOLD.format(folder=place, held=str(held), edited=str(edited)))

    def edit(run: subprocess.Popen[str]) -> str:
        end = time.monotonic() + PATIENCE
        while not held.exists() and run.poll() is None:
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.1)
        for file in files:
            with (folder / file).open("a") as text:
                text.write("\n# edited while it ran\n")
        edited.touch()
        return "".join(run.communicate())

    yield edit
    hold.unlink()


def left_out(output: str) -> set[str]:
    return set(re.findall(r"^DVC: stage (\S+) is left out: ", output, re.M))


def started(command, folder, environment):
    pipe = subprocess.PIPE
    return subprocess.Popen(command.split(), cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def test_an_edit_while_snakemake_is_at_work_is_noticed_by_both_engines(copy, shell, environment):
    with edited_meanwhile(copy, QUESTIONS, OUTER_LOOP, STATISTICS) as edit:
        run = started("snakemake --cores 2 eval_cd", copy, environment)
        output = edit(run)
    assert run.returncode == 0, output
    assert left_out(output) == {"ingest", "train-ft", "train-mta", "metrics"}
    assert f"{STATISTICS} changed while it was made" in output and f"{QUESTIONS} changed since it was made" in output
    changed = re.findall(r"^(\S+):$", shell("dvc status", copy).stdout, re.M)
    assert {"ingest", "train-ft", "train-mta", "metrics"} <= set(changed)
    listed = shell("snakemake -n eval_cd", copy).stdout
    assert set(re.findall(r"^(?:local)?rule (ingest|train|metrics):", listed, re.M)) == {"ingest", "train", "metrics"}

    # The edit of what was at work stays: what was made from the file before it is not taken for made from it.
    shell(f"git checkout -q {QUESTIONS} {OUTER_LOOP}", copy)
    assert re.findall(r"Running stage '([^']+)'", shell("dvc repro", copy).stdout) == ["metrics"]
    assert NOTHING in shell("snakemake -n eval_cd", copy).stdout
    assert "up to date" in shell("dvc status", copy).stdout


def test_an_edit_while_dvc_is_at_work_fails_the_stage_and_the_same_command_makes_it_again(copy, shell, environment):
    with edited_meanwhile(copy, STATISTICS) as edit:
        run = started("dvc repro", copy, environment)
        output = edit(run)
    assert run.returncode != 0
    assert "error[E-CHANGED]" in output and STATISTICS in output and "Traceback" not in output
    assert re.findall(r"Running stage '([^']+)'", shell("dvc repro", copy).stdout) == ["metrics"]
    assert NOTHING in shell("snakemake -n eval_cd", copy).stdout


def test_a_damaged_artifact_is_not_handed_to_dvc(copy, shell):
    predictions = copy / "results/main/random/predictions.parquet"
    published = predictions.read_bytes()
    raw = bytearray(published)
    raw[len(raw) // 2] ^= 1
    predictions.write_bytes(bytes(raw))
    stopped = shell("snakemake --cores 2 eval_cd", copy, code=1)
    assert "E-CORRUPT" in stopped.stderr
    assert left_out(stopped.stderr) == {"evaluate-random"}
    shell("dvc checkout --force results/main/random/predictions.parquet", copy)
    assert predictions.read_bytes() == published
    predictions.unlink()
    shell("dvc repro", copy)
    assert predictions.read_bytes() == published


@pytest.mark.parametrize("content", [None, "<<<<<<< ours\nstages: {}\n=======\n"])
def test_a_run_without_a_dvc_yaml_that_can_be_read_stops_before_its_first_job(copy, shell, content):
    (copy / "dvc.yaml").unlink()
    if content:
        (copy / "dvc.yaml").write_text(content)
    stopped = shell("snakemake --cores 2 eval_cd", copy, code=66)
    assert stopped.stderr.count("error[") == 1 and "python -m metatoolagent.stages" in stopped.stderr
    assert "Traceback" not in stopped.stderr and "rule metrics" not in stopped.stderr
    shell("git checkout -q dvc.yaml && snakemake --cores 2 eval_cd", copy)
    assert "up to date" in shell("dvc status", copy).stdout
