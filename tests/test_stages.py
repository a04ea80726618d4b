import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def stages(folder, *options, package=None):
    """Run the command on what a folder holds, with its own package or that of another checkout."""
    command = [sys.executable, "-m", "metatoolagent.stages", *options]
    environment = {"PYTHONPATH": str(package or folder / "src")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path):
    """A folder with the code, the authored files and the committed params.yaml, and no dvc.yaml."""
    (tmp_path / "src").symlink_to(ROOT / "src")
    for folder in ("tools", "questions", "chains"):
        shutil.copytree(ROOT / "data" / folder, tmp_path / "data" / folder)
    for file in ("params.yaml", "Snakefile"):
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def test_a_target_that_is_not_there_is_one_error_with_the_nearest_and_writes_nothing(project):
    done = stages(project, "sweep_distractor")
    assert done.returncode == 64 and done.stderr.startswith("error[E-TARGET]")
    assert "did you mean sweep_distractors?" in done.stderr and "Traceback" not in done.stderr
    assert not list(project.rglob("dvc.yaml"))


def test_help_says_what_may_be_given_and_writes_nothing(project):
    done = stages(project, "--help")
    assert done.returncode == 0 and "TARGET" in done.stdout and "--check" in done.stdout
    assert not list(project.rglob("dvc.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("tools: data/tools ", "tools: data/tolls ", "ingest.tools"),
        ("questions: data/questions ", "questions: data/question ", "ingest.questions"),
        ("folder: data/chains", "folder: data/chain", "chains.folder"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--check"], ["multi_tool"]])
def test_a_folder_that_is_not_there_stops_with_one_error_and_writes_nothing(project, old, new, key, options):
    text = (project / "params.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    (project / "params.yaml").write_text(text.replace(old, new), encoding="utf-8")
    done = stages(project, *options)
    assert done.returncode == 64, done.stderr
    assert done.stderr.startswith("error[E-MISSING]") and f"params.yaml, key {key}" in done.stderr
    assert f"did you mean {old.split(': ')[1].strip()}?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(project.rglob("dvc.yaml"))


def test_the_checkout_of_the_folder_is_meant_and_no_other(project):
    """As in a second clone with the virtual environment of the first: what runs is the first one's package."""
    first, second = project, project / "second"
    second.mkdir()
    for name in ("params.yaml", "Snakefile"):
        shutil.copy(first / name, second / name)
    shutil.copytree(ROOT / "src", second / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for options in ([], ["--check"]):
        done = stages(second, *options, package=first / "src")
        assert done.returncode == 64 and done.stderr.startswith("error[E-CHECKOUT]"), done.stderr
        assert f"fix:   {' '.join(['PYTHONPATH=src python -m metatoolagent.stages', *options])}\n" in done.stderr
        assert not list(project.rglob("dvc.yaml"))
    # The command that the error names is of this folder: what it misses is missing here.
    done = stages(second, package="src")
    assert done.stderr.startswith("error[E-MISSING]") and "ingest.tools" in done.stderr


def test_a_folder_without_a_snakefile_is_one_error(tmp_path):
    done = stages(tmp_path, package=ROOT / "src")
    assert done.returncode == 64 and done.stderr.startswith("error[E-MISSING] no Snakefile is in this folder")
    assert "in the repository's folder" in done.stderr and "Traceback" not in done.stderr
