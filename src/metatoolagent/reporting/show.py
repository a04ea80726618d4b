"""A task or chain in the terminal: what the model was given, and what every method answered, at each step if it has some."""

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from metatoolagent.artifacts import read_manifest, sha256, verify
from metatoolagent.errors import Exit, UserError, escaped, shown
from metatoolagent.evaluation.chains import FILE as CHAINS
from metatoolagent.evaluation.chains import READINGS, step_row
from metatoolagent.evaluation.predicting import FILE
from metatoolagent.params import MODEL_FREE, OF_METHOD

Rows = list[dict[str, Any]]
"""A method's predictions of a task: one, or one for each number of inner steps."""
TASKS = {FILE: "tasks/eval_tasks.parquet", CHAINS: "tasks/chain_tasks.parquet"}
"""The tasks that each kind of predictions answers."""
ENDS = {"turn": ", without a line for the answer", "cut": " until its budget was spent"}
"""What is told of a reasoning that did not reach the line of its answer."""
NEAR = 3
"""Task ids that are suggested for one that is not there."""
PROMPTLESS = (*MODEL_FREE, "embedding")
"""The methods that ask no model for a choice."""
TARGETS = {
    "main": "eval_cd",
    "sd": "eval_sd",
    "hd(-.+)?": "eval_hd",
    "(toolalpaca|apibench)-(cd|sd)": r"eval_\1",
    "(.+-)?chains": "multi_tool",
    "overlap-.+": "sweep_overlap",
    "probe-(abstention|adaptation)": r"eval_\1",
    "probe-(rotation|injection)": "eval_robustness",
}
"""The target of the Snakefile that evaluates a variant, by a pattern of its name."""


def show(task_id: str, folder: Path, catalog: Path, model: Path, method: str | None = None) -> None:
    """Print a task's prompt and every method's answers to it.

    Args:
        task_id: such as all-000017.
        folder: the results of a variant, such as results/main.
        catalog: the folder of the catalog that its tasks are drawn from.
        model: the folder of the backbone, whose template the prompt has.
        method: whose prompt is printed; None for that of the methods that answer at once.

    Raises:
        UserError: E-TASK for an unknown task; E-METHOD (exit code 64) for a method without a prompt or an answer; E-MISSING if
            all answers are to earlier tasks; E-CORRUPT, E-MISSING or E-STALE for inputs.
    """
    answers, earlier = of_present(task_id, folder, answered(task_id, folder))
    if method is not None:
        _require_asked(method, answers, folder)
    task, *_ = answers[method] if method else next(iter(answers.values()))
    chain = isinstance(task["gold"], list)
    asked = _prompt(step_row(task, 0, ()) if chain else task, method or "base", folder, catalog, model)
    console = Console()
    given = f"as {method} is given it" if method else "as base, ft and mta are given it"
    _head(console, f"{task_id} of {folder}, {given}{', before any call' if chain else ''}")
    # Not wrapped: where a line of the prompt ends is part of it.
    console.print(Text(printable(asked)), soft_wrap=True)
    gold, count = task["gold"], len(task["candidates"])
    told = f"{', then '.join(gold)}; {count} candidates" if chain else f"{gold}, candidate {task['position'] + 1} of {count}"
    _head(console, f"gold: {told}")
    console.print(chain_table(answers) if chain else table(answers))
    if earlier:
        told = f"left out, since they answered an earlier task of this name: {', '.join(earlier)}"
        console.print(Text(told), soft_wrap=True)
    if changed := before_the_catalog(folder, answers, catalog):
        told = f"the catalog has changed since, so they may have been given another text: {', '.join(changed)}"
        console.print(Text(told), soft_wrap=True)
    for name, rows in answers.items():
        for row in (row for row in rows if row.get("reasoning")):
            told = f"{name} reasoned{ENDS.get(str(row.get('reasoning_end')), '')}: {printable(row['reasoning'])}"
            console.print(Text(told), soft_wrap=True)


def answered(task_id: str, folder: Path) -> dict[str, Rows]:
    """Return every method's predictions of a task, in the order of tables.

    Raises:
        UserError: E-MISSING without predictions, E-TASK for an unknown task.
    """
    files = [(name, folder / name / file) for name in OF_METHOD for file in TASKS]
    frames = {name: pl.read_parquet(verify(path)) for name, path in files if path.is_file()}
    if not frames:
        raise UserError("E-MISSING", "there are no predictions", str(folder), fix=_made_by(folder), exit_code=Exit.ARTIFACT)
    found = {name: rows for name, frame in frames.items() if (rows := frame.filter(task_id=task_id).to_dicts())}
    if not found:
        known = next(iter(frames.values()))["task_id"].to_list()
        short = {_short(name): name for name in known}
        near = [short[name] for name in difflib.get_close_matches(_short(task_id), short, n=NEAR, cutoff=0)]
        raise UserError(
            "E-TASK",
            "there is no such task",
            str(folder),
            shown(task_id),
            f"name one such as {', '.join(near)}",
            exit_code=Exit.PARAMS,
        )
    return found


