"""What the page was made from: artifacts with their hashes, versions, machine."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import psutil

from metatoolagent.artifacts import MANIFEST, read_manifest

PACKAGES = (
    "metatoolagent",
    "torch",
    "transformers",
    "peft",
    "snakemake",
    "dvc",
    "polars",
    "numpy",
    "scipy",
    "altair",
    "vl-convert-python",
)


class Artifact(NamedTuple):
    """A published file: where it lies, the stage that made it, its SHA-256, and the files that it was made from."""

    path: str
    producer: str
    sha256: str
    inputs: tuple[str, ...]


def artifacts(paths: Iterable[Path]) -> list[Artifact]:
    """Return what some files were made from, through all stages, as the manifests say; sources come first."""
    found: dict[str, Artifact] = {}

    def visit(path: Path) -> None:
        if path.as_posix() in found or not (path.parent / MANIFEST).is_file():
            return
        manifest = read_manifest(path.parent)
        if path.name not in manifest["files"]:
            return
        inputs = tuple(manifest.get("inputs", {}))
        for above in inputs:
            visit(Path(above))
        found[path.as_posix()] = Artifact(path.as_posix(), manifest["producer"], manifest["files"][path.name]["sha256"], inputs)

    for path in paths:
        visit(path)
    return list(found.values())


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the results depend on most."""
    return {"Python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def commit() -> str:
    """Return the commit of the checkout, with `-dirty` where files differ from it; empty where there is none."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def machine() -> str:
    """Return the kind of machine, without its name: system, processor, cores, memory."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{platform.system()} {platform.machine()}, {processor()}, {os.cpu_count()} cores, {memory:.0f} GiB memory"


def processor(path: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's model as Linux has it, else as Python has it."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown processor"
