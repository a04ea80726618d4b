"""Dense retrieval: the candidate whose documentation lies nearest to the question, both as vectors of the backbone.

A text's vector is the mean of its tokens' hidden states before the last layer, without the first token, whose states are huge
and the same for every text (Xiao et al. 2023, arXiv 2309.17453), unless it is the only one; nearest is the highest cosine.
An encoder made for sentences would retrieve better; the project carries one model, so this is what its own states give.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metatoolagent.evaluation.job import Answer, Job, Prediction, Tasks, set_by_set
from metatoolagent.evaluation.language import load
from metatoolagent.models.adapter import forward
from metatoolagent.tasks.packing import pack

LAYER = -2
"""Whose output is taken, the last but one: chosen on validation tools (docs/log.md)."""


def prepare(job: Job) -> Answer:
    """Load the model."""
    language = load(job)
    renderer = language.renderer

    @functools.cache
    def encoded(text: str) -> Tensor:
        return vector(language.model, renderer.template.content(text), renderer.context)

    def answer(rows: Tasks) -> list[Prediction]:
        candidates = rows[0]["candidates"]
        documents_CH = torch.stack([encoded(renderer.entries[name]) for name in candidates])
        questions_QH = torch.stack([encoded(" ".join(renderer.said(row).split())) for row in rows])
        best = [candidates[index] for index in nearest(documents_CH, questions_QH).tolist()]
        return [Prediction(None, name, name, name, cut=False) for name in best]

    return set_by_set(answer)


def nearest(documents_CH: Tensor, questions_QH: Tensor) -> Tensor:
    """Return the index of the document with the highest cosine to each question (Q)."""
    return (nn.functional.normalize(questions_QH, dim=-1) @ nn.functional.normalize(documents_CH, dim=-1).T).argmax(-1)


@torch.no_grad()
def vector(model: nn.Module, tokens: Sequence[int], context: int) -> Tensor:
    """Return the mean hidden state of a text's tokens (H), in float32.

    Args:
        model: the backbone.
        tokens: of the text, at least one.
        context: positions that the model has.

    Raises:
        UserError: E-CTX if the text is longer than that.
    """
    whole = pack(tokens[:-1], [tokens[-1:]], [], [0], ["text"], context=context)
    packed = whole.to(next(model.parameters()).device)
    states = forward(model, None, packed, logits_to_keep=packed.keep_K, use_cache=False, output_hidden_states=True).hidden_states
    state_TH: Tensor = states[LAYER][0]
    return state_TH[min(1, len(state_TH) - 1) :].float().mean(0)
