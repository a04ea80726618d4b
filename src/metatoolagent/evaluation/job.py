"""What every method is given and what it gives back: the one interface of evaluation.

A method is a module of `evaluation/methods` with one function, `prepare(job) -> Answer`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from metatoolagent import params
from metatoolagent.tasks.rendering import Row


@dataclass(frozen=True)
class Prediction:
    """What a method answers to one task."""

    log_probabilities: list[float] | None
    """Of each candidate's name and the token that ends it, in nats, in the candidates' order; None for the methods of
    `params.SELECTING`, which select without naming."""
    scored: str
    """The candidate with the highest one."""
    free_text: str
    """The greedy answer."""
    free: str | None
    """The candidate that the greedy answer names, exactly; None where it names none."""
    cut: bool
    """Whether the greedy answer was still going on at the limit."""
    reasoning: str | None = None
    """What was generated before the answer, as it came; None for methods that answer at once."""
    reasoning_end: str | None = None
    """What ended it: `line`, the line of the answer, which the model began by itself; without that `turn`, the end of the
    model's turn, or `cut`, the end of the budget. None for methods that answer at once."""


Tasks = Sequence[Row]
"""Tasks that share a candidate set."""
Answer = Callable[[Sequence[Tasks]], list[list[Prediction]]]
"""Gives the predictions for the tasks of several candidate sets, in their order."""


@dataclass(frozen=True)
class Job:
    """What to evaluate, and where everything lies."""

    method: str
    backbone: params.Backbone | None
    """None for the methods of `params.MODEL_FREE`."""
    adapter: params.Adapter | None
    evaluate: params.Evaluate | None
    """None for the methods of `params.SELECTING`."""
    tasks: Path
    catalog: Path
    model: Path
    weights: Path | None
    out: Path
    seed: int = 0
    """Of the method's own draws."""
    demonstrations: Path | None = None
    """The training tasks that demonstrations are taken from."""
    reasoning: params.Reasoning | None = None
    """For cot and react."""
    icl: params.Icl | None = None
    """For icl."""
    work: Path | None = None
    """Where the answers of a method with a model are kept while they are made, and afterwards; None: nowhere."""

    def record(self) -> dict[str, str]:
        """Return what the manifest of the answers says of them: the method, and the dtype that its backbone computed in."""
        if self.backbone is None:
            return {"method": self.method}
        from metatoolagent.models.precision import name_of  # with torch

        return {"method": self.method, "dtype": name_of(self.backbone)}

    def inputs(self) -> list[Path]:
        """Return the artifacts that the method reads."""
        paths = [self.tasks, self.catalog / "tools.parquet", self.catalog / "questions.parquet"]
        paths += [self.model / "model.safetensors"] if self.backbone else []
        if self.weights:
            from metatoolagent.models.adapter import WEIGHTS  # with torch, which methods without a model do without

            paths.append(self.weights / WEIGHTS)
        return paths + ([self.demonstrations] if self.demonstrations else [])


def set_by_set(answer: Callable[[Tasks], list[Prediction]]) -> Answer:
    """Return the `Answer` of a method that gains nothing by seeing several candidate sets at once."""
    return lambda sets: [answer(rows) for rows in sets]


def prepare(job: Job) -> Answer:
    """Return how the job's method answers.

    Raises:
        UserError: E-CORRUPT or E-MISSING for inputs, and those of the method.
    """
    # Only the method's own module is loaded: an edit of another one makes no prediction out of date.
    module = import_module(f"metatoolagent.evaluation.methods.{params.MODULE.get(job.method, 'direct')}")
    answer: Answer = module.prepare(job)
    return answer
