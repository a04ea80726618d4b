"""A job that fails leaves what was there: the earlier outputs, byte for byte, and what Snakemake and DVC know of them."""

import shutil
from pathlib import Path

import pytest

from metatoolagent.artifacts import sha256
from metatoolagent.stages import record

pytestmark = pytest.mark.slow
NOTHING = "Nothing to be done"
TOOLS = "tests/fixtures/catalog/tools/kitchen.yaml"
COMMANDS = {"snakemake": "snakemake --cores 2 eval_cd", "dvc": "dvc repro"}


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


def left(folder: Path, place: str) -> dict[str, str]:
    """Return the hash of each file of the artifacts in a place, and of the records of what they were made from."""
    roots = [folder / root for root in (place, record(place))]
    files = [path for root in roots for path in root.rglob("*") if path.is_file() and "errors" not in path.parts]
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


@pytest.mark.parametrize("engine", COMMANDS)
def test_a_typo_costs_nothing_that_was_made_before_it(copy, shell, engine):
    before = left(copy, "data/interim")
    assert len(before) >= 8
    written = (copy / TOOLS).read_text()
    (copy / TOOLS).write_text(written + '- {name: "\n')

    said = shell(COMMANDS[engine], copy, code=None)
    assert said.returncode != 0 and "error[E-PARSE]" in said.stderr + said.stdout
    assert left(copy, "data/interim") == before
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
    (copy / "src/sitecustomize.py").write_text(
        "import os\n"
        "def replace(source, target, published=os.replace):\n"
        f"    if os.path.abspath(target) == {str((copy / 'results/main/manifest.json').resolve())!r}:\n"
        "        raise OSError(5, 'the disk is gone', target)\n"
        "    published(source, target)\n"
        "os.replace = replace\n"
    )
    params = copy / "params.yaml"
    params.write_text(params.read_text().replace("bootstrap: 200", "bootstrap: 300"))
    assert shell("snakemake --cores 2 eval_cd", copy, code=None).returncode != 0
    assert not (copy / "results/main/metrics.json").exists()
    assert not (copy / "results/main/manifest.json").exists()
    (copy / "src/sitecustomize.py").unlink()
    shell("snakemake --cores 2 eval_cd", copy)
    assert "up to date" in shell("dvc status", copy).stdout
