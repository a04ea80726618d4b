"""What the page was made from: artifacts with their hashes, versions, machine."""

import platform
import shutil
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from metatoolagent.artifacts import MADE, MANIFEST, read_manifest
from metatoolagent.environment import environment

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


SOURCE = "source"
"""Stands in a stage's place for what no stage made."""


class Artifact(NamedTuple):
    """A file: where it lies, the stage that made it or `SOURCE`, its SHA-256, what it was made from and on."""

    path: str
    producer: str
    sha256: str
    inputs: tuple[str, ...]
    environment: str


def artifacts(paths: Iterable[Path]) -> list[Artifact]:
    """Return what some files were made from, through all stages, as the manifests say; what a file was made from comes before it.

    Sources have the hash that the stage recorded that read them: authored files, and published ones that it fetched.
    """
    found: dict[str, Artifact] = {}

    def visit(path: Path, recorded: str = "") -> None:
        if path.as_posix() in found:
            return
        manifest = read_manifest(path.parent) if (path.parent / MANIFEST).is_file() else {"files": {}}
        if path.name not in manifest["files"]:
            if recorded and not any(path.is_relative_to(folder) for folder in MADE):  # what is made and gone is no source
                found[path.as_posix()] = Artifact(path.as_posix(), SOURCE, recorded, (), "")
            return
        fetched = manifest.get("sources", {})
        inputs = (*manifest.get("inputs", {}), *fetched)
        for above, digest in manifest.get("inputs", {}).items():
            visit(Path(above), digest)
        for name, digest in fetched.items():
            found.setdefault(name, Artifact(name, SOURCE, digest, (), ""))
        sha256, ran = manifest["files"][path.name]["sha256"], said(manifest["environment"]) if "environment" in manifest else ""
        found[path.as_posix()] = Artifact(path.as_posix(), manifest["producer"], sha256, inputs, ran)

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


def environments(made: Iterable[Artifact]) -> dict[str, list[str]]:
    """Return on what the stages ran, and which; those whose manifest does not say, last, under an empty text."""
    found: dict[str, set[str]] = {}
    for artifact in made:
        if artifact.producer == SOURCE:
            continue
        found.setdefault(artifact.environment, set()).add(artifact.producer)
    return {ran: sorted(found[ran]) for ran in sorted(found, reverse=True)}


def said(recorded: dict[str, Any]) -> str:
    """Return the `environment` of a manifest as text."""
    versions = ", ".join(f"{name} {number}" for name, number in recorded["versions"].items())
    gpus = ", ".join(recorded["gpus"]) or "no NVIDIA GPU"
    return f"{recorded['processor']}, {recorded['cores']} cores, {gpus}; {versions}"


def machine() -> str:
    """Return the kind of machine, without its name: system, processor, cores, memory."""
    memory, here = psutil.virtual_memory().total / 2**30, environment()
    return f"{platform.system()} {platform.machine()}, {here['processor']}, {here['cores']} cores, {memory:.0f} GiB memory"
