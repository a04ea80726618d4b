"""In-context learning: the backbone alone, after k training tasks with their right answers.

Each demonstration is a whole task with its answer (candidate set, question, name), rendered as the task itself is, and an
empty line behind it, so that what is shown is exactly what is asked for. They are the same for all tasks and stand before
the candidate set, so the model reads them once. docs/decisions/0007-what-each-method-sees.md says why.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from metatoolagent import columns
from metatoolagent.errors import UserError
from metatoolagent.evaluation.job import Answer, Job, Prediction, Tasks
from metatoolagent.evaluation.language import load
from metatoolagent.evaluation.opening import read
from metatoolagent.evaluation.scoring import predict
from metatoolagent.tasks.rendering import Renderer, Row


def prepare(job: Job) -> Answer:
    """Load the model, and render and read the demonstrations.

    Raises:
        UserError: E-SCHEMA for the file of demonstrations; E-DEMONSTRATIONS; E-CTX if they leave no room for a task.
    """
    assert job.demonstrations and job.icl, "icl needs training tasks"
    language = load(job)
    renderer = opened(language.renderer, job.demonstrations, job.icl.demonstrations)
    opening = read(language.model, language.weights, renderer.opening, renderer.context)

    def answer(sets: Sequence[Tasks]) -> list[list[Prediction]]:
        return predict(language.model, language.weights, renderer, sets, language.max_new_tokens, opening)

    return answer


def opened(renderer: Renderer, demonstrations: Path, count: int) -> Renderer:
    """Return the renderer whose every prompt begins with so many demonstrations of a file of training meta-tasks.

    Raises:
        UserError: E-SCHEMA for the file; E-DEMONSTRATIONS.
    """
    shown = chosen(columns.read(demonstrations, "meta-tasks", columns.META_TASKS), count)
    return renderer.opened([token for row in shown for token in demonstration(renderer, row)])


def chosen(meta_tasks: pl.DataFrame, count: int) -> Sequence[Row]:
    """Return the demonstrations: the first tasks of the first meta-tasks, each of another gold tool.

    The meta-tasks are drawn from training questions over training tools, in random order, so no further draw is needed
    and no tool that is evaluated can be among them.

    Args:
        meta_tasks: the training meta-tasks.
        count: of demonstrations.

    Raises:
        UserError: E-DEMONSTRATIONS if there are not so many gold tools.
    """
    order = meta_tasks.sort("task", "pack", "meta_task", "role", maintain_order=True)
    rows = order.unique("gold", keep="first", maintain_order=True).head(count).to_dicts()
    if len(rows) < count:
        raise UserError(
            "E-DEMONSTRATIONS",
            f"{count} demonstrations are asked for, and the meta-tasks have {len(rows)} gold tools",
            "params.yaml, key icl.demonstrations",
            fix=f"set icl.demonstrations: {len(rows)}, or raise meta_tasks.count",
        )
    return rows


def demonstration(renderer: Renderer, row: Row) -> list[int]:
    """Return the tokens of a task with its right answer, up to where the next one starts.

    Where training asks with documentation, the question itself is shown: it is what the evaluation asks.
    """
    answer = [*renderer.answers[row["gold"]], renderer.template.newline]
    return [*renderer.lines(row["candidates"]), *renderer.line(row["question_id"]), *answer]
