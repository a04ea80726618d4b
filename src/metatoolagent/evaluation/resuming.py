"""An evaluation by a model goes on where it was stopped, and is made once however many folders it is published in.

Its answers are kept as a training's checkpoints are: outside of all declared outputs, under a name that changes with all that
decides them. So the second of two sweeps that have an evaluation in common takes the answers of the first.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metatoolagent.errors import Exit, UserError
from metatoolagent.evaluation.job import Job, Prediction
from metatoolagent.meta import checkpoints
from metatoolagent.meta.checkpoints import Checkpoint
from metatoolagent.meta.supervision import Supervisor, locked
from metatoolagent.models.backbone import FILES

INTERVAL = 60.0
"""Seconds after which the answers are saved; the last ones are in any case."""
ROOMS = (*checkpoints.OF_TRAINING, "evaluation", "evaluation/methods")
"""Whose code decides the answers."""


class Answers:
    """The predictions of an evaluation, in the order of its tasks, as far as they are known.

    Attributes:
        predictions: of the first tasks, those that were kept and those that were added.
    """

    def __init__(self, folder: Path, tasks: int, supervisor: Supervisor) -> None:
        """Take what was kept.

        Args:
            folder: of the evaluation in the folder of work; it exists.
            tasks: number of tasks.
            supervisor: of the lock on the folder.
        """
        self._folder, self._tasks, self._supervisor = folder, tasks, supervisor
        newest = checkpoints.newest(folder)
        self.predictions = [Prediction(**item) for item in newest.record["predictions"]] if newest else []
        self._saved = time.monotonic()

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Add the predictions of the next tasks, and save all of them if it is time to.

        Raises:
            UserError: I-PAUSED (exit code 75) when asked to stop or when the orchestrator is gone; all are saved then.
        """
        self.predictions += predictions
        self._supervisor.give_sign()
        is_last = len(self.predictions) == self._tasks
        reason = "" if is_last else self._supervisor.reason_to_pause()
        if is_last or reason or time.monotonic() - self._saved > INTERVAL:
            self._save()
        if reason:
            what = f"{reason}: paused after task {len(self.predictions)} of {self._tasks}"
            raise UserError("I-PAUSED", what, str(self._folder), fix="run the same command to go on", exit_code=Exit.RETRY)

    def _save(self) -> None:
        record = {"predictions": [asdict(prediction) for prediction in self.predictions]}
        checkpoints.save(self._folder, Checkpoint(len(self.predictions), {}, record))
        self._saved = time.monotonic()


def run_id(job: Job) -> str:
    """Return the name of an evaluation by a model, which changes with all that decides its answers, and with nothing else."""
    parameters: dict[str, Any] = {**job.record(), "seed": job.seed}
    for name in ("backbone", "adapter", "evaluate", "reasoning", "icl"):
        section = getattr(job, name)
        parameters[name] = section.model_dump() if section else None
    prompts = [job.model / name for name in FILES if name != "model.safetensors"]
    return checkpoints.run_id(parameters, [*job.inputs(), *prompts], ROOMS)


@contextmanager
def kept(job: Job, work: Path, tasks: int) -> Iterator[Answers]:
    """Hold the answers of an evaluation; a second process that makes the same ones waits for the first.

    Args:
        job: the evaluation, by a method with a model.
        work: the folder in which those of all evaluations are kept.
        tasks: number of tasks.

    Raises:
        UserError: as `meta.supervision.locked`.
    """
    folder = work / run_id(job)
    with locked(folder) as supervisor:
        answers = Answers(folder, tasks, supervisor)
        if known := len(answers.predictions):
            print(f"{known} of {tasks} answers were given before: taken from {folder}", file=sys.stderr)  # noqa: T201
        yield answers
