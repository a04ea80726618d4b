"""A method's predictions on evaluation tasks: one row a task."""

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import polars as pl
from tqdm import tqdm

from metatoolagent import columns, known
from metatoolagent.artifacts import KEPT, publishing, verify
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.evaluation.answers import Answers, answers
from metatoolagent.evaluation.job import Job, Prediction, Tasks, prepare
from metatoolagent.params import PROBED
from metatoolagent.tasks.abstention import NONE
from metatoolagent.tasks.rendering import SHARED, Row

FILE = "predictions.parquet"
SETS = 8
"""Candidate sets that a method is given together; free answers to all of their questions are generated at once."""


def evaluate(job: Job) -> None:
    """Publish `predictions.parquet`: the tasks' columns, and what the method selects by score and freely.

    With a folder of work, the same call after a kill or a pause goes on from the answers that were saved, with the same bytes.

    Raises:
        UserError: E-CORRUPT, E-MISSING, E-SCHEMA or E-STALE for inputs, E-METHOD (exit code 64) if the tasks are a
            probe's that the method is not asked, E-CTX, I-PAUSED (exit code 75) when asked to stop or when Snakemake or DVC
            above this process is gone, E-LOCK, and those of the method.
    """
    tasks = columns.read(job.tasks, "evaluation tasks", columns.EVAL_TASKS, columns.INJECTED_TASKS)
    require_probed(job.method, tasks, job.tasks)
    catalog = set(pl.read_parquet(verify(job.catalog / "tools.parquet"), columns=["name"])["name"])
    known.require(tasks["candidates"].explode().unique(maintain_order=True), {*catalog, NONE}, job.catalog)
    groups = tasks.group_by("pool", *(name for name in SHARED if name in tasks.columns), maintain_order=True)
    sets = [group.to_dicts() for _, group in groups]
    batches = [sets[start : start + SETS] for start in range(0, len(sets), SETS)]
    with answers(job, len(tasks)) as found:
        if len(found.given) < len(tasks):
            _answer(job, batches, len(tasks), found)
    predictions = [Prediction(**item) for item in found.given]
    with publishing(job.out, (FILE,), producer="evaluate", inputs=job.inputs(), extra=job.record()) as paths:
        table(list(chain(*sets)), predictions, catalog).sort("task_id").write_parquet(paths[FILE])


def _answer(job: Job, batches: Iterable[Sequence[Tasks]], total: int, found: Answers) -> None:
    """Let the method answer all tasks but those that are answered, batch by batch.

    A batch has the same sets wherever an evaluation was stopped before, so that its answers have the same bytes.
    """
    answer, reached, started, known_answers = prepare(job), 0, time.monotonic(), len(found.given)
    interval = 0.5 if sys.stderr.isatty() else 15.0
    with tqdm(total=total, initial=known_answers, desc=f"{job.method} evaluation", unit="task", mininterval=interval) as bar:
        for together in batches:
            reached += sum(map(len, together))
            if reached <= known_answers:
                continue
            found.add([asdict(prediction) for prediction in chain(*answer(together))])
            bar.set_postfix_str(f"{(reached - known_answers) / (time.monotonic() - started):.1f} tasks/s", refresh=False)
            bar.update(reached - bar.n)


def require_probed(method: str, tasks: pl.DataFrame, where: Path) -> None:
    """Refuse tasks with injected instructions or `none of these` for methods outside `params.PROBED`.

    Most others read documentation by ways of their own, without the instruction: an attack would seem to have no effect.

    Raises:
        UserError: E-METHOD (exit code 64).
    """
    if method in PROBED:
        return
    has = "injected instructions" if "instruction" in tasks.columns else f"the candidate {shown(NONE)}"
    if "instruction" in tasks.columns or tasks["candidates"].list.contains(NONE).any():
        methods = ", ".join(PROBED)
        what, fix = f"tasks with {has} are for the methods {methods} alone", f"name one of {methods}, or other tasks"
        raise UserError("E-METHOD", what, str(where), shown(method), fix, KEPT, exit_code=Exit.PARAMS)


def table(rows: Sequence[Row], predictions: list[Prediction], catalog: set[str]) -> pl.DataFrame:
    """Return the predictions as a frame: the tasks' columns, the selections and their outcome."""
    # All rows tell the types: a column may be null in many of the first ones.
    frame = pl.DataFrame([dict(row) for row in rows], infer_schema_length=None)
    return frame.with_columns(
        pl.Series("log_probabilities", [item.log_probabilities for item in predictions], dtype=pl.List(pl.Float32)),
        pl.Series("scored", [item.scored for item in predictions]),
        pl.Series("free", [item.free for item in predictions], dtype=pl.String),
        pl.Series("free_text", [item.free_text for item in predictions]),
        pl.Series("reasoning", [item.reasoning for item in predictions], dtype=pl.String),
        pl.Series("reasoning_end", [item.reasoning_end for item in predictions], dtype=pl.String),
        pl.Series("outcome", [outcome(row["gold"], item, catalog) for row, item in zip(rows, predictions, strict=True)]),
    )


def outcome(gold: str, prediction: Prediction, catalog: set[str]) -> str:
    """Return what became of a free answer: right, wrong, other_tool, cut or none.

    `wrong` names another candidate, `other_tool` a tool that is not a candidate, `cut` was still going on at the
    limit, and `none` names no tool. The last three are invalid.
    """
    if prediction.free is not None:
        return "right" if prediction.free == gold else "wrong"
    if prediction.cut:
        return "cut"
    return "other_tool" if prediction.free_text in catalog else "none"
