"""A job that fails leaves what was there: the earlier outputs, byte for byte, and what Snakemake and DVC know of them."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from metatoolagent import failed
from metatoolagent.locks import GUARD, LOCKS, guarded
from metatoolagent.stages import record
from what_is_left import left

pytestmark = pytest.mark.slow
NOTHING = "Nothing to be done"
TOOLS = "tests/fixtures/catalog/tools/kitchen.yaml"
COMMANDS = {"snakemake": "snakemake --cores 2 eval_cd", "dvc": "dvc repro", "dvc elsewhere": "cd docs && dvc repro ../dvc.yaml"}
ON_MANIFEST = """
import os, signal

def replace(source, target, published=os.replace):
    if os.path.abspath(target) == {target!r}:
        {happens}
    published(source, target)

os.replace = replace
"""
"""Read by the jobs' Python as it starts: what happens where the last of an artifact's files would be published, or the first."""
FAILS, DIES = "raise OSError(5, 'the disk is gone', target)", "os.killpg(0, signal.SIGKILL)"


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


def times(folder: Path) -> dict[Path, int]:
    """Return when each file of a folder was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def more_samples(folder: Path) -> None:
    """Edit what the metrics of the main job are computed with."""
    params = folder / "params.yaml"
    assert params.read_text().count("bootstrap: 200") == 1
    params.write_text(params.read_text().replace("bootstrap: 200", "bootstrap: 300"))


def when_published(folder: Path, file: str, happens: str) -> Path:
    """Let something happen to the job that publishes a file, just before it does; return what has to be deleted again."""
    hook = folder / "src/sitecustomize.py"
    hook.write_text(ON_MANIFEST.format(target=str((folder / file).resolve()), happens=happens))
    return hook


@pytest.mark.parametrize("engine", COMMANDS)
def test_a_typo_costs_nothing_that_was_made_before_it(copy, shell, engine):
    before = left(copy, "data/interim")
    assert len(before) >= 8
    records = times(copy / record("data/interim"))
    written = (copy / TOOLS).read_text()
    (copy / TOOLS).write_text(written + '- {name: "\n')

    said = shell(COMMANDS[engine], copy, code=None)
    assert said.returncode != 0 and "error[E-PARSE]" in said.stderr + said.stdout
    assert left(copy, "data/interim") == before
    if engine == "snakemake":  # never written anew: killed meanwhile, it would leave those of the failed job
        assert times(copy / record("data/interim")) == records
    # What is there is known to be of the catalog as it was.
    assert "ingest" in shell("snakemake -n eval_cd", copy).stdout

    (copy / TOOLS).write_text(written)
    assert NOTHING in shell("snakemake -n eval_cd", copy).stdout
    assert "up to date" in shell("dvc status", copy).stdout


def test_a_wrong_param_costs_nothing_in_a_stage_of_dvc(copy, shell):
    before = left(copy, "results/main")
    params = copy / "params.yaml"
    written = params.read_text()
    assert written.count("distractors: 2 ") == 1
    params.write_text(written.replace("distractors: 2 ", "distractors: ten "))
    said = shell("dvc repro", copy, code=None)
    assert said.returncode != 0 and "error[E-PARAMS]" in said.stderr + said.stdout
    assert left(copy, "results/main") == before
    params.write_text(written)
    assert NOTHING in shell("snakemake -n eval_cd", copy).stdout
    assert "up to date" in shell("dvc status", copy).stdout


def test_what_a_failed_job_left_half_made_is_removed(copy, shell):
    """An artifact whose files do not belong together is none."""
    hook = when_published(copy, "results/main/manifest.json", FAILS)
    more_samples(copy)
    assert shell("snakemake --cores 2 eval_cd", copy, code=None).returncode != 0
    assert not (copy / "results/main/metrics.json").exists()
    assert not (copy / "results/main/manifest.json").exists()
    hook.unlink()
    shell("snakemake --cores 2 eval_cd", copy)
    assert "up to date" in shell("dvc status", copy).stdout


def test_half_made_in_a_stage_of_dvc_is_made_up_for_by_what_dvc_keeps_and_its_records(copy, shell):
    before = left(copy, "results/main")
    hook = when_published(copy, "results/main/manifest.json", FAILS)
    more_samples(copy)
    assert shell("dvc repro", copy, code=None).returncode != 0
    hook.unlink()
    assert left(copy, "results/main") == before
    assert "metrics" in shell("snakemake -n eval_cd", copy).stdout


def test_what_a_kill_left_half_made_is_still_known_to_be_after_a_failure(copy, shell):
    before = left(copy, "results/main")
    params = (copy / "params.yaml").read_text()
    more_samples(copy)
    when_published(copy, "results/main/manifest.json", DIES)
    assert shell("setsid --wait snakemake --cores 2 eval_cd", copy, code=None).returncode != 0
    assert left(copy, "results/main") != before

    hook = when_published(copy, "results/main/metrics.json", FAILS)
    assert "the disk is gone" in shell("snakemake --cores 2 eval_cd", copy, code=None).stderr
    hook.unlink()
    (copy / "params.yaml").write_text(params)
    shell("snakemake --cores 2 eval_cd", copy)
    after = left(copy, "results/main")
    assert {file: after[file] for file in before if not file.startswith(".snakemake")} == {
        file: digest for file, digest in before.items() if not file.startswith(".snakemake")
    }


def test_a_stage_of_dvc_that_finds_another_run_at_work_costs_nothing(copy, shell):
    before = left(copy, "results/main")
    more_samples(copy)
    (copy / LOCKS).mkdir(exist_ok=True)
    (copy / LOCKS / "0.output.lock").write_text("results/main/metrics.json\n")
    said = shell("dvc repro", copy, code=None)
    assert said.returncode != 0 and "cannot be locked" in said.stderr + said.stdout
    assert left(copy, "results/main") == before


def test_a_run_gives_back_its_own_lock_alone(copy, shell):
    more_samples(copy)
    beside = copy / LOCKS / "7.output.lock"
    beside.parent.mkdir(exist_ok=True)
    beside.write_text("results/sd/metrics.json\n")
    shell("snakemake --cores 2 eval_cd", copy)
    assert list((copy / LOCKS).iterdir()) == [beside]
    shell("snakemake --unlock", copy)
    assert not beside.exists()


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="nothing here tells who waits for a lock")
def test_of_two_runs_that_begin_at_once_one_works(copy, shell, environment):
    more_samples(copy)
    command = ["snakemake", "--cores", "1", "eval_cd"]
    with guarded(copy):
        runs = [
            subprocess.Popen(command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        guard = f":{(copy / GUARD).stat().st_ino} "
        end = time.monotonic() + 120
        while sum(guard in line and "->" in line for line in Path("/proc/locks").read_text().splitlines()) < 2:
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.1)
    said = [run.communicate()[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 1]
    assert sum("cannot be locked" in text for text in said) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"endtime": "soon"}', '{"endtime": null}'])
def test_a_record_that_tells_no_time_leaves_a_file_as_it_is(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    made, told = Path("made"), Path(record("made"))
    told.parent.mkdir(parents=True)
    made.write_text("")
    told.write_text(text)
    before = made.stat().st_mtime_ns
    failed._age(made)
    assert made.stat().st_mtime_ns == before
    told.write_text('{"endtime": 7.0}')
    failed._age(made)
    assert made.stat().st_mtime == 7
