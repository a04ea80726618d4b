"""A copy of this checkout with the tiny params, in which the commands are run as a user types them."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ONE_THREAD = "set-threads: {train: 1, evaluate: 1, evaluate_chains: 1, adapt: 1}\n"
"""For the copies' profiles: two threads of a tiny model wait for each other, on a busy machine for most of the time."""
ADAPTER = Path("results/main/ft/adapter/adapter_model.safetensors")
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
def reported() -> Callable[[Path], dict[str, Any]]:
    """Gives what a file that `snakemake --report` wrote shows, by path."""

    def read(report: Path) -> dict[str, Any]:
        _, _, text = report.read_text(encoding="utf-8").partition("var results = {")  # its libraries have `results`, too
        found: dict[str, Any] = json.JSONDecoder().raw_decode("{" + text)[0]
        return found

    return read


@pytest.fixture(scope="session")
def checked_out(shell: Shell) -> Callable[[Path], None]:
    """Makes a folder a committed copy of the checkout with the tiny params."""

    def make(folder: Path) -> None:
        folder.mkdir()
        files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True)
        for file in filter(None, files.stdout.decode().split("\0")):
            if os.path.lexists(ROOT / file):  # a link that leads nowhere is what a clone would have, too
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, folder / file, follow_symlinks=False)
        (folder / "params.yaml").write_text((ROOT / "tests/params/tiny.yaml").read_text())
        for name in ("default", "slurm", "kubernetes"):  # all, since the bytes of a result depend on the number of threads
            with (folder / f"profiles/{name}/config.yaml").open("a") as profile:
                profile.write(ONE_THREAD)
        # What runs of this checkout left beside the sources, stages of other targets included, is none of the copy's.
        for left in [folder / "dvc.lock", *folder.glob("*/**/dvc.lock"), *folder.glob("*/**/dvc.yaml")]:
            left.unlink(missing_ok=True)
        shell("git init -q && PYTHONPATH=src python -m metatoolagent.stages && git add -A && git commit -qm start", folder)

    return make


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory, checked_out: Callable[[Path], None]) -> Callable[[str], Path]:
    """Makes a committed copy of the checkout with the tiny params."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name) / "project"
        checked_out(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str, Callable[[Path], None]], Path]:
    """Builds a project once for all of pytest's workers; each gets a copy, since both engines lock the project they work in."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent

    def make(name: str, build: Callable[[Path], None]) -> Path:
        place = shared / name
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (place / "built").exists():
                shutil.rmtree(place, ignore_errors=True)  # what a worker left that failed
                place.mkdir()
                build(place / "project")
                (place / "built").touch()
        return Path(shutil.copytree(place / "project", tmp_path_factory.mktemp(name) / "project", symlinks=True))

    return make


@pytest.fixture(scope="session")
def finished(built_once: Callable[..., Path], checked_out: Callable[[Path], None], shell: Shell) -> Path:
    """A copy in which `snakemake --cores 8 eval_cd` has run, pushed to a DVC remote beside it, and was committed."""

    def build(folder: Path) -> None:
        checked_out(folder)
        first = shell("snakemake --cores 8 eval_cd", folder)
        assert "mta" in first.stdout
        shell(f"dvc remote add -q -d beside {folder.parent / 'remote'} && dvc push -q", folder)
        shell("git add -A && git commit -qm finished", folder)

    return built_once("finished", build)


@pytest.fixture(scope="session")
def with_methods(built_once: Callable[..., Path], finished: Path, shell: Shell) -> Path:
    """A copy of the finished project in which `eval_methods` has run as well; logs/eval_methods.json has what it printed."""

    def build(folder: Path) -> None:
        shutil.copytree(finished, folder, symlinks=True)
        listed = shell("snakemake -n eval_methods", folder)
        done = shell("snakemake --cores 2 eval_methods", folder)
        printed = {"listed": listed.stdout, "stdout": done.stdout, "stderr": done.stderr}
        (folder / "logs/eval_methods.json").write_text(json.dumps(printed))

    return built_once("methods", build)


@pytest.fixture(scope="session")
def trained(built_once: Callable[..., Path], checked_out: Callable[[Path], None], shell: Shell) -> Path:
    """A copy in which a training of ft has run that takes long enough to be stopped."""

    def build(folder: Path) -> None:
        checked_out(folder)
        params = folder / "params.yaml"
        params.write_text(params.read_text().replace("count: 6 ", "count: 120 "))
        shell(f"snakemake --cores all {ADAPTER}", folder)

    return built_once("trained", build)
