"""The answers of an evaluation while they are given: kept for a model's, which take minutes, and not for the others'."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metatoolagent.artifacts import require_folder, verify
from metatoolagent.errors import Exit, UserError
from metatoolagent.evaluation.job import Job
from metatoolagent.orchestrators import Orchestrators

Given = dict[str, Any]
"""An answer, as JSON can hold it."""


class Answers:
    """The answers in the order in which they are asked for, as far as they are known; nothing is kept of them.

    Attributes:
        given: the first ones.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.given: list[Given] = []
        self._above = Orchestrators()

    def add(self, found: Sequence[Given]) -> None:
        """Add the next ones.

        Raises:
            UserError: I-PAUSED (exit code 75) when Snakemake or DVC above this process is gone.
        """
        self.given += found
        if reason := self._above.gone():
            what = f"{reason}: stopped, nothing was written"
            raise UserError("I-PAUSED", what, fix="run the same command again", exit_code=Exit.RETRY)


@contextmanager
def answers(
    job: Job, total: int, *, inputs: Sequence[Path] = (), parameters: Mapping[str, Any] | None = None
) -> Iterator[Answers]:
    """Hold the answers of an evaluation, with those that were given before it was stopped, or for another folder.

    Args:
        job: the evaluation; what a method with a model answers is kept in its folder of work, if it has one.
        total: number of answers.
        inputs: what is read beside the job's own inputs.
        parameters: what decides the answers beside the job's own.

    Raises:
        UserError: E-CORRUPT or E-MISSING for the inputs of answers that are all there, which no method then reads; as
            `meta.supervision.locked`.
        OSError: of `artifacts.require_folder` for the job's folder of output.
    """
    require_folder(job.out)
    if not (job.backbone and job.work):
        yield Answers()
        return
    from metatoolagent.evaluation import resuming  # with torch, which methods without a model do without

    with resuming.kept(job, job.work, total, inputs, parameters or {}) as found:
        for path in [*job.inputs(), *inputs] if len(found.given) == total else []:
            verify(path)
        yield found
