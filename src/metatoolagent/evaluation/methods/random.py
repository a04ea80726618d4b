"""A candidate at random: what chance gives on these very tasks."""

from collections.abc import Sequence

from metatoolagent.evaluation.job import Answer, Job, Prediction
from metatoolagent.tasks.distractors import generator_of
from metatoolagent.tasks.rendering import Row


def prepare(job: Job) -> Answer:
    """Return the draw of each task, which depends on the seed and the task alone."""

    def answer(rows: Sequence[Row]) -> list[Prediction]:
        return [drawn(row, job.seed) for row in rows]

    return answer


def drawn(row: Row, seed: int) -> Prediction:
    """Return the selection for a task; the free one is the same."""
    choice = row["candidates"][generator_of(seed, "random", row["task_id"]).integers(len(row["candidates"]))]
    return Prediction(None, choice, choice, choice, cut=False)
