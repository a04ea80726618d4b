"""A method on chains: the selector is applied once a step, with what was called before in the prompt.

The candidates stay the same at every step. Three ways are followed at once, and they share a pass where what was called
before is the same:

- `scored`: the most probable candidate that was not called yet, after its own choices. The methods of `params.SELECTING`, which
  give no probabilities, choose among those that were not called, by the question alone.
- `free`: the greedy answer after its own answers; an answer that names no candidate ends it, and one that repeats a call is
  wrong.
- `forced`: as `scored`, but after the gold tools, whatever was chosen: what a step is worth without the errors before it.

The number of steps is given: a method does not have to say when it is done.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
from tqdm import tqdm

from metatoolagent.artifacts import KEPT, publishing
from metatoolagent.catalog import schemas
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.evaluation.answers import answers
from metatoolagent.evaluation.job import Answer, Job, Prediction, Tasks, prepare, set_by_set
from metatoolagent.params import OF_METHOD, SELECTING
from metatoolagent.tasks.prompts import with_calls
from metatoolagent.tasks.rendering import Row

FILE = "chain_predictions.parquet"
READINGS = ("scored", "free", "forced")
WITHOUT = ("icl",)
"""The methods that do not answer chains: the stage is given no training tasks to show."""
Called = tuple[str, ...]


def evaluate(job: Job) -> None:
    """Publish `chain_predictions.parquet`.

    Args:
        job: the method, and the table of chain tasks as its tasks.

    Raises:
        UserError: E-METHOD (exit code 64) for the methods of `WITHOUT`, E-CORRUPT or E-MISSING for inputs, E-CTX, I-PAUSED
            (exit code 75) when asked to stop or when Snakemake or DVC above this process is gone, E-LOCK, and those of
            the method.
    """
    if job.method in WITHOUT:
        known = ", ".join(name for name in OF_METHOD if name not in WITHOUT)
        what, where = "the method does not answer chains", str(job.tasks)
        raise UserError("E-METHOD", what, where, shown(job.method), f"name one of {known}", KEPT, exit_code=Exit.PARAMS)
    tasks = schemas.read(job.tasks, schemas.CHAIN_TASKS).to_dicts()
    with answers(job, len(tasks)) as found:
        if left := tasks[len(found.given) :]:
            answer = among_uncalled(prepare(job)) if job.method in SELECTING else prepare(job)
            for row in tqdm(left, total=len(tasks), initial=len(found.given), desc=f"{job.method} chains", unit="chain"):
                found.add([follow(answer, row)])
    rows = [row | {reading: choices[reading] for reading in READINGS} for row, choices in zip(tasks, found.given, strict=True)]
    frame = pl.DataFrame(rows, schema_overrides=dict.fromkeys(READINGS, schemas.TEXTS))
    with publishing(job.out, (FILE,), producer="evaluate_chains", inputs=job.inputs(), extra=job.record()) as paths:
        schemas.write(frame, schemas.CHAIN_PREDICTIONS, paths[FILE])


def follow(answer: Answer, task: Row) -> dict[str, list[str]]:
    """Return the choices of each of `READINGS`, one a step; fewer where a free answer named no candidate."""
    chosen: dict[str, list[str]] = {reading: [] for reading in READINGS}
    for step in range(len(task["gold"])):
        called: dict[str, Called] = {reading: tuple(chosen[reading]) for reading in READINGS if len(chosen[reading]) == step}
        called["forced"] = tuple(task["gold"][:step])
        before = list(dict.fromkeys(called.values()))
        found = dict(zip(before, answer([[step_row(task, step, names) for names in before]])[0], strict=True))
        for reading, names in called.items():
            choice = found[names].free if reading == "free" else best(found[names], task["candidates"], names)
            chosen[reading] += [choice] if choice is not None else []
    return chosen


def step_row(task: Row, step: int, called: Called) -> dict[str, Any]:
    """Return a step as a task of a single tool."""
    return {
        "task_id": f"{task['task_id']}-{step}",
        "question_id": task["task_id"],
        "question": with_calls(task["question"], called),
        "candidates": task["candidates"],
        "position": task["candidates"].index(task["gold"][step]),
        "asked": task["question"],
        "called": called,
    }


def best(prediction: Prediction, candidates: Sequence[str], called: Called) -> str:
    """Return the most probable candidate that was not called; the choice itself of a method without probabilities."""
    if prediction.log_probabilities is None:
        return prediction.scored
    left = {name: value for name, value in zip(candidates, prediction.log_probabilities, strict=True) if name not in called}
    return max(left, key=left.__getitem__)


def among_uncalled(answer: Answer) -> Answer:
    """Return a method without probabilities as one that sees the bare question, and the candidates that were not called."""

    def answer_uncalled(rows: Tasks) -> list[Prediction]:
        return [found[0] for found in answer([[_uncalled(row)] for row in rows])]

    return set_by_set(answer_uncalled)


def _uncalled(row: Row) -> Row:
    left = [name for name in row["candidates"] if name not in row["called"]]
    return {**row, "question": row["asked"], "candidates": left}
