"""The model answers at once, with an adapter or without: `base`, `ft`, `masking` and `mta`."""

from collections.abc import Sequence

from metatoolagent.evaluation.job import Answer, Job, Prediction
from metatoolagent.evaluation.language import load
from metatoolagent.evaluation.scoring import predict
from metatoolagent.tasks.rendering import Row


def prepare(job: Job) -> Answer:
    """Load the model."""
    language = load(job)

    def answer(rows: Sequence[Row]) -> list[Prediction]:
        return predict(language.model, language.weights, language.renderer, rows, language.max_new_tokens)

    return answer
