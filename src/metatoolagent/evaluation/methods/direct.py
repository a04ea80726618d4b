"""The model answers at once, with an adapter or without: `base`, `ft`, `masking` and `mta`."""

from collections.abc import Sequence

from metatoolagent.evaluation.job import Answer, Job, Prediction, Tasks
from metatoolagent.evaluation.language import load
from metatoolagent.evaluation.scoring import predict


def prepare(job: Job) -> Answer:
    """Load the model."""
    language = load(job)

    def answer(sets: Sequence[Tasks]) -> list[list[Prediction]]:
        return predict(language.model, language.weights, language.renderer, sets, language.max_new_tokens)

    return answer
