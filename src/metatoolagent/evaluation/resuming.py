"""An evaluation by a model goes on where it was stopped, and is made once however many folders it is published in.

Its answers are kept as a training's checkpoints are: outside of all declared outputs, under a name that changes with all that
decides them. So the second of two sweeps that have an evaluation in common takes the answers of the first.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metatoolagent.errors import Exit, UserError
from metatoolagent.evaluation.answers import Answers, Given
from metatoolagent.evaluation.job import Job
from metatoolagent.meta import checkpoints
from metatoolagent.meta.checkpoints import Checkpoint
from metatoolagent.meta.supervision import Supervisor, locked
from metatoolagent.models.backbone import FILES

INTERVAL = 60.0
"""Seconds after which the answers are saved; the last ones are in any case."""
ROOMS = (*checkpoints.OF_TRAINING, "evaluation", "evaluation/methods")
"""Whose code decides the answers."""


class KeptAnswers(Answers):
    """Answers that are saved while they are given."""

    def __init__(self, folder: Path, total: int, supervisor: Supervisor) -> None:
        """Take what was kept.

        Args:
            folder: of the evaluation in the folder of work; it exists.
            total: number of answers.
            supervisor: of the lock on the folder.
        """
        super().__init__()
        self._folder, self._total, self._supervisor = folder, total, supervisor
        if newest := checkpoints.newest(folder):
            self.given = newest.record["answers"]
        self._saved = time.monotonic()

    def add(self, found: Sequence[Given]) -> None:
        """Add the next ones, and save all of them if it is time to.

        Raises:
            UserError: I-PAUSED (exit code 75) when asked to stop or when the orchestrator is gone; all are saved then.
        """
        self.given += found
        self._supervisor.give_sign()
        is_last = len(self.given) == self._total
        reason = "" if is_last else self._supervisor.reason_to_pause()
        if is_last or reason or time.monotonic() - self._saved > INTERVAL:
            checkpoints.save(self._folder, Checkpoint(len(self.given), {}, {"answers": self.given}))
            self._saved = time.monotonic()
        if reason:
            what = f"{reason}: paused after answer {len(self.given)} of {self._total}"
            raise UserError("I-PAUSED", what, str(self._folder), fix="run the same command to go on", exit_code=Exit.RETRY)


def run_id(job: Job, inputs: Sequence[Path] = (), parameters: Mapping[str, Any] | None = None) -> str:
    """Return the name of an evaluation by a model, which changes with all that decides its answers, and with nothing else.

    Args:
        job: the evaluation.
        inputs: what is read beside the job's own inputs.
        parameters: what decides the answers beside the job's own.
    """
    told: dict[str, Any] = {**job.record(), "seed": job.seed, **(parameters or {})}
    for name in ("backbone", "adapter", "evaluate", "reasoning", "icl"):
        section = getattr(job, name)
        told[name] = section.model_dump() if section else None
    prompts = [job.model / name for name in FILES if name != "model.safetensors"]
    return checkpoints.run_id(told, [*job.inputs(), *inputs, *prompts], ROOMS)


@contextmanager
def kept(
    job: Job, work: Path, total: int, inputs: Sequence[Path] = (), parameters: Mapping[str, Any] | None = None
) -> Iterator[KeptAnswers]:
    """Hold the answers of an evaluation; a second process that makes the same ones waits for the first.

    Args:
        job: the evaluation, by a method with a model.
        work: the folder in which those of all evaluations are kept.
        total: number of answers.
        inputs: as for `run_id`.
        parameters: as for `run_id`.

    Raises:
        UserError: as `meta.supervision.locked`.
    """
    folder = work / run_id(job, inputs, parameters)
    with locked(folder) as supervisor:
        found = KeptAnswers(folder, total, supervisor)
        if known := len(found.given):
            print(f"{known} of {total} answers were given before: taken from {folder}", file=sys.stderr)  # noqa: T201
        yield found
