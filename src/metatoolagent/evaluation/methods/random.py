"""A candidate at random: what chance gives on these very tasks."""

from metatoolagent.evaluation.job import Answer, Job, Prediction, Tasks, set_by_set
from metatoolagent.tasks.distractors import generator_of
from metatoolagent.tasks.rendering import Row


def prepare(job: Job) -> Answer:
    """Return the draw of each task, which depends on the seed and the task alone."""

    def answer(rows: Tasks) -> list[Prediction]:
        return [drawn(row, job.seed) for row in rows]

    return set_by_set(answer)


def drawn(row: Row, seed: int) -> Prediction:
    """Return the selection for a task; the free one is the same."""
    choice = row["candidates"][generator_of(seed, "random", row["task_id"]).integers(len(row["candidates"]))]
    return Prediction(None, choice, choice, choice, cut=False)
