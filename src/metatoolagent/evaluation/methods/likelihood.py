"""Query likelihood: the candidate after whose documentation alone the model finds the question most probable.

argmax_c log p(question | documentation of c), in nats over the question's tokens: the language-modelling approach to retrieval
(Ponte and Croft 1998), with a pretrained model in place of counts (Sachan et al. 2022, arXiv 2204.07496). It needs no training
and compares no candidates in context, so it tells how much of a choice the backbone knows before it is taught to say so.
Method `channel` answers with an adapter that was trained to tell the candidates apart by the same measure (`meta/losses.py`).
"""

import torch

from metatoolagent.evaluation.job import Answer, Job, Prediction, Tasks, set_by_set
from metatoolagent.evaluation.language import Language, load
from metatoolagent.evaluation.scoring import require_finite
from metatoolagent.meta import losses
from metatoolagent.tasks.channel import channel


def prepare(job: Job) -> Answer:
    """Load the model."""
    language = load(job)

    def answer(rows: Tasks) -> list[Prediction]:
        candidates = rows[0]["candidates"]
        scores_QC = likelihoods(language, rows)
        require_finite([row["question_id"] for row in rows], candidates, scores_QC.tolist())
        best = [candidates[index] for index in scores_QC.argmax(1).tolist()]
        return [Prediction(None, name, name, name, cut=False) for name in best]

    return set_by_set(answer)


@torch.no_grad()
def likelihoods(language: Language, rows: Tasks) -> torch.Tensor:
    """Return the log-probability of what each task asks after the documentation of each candidate alone (Q, C), in nats."""
    pack = channel(language.renderer, rows).to(next(language.model.parameters()).device)
    return losses.likelihoods(language.model, language.weights, pack)
