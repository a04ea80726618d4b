"""Checkpoints: the whole state of a training run, or of an evaluation, outside of all declared outputs.

DVC removes a stage's outputs before it runs, and Snakemake those of a failed job, so state lives in `work/<run id>/`.
The run id is a hash of all that decides the result: a changed parameter, input or statement of the code never resumes a
foreign state. An edit of comments or docstrings is none, so what has ended is published again and not computed again.
A checkpoint is a folder that appears by one rename; a damaged one is put aside, not used.
"""

import ast
import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from metatoolagent.artifacts import canonical_json, flush, publishing, recorded_sha256, verify
from metatoolagent.errors import UserError, warning

KEPT = 2
"""Checkpoints of a run that are kept: the newest, and the one before in case the newest is damaged."""
TENSORS, RECORD = "state.safetensors", "state.json"
OF_TRAINING = ("meta", "models", "tasks")
"""The rooms whose code decides what a training gives."""


@dataclass(frozen=True)
class Checkpoint:
    """The state after an update; of an evaluation, after a task."""

    update: int
    tensors: dict[str, Tensor]
    record: dict[str, Any]


def run_id(parameters: Mapping[str, Any], inputs: Sequence[Path], rooms: Sequence[str] = OF_TRAINING) -> str:
    """Return a name for all that decides the result of a run: 16 hexadecimal digits.

    Args:
        parameters: method and params.
        inputs: the artifacts that are read.
        rooms: the folders of this package whose code decides it.
    """
    package = Path(__file__).parents[1]
    files = [path for room in rooms for path in package.glob(f"{room}/*.py")]
    code = {path.relative_to(package).as_posix(): statements(path) for path in files}
    facts = {
        "parameters": dict(parameters),
        # By name, not by folder: sweeps that have a run in common do it once, and find the other's last checkpoint.
        "inputs": [[path.name, recorded_sha256(path)] for path in inputs],
        "code": code,
        "versions": {name: version(name) for name in ("peft", "tokenizers", "transformers")},
        # These decide the order of sums in matrix products: with others the same inputs may round differently.
        "platform": [
            platform.machine(),
            torch.__version__,
            torch.backends.cpu.get_cpu_capability(),
            torch.get_num_threads(),
            torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        ],
    }
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:16]


def statements(path: Path) -> str:
    """Return the SHA-256 of a module's statements, 64 hexadecimal digits: its comments, docstrings and layout are left out."""
    return hashlib.sha256(ast.dump(_Silent().visit(ast.parse(path.read_bytes()))).encode()).hexdigest()


class _Silent(ast.NodeTransformer):
    """Removes strings that stand for themselves."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        """Keep any other expression."""
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Save a checkpoint in the run's folder, and remove all but the newest two."""
    final = folder / f"step-{checkpoint.update:06d}"
    temporary = folder / f".tmp.{final.name}.{os.getpid()}"
    with publishing(temporary, (TENSORS, RECORD), producer="checkpoint") as paths:
        save_file(checkpoint.tensors, paths[TENSORS])
        paths[RECORD].write_text(canonical_json({"update": checkpoint.update, **checkpoint.record}), encoding="utf-8")
    if final.exists():
        shutil.rmtree(final)
    temporary.rename(final)
    flush(folder)
    for old in _in_order(folder)[:-KEPT]:
        shutil.rmtree(old)


def newest(folder: Path) -> Checkpoint | None:
    """Return the newest undamaged checkpoint of a run, or None; damaged ones are renamed to `bad.step-N`."""
    for left in folder.glob(".tmp.*"):
        shutil.rmtree(left)
    for path in reversed(_in_order(folder)):
        try:
            record = json.loads(verify(path / RECORD).read_text(encoding="utf-8"))
            return Checkpoint(record.pop("update"), load_file(verify(path / TENSORS)), record)
        except UserError as error:
            told = ": ".join(filter(None, (path.name, error.what, error.got)))
            print(warning("W-CKPT-SKIPPED", told), file=sys.stderr)  # noqa: T201
            _put_aside(path)
    return None


def _in_order(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, the oldest first; a number of more than six digits makes a longer name."""
    return sorted(folder.glob("step-*"), key=lambda path: (len(path.name), path.name))


def _put_aside(path: Path) -> None:
    aside = path.with_name(f"bad.{path.name}")
    if aside.exists():
        shutil.rmtree(aside)
    path.rename(aside)
