"""A copy of this checkout with the tiny params, in which the commands are run as a user types them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of the commands: this Python's programs first, few threads, a git identity."""
    programs = str(Path(sys.executable).parent)
    identity = {f"GIT_{role}_{what}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    removed = ("PYTHONPATH", "DVC_STAGE", "SNAKEMAKE_PROFILE")
    kept = {key: value for key, value in os.environ.items() if key not in removed}
    return kept | identity | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}


@pytest.fixture(scope="session")
def shell(environment: dict[str, str]) -> Shell:
    """Runs a command line in a folder and gives what it printed; a failure fails the test unless it is expected."""

    def run(command: str, folder: Path, *, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, text=True, capture_output=True, check=False)
        if code is not None:
            assert done.returncode == code, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done

    return run


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory, shell: Shell) -> Callable[[str], Path]:
    """Makes a committed copy of the checkout with the tiny params."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name) / "project"
        folder.mkdir()
        files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True)
        for file in filter(None, files.stdout.decode().split("\0")):
            if (ROOT / file).is_file():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes((ROOT / file).read_bytes())
        (folder / "params.yaml").write_text((ROOT / "tests/params/tiny.yaml").read_text())
        # What runs of this checkout left beside the sources, stages of other targets included, is none of the copy's.
        for left in [folder / "dvc.lock", *folder.glob("*/**/dvc.lock"), *folder.glob("*/**/dvc.yaml")]:
            left.unlink(missing_ok=True)
        shell("git init -q && PYTHONPATH=src python -m metatoolagent.stages && git add -A && git commit -qm start", folder)
        return folder

    return make


@pytest.fixture(scope="session")
def finished(fresh: Callable[[str], Path], shell: Shell) -> Path:
    """A copy in which `snakemake --cores 8 eval_cd` has run, pushed to a DVC remote beside it, and was committed."""
    folder = fresh("finished")
    first = shell("snakemake --cores 8 eval_cd", folder)
    assert "mta" in first.stdout
    shell(f"dvc remote add -q -d beside {folder.parent / 'remote'} && dvc push -q", folder)
    shell("git add -A && git commit -qm finished", folder)
    return folder


@pytest.fixture(scope="session")
def with_methods(finished: Path, shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished project in which `eval_methods` has run as well."""
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("methods") / "project", symlinks=True))
    shell("snakemake --cores 2 eval_methods", folder)
    return folder
