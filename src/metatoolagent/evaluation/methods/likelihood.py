"""Query likelihood: the candidate after whose documentation alone the backbone finds the question most probable.

argmax_c log p(question | documentation of c), in nats over the question's tokens: the language-modelling approach to retrieval
(Ponte and Croft 1998), with a pretrained model in place of counts (Sachan et al. 2022, arXiv 2204.07496). It needs no training
and compares no candidates in context, so it tells how much of a choice the backbone knows before it is taught to say so.
"""

from collections.abc import Sequence

import torch

from metatoolagent.evaluation.job import Answer, Job, Prediction, Tasks, set_by_set
from metatoolagent.evaluation.language import Language, load
from metatoolagent.meta.losses import by_branch, log_probabilities
from metatoolagent.models.adapter import logits
from metatoolagent.tasks.packing import pack
from metatoolagent.tasks.rendering import Row


def prepare(job: Job) -> Answer:
    """Load the model."""
    language = load(job)

    def answer(rows: Tasks) -> list[Prediction]:
        candidates = rows[0]["candidates"]
        scores_CQ = torch.stack([likelihoods(language, name, rows) for name in candidates])
        best = [candidates[index] for index in scores_CQ.argmax(0).tolist()]
        return [Prediction(None, name, name, name, cut=False) for name in best]

    return set_by_set(answer)


@torch.no_grad()
def likelihoods(language: Language, name: str, rows: Sequence[Row]) -> torch.Tensor:
    """Return the log-probability of what each task asks after the documentation of one tool (Q), in nats.

    Args:
        language: the model.
        name: of the tool.
        rows: the tasks, whose questions share one pass as the answers of a pack do.
    """
    renderer = language.renderer
    template = renderer.template
    packed = pack(
        renderer.prefix([name]),
        [template.marker(template.before_question)],
        [template.content(renderer.said(row)) for row in rows],
        [0],
        [rows[0]["question_id"]],
        context=renderer.context,
    ).to(next(language.model.parameters()).device)
    return by_branch(log_probabilities(logits(language.model, language.weights, packed), packed)[0], packed)[0]