def of_present(task_id: str, folder: Path, answers: dict[str, Rows]) -> tuple[dict[str, Rows], list[str]]:
    """Return the answers to the task as it is drawn now, and the methods whose answer is to an earlier one of that name.

    After an edit of params.yaml a target draws the tasks anew, and methods of another target keep their predictions.

    Raises:
        UserError: E-MISSING if no answer is to the present task.
    """
    files = [folder / tasks for tasks in TASKS.values()]
    drawn = [row for path in files if path.is_file() for row in pl.read_parquet(path).filter(task_id=task_id).to_dicts()]
    # A chain's question has no id in a catalog.
    asked = [key for key in ("question_id", "question", "candidates") if drawn and key in drawn[0]]
    earlier = [name for name, rows in answers.items() if any(rows[0][key] != drawn[0][key] for key in asked)]
    present = {name: rows for name, rows in answers.items() if name not in earlier}
    if not present:
        what = "all predictions are of earlier tasks"
        raise UserError("E-MISSING", what, str(folder), fix=_made_by(folder), exit_code=Exit.ARTIFACT)
    return present, earlier


def before_the_catalog(folder: Path, methods: Iterable[str], catalog: Path) -> list[str]:
    """Return the methods that answered before the catalog got the tools and questions that it has now.

    Raises:
        UserError: E-MISSING or E-CORRUPT for a manifest of predictions.
    """
    now = {str(path): sha256(path) for path in (catalog / "tools.parquet", catalog / "questions.parquet")}
    given = {name: read_manifest(folder / name)["inputs"] for name in methods}
    return [name for name, inputs in given.items() if any(inputs.get(path, digest) != digest for path, digest in now.items())]


def _made_by(folder: Path) -> str:
    """Say which target has the predictions of a variant; of one that has them by part or not at all, which variants have some."""
    there = sorted({path.parts[-3] for file in TASKS for path in folder.parent.glob(f"*/*/{file}")})
    if parts := [name for name in there if name.startswith(f"{folder.name}-")]:
        return f"name one of {', '.join(parts)}"
    for pattern, target in TARGETS.items():
        if variant := re.fullmatch(pattern, folder.name):
            return f"run: snakemake --cores all {variant.expand(target)}"
    return f"name one of {', '.join(there)}" if there else "run: snakemake --cores all eval_cd"


def _short(task_id: str) -> str:
    """Return an id without the zeros before its number, so that all-17 is near all-000017."""
    return re.sub(r"-0+(?=\d)", "-", task_id)


def _require_asked(method: str, answers: Iterable[str], folder: Path) -> None:
    """Refuse a method that asks no model, or that did not answer.

    Raises:
        UserError: E-METHOD (exit code 64).
    """
    asked = [name for name in answers if name not in PROMPTLESS]
    if method in asked:
        return
    what = "it asks no model to choose" if method in PROMPTLESS else f"it did not answer this task of {folder}"
    fix = f"name one of {', '.join(asked)}" if asked else "leave --method out"
    raise UserError("E-METHOD", what, "option --method", shown(method), fix, exit_code=Exit.PARAMS)


def _prompt(task: dict[str, Any], method: str, folder: Path, catalog: Path, model: Path) -> str:
    """Return the text of a method's prompt; errors as `prompts.prompt`."""
    # transformers takes seconds to load, so an unknown task is told before.
    from metatoolagent.reporting.prompts import prompt

    return prompt(task, method, folder / method / FILE, catalog, model)


def table(answers: dict[str, Rows]) -> Table:
    """Return the answers: the scored choice, the free text and what became of it.

    A row for each method; for each number of inner steps of it, where it was adapted.
    """
    adapted = any("steps" in row for rows in answers.values() for row in rows)
    out = _columns("method", *(["inner steps"] if adapted else []), "scored", "log p", "free answer", "outcome")
    for method, rows in answers.items():
        for row in rows:
            chances = row["log_probabilities"]
            nats = "" if chances is None else f"{chances[row['candidates'].index(row['scored'])]:.2f}"
            steps = [str(row["steps"])] if adapted else []
            scored, outcome = marked(row["scored"], row["gold"]), row["outcome"].replace("_", " ")
            out.add_row(*(Text(printable(cell)) for cell in [method, *steps, scored, nats, row["free_text"], outcome]))
    return out


def chain_table(answers: dict[str, Rows]) -> Table:
    """Return the choices on a chain, a row for each step of each method and reading of `evaluation/chains.py`."""
    out = _columns("method", "answer", "step", "called before", "chosen", "gold")
    for method, rows in answers.items():
        for row in rows:
            for reading in READINGS:
                for step, called, chosen, gold in steps_of(row, reading):
                    cells = [method, reading, str(step + 1), ", ".join(called), chosen, gold]
                    out.add_row(*(Text(printable(cell)) for cell in cells))
    return out


def steps_of(row: dict[str, Any], reading: str) -> Iterator[tuple[int, list[str], str, str]]:
    """Yield the steps of a chain: which it is, from 0, what was called before it, what was chosen, and the gold tool."""
    before = row["gold"] if reading == "forced" else row[reading]
    for step, gold in enumerate(row["gold"][: len(row[reading]) + 1]):
        chosen = marked(row[reading][step], gold) if step < len(row[reading]) else "✗ no candidate, which ends it"
        yield step, before[:step], chosen, gold


def _columns(*headers: str) -> Table:
    """Return a table in which no name is cut: two that begin alike would read the same."""
    return Table(*(Column(header, overflow="fold") for header in headers))


def _head(console: Console, title: str) -> None:
    """Print a title and a line to the right edge; rich's own rule cuts a title that is longer than the terminal is wide."""
    console.print(Text(f"{printable(title)} ".ljust(console.width, "─")), soft_wrap=True)


def marked(chosen: str, gold: str) -> str:
    """Return a choice with a mark that says whether it is right."""
    return f"{'✓' if chosen == gold else '✗'} {chosen}"


def printable(text: str) -> str:
    """Return text in which nothing but its line breaks can move or hide what a terminal shows."""
    return escaped(text, keep="\n")
