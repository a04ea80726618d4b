"""Selection by score and by free generation, from one forward pass over a pack where that is enough.

The pass gives every candidate's log-probability. It also gives the greedy continuation for as long as that spells a
candidate's name, and most answers of a trained model do, to the end. Only where the greedy path leaves all names are
tokens generated, for all such questions of all candidate sets that are given together. So a candidate's name is never cut:
`max_new_tokens` binds all other answers alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from metatoolagent.errors import UserError, shown
from metatoolagent.evaluation.generation import Reading, generate, reading
from metatoolagent.evaluation.job import Prediction
from metatoolagent.evaluation.opening import Opening
from metatoolagent.meta.losses import by_branch, log_probabilities
from metatoolagent.models.adapter import Tensors, forward
from metatoolagent.tasks.packing import Pack, behind
from metatoolagent.tasks.prompts import Template
from metatoolagent.tasks.rendering import Renderer, Row


@dataclass(frozen=True)
class Asked:
    """A pack whose questions branch into the names of all candidates."""

    pack: Pack
    candidates: Sequence[str]
    """In the order of the branches."""


@dataclass(frozen=True)
class Scored:
    """What the pass over a pack tells."""

    scores: list[list[float]]
    """Of each question, the log-probability of each candidate."""
    named: list[int | None]
    """The candidate that greedy decoding spells."""
    left: Reading | None
    """Where the questions stand for which it spells none."""


def predict(
    model: nn.Module,
    weights: Tensors | None,
    renderer: Renderer,
    sets: Sequence[Sequence[Row]],
    max_new_tokens: int,
    opening: Opening | None = None,
) -> list[list[Prediction]]:
    """Return the predictions for the tasks of each candidate set.

    Args:
        model: the backbone, or the adapted backbone.
        weights: the LoRA tensors; None for the backbone alone.
        renderer: of the catalog.
        sets: tasks that share a candidate set, for each set.
        max_new_tokens: limit of a free answer that is no candidate's name.
        opening: what the renderer was opened with, if it was read already; it is read with each pack otherwise.

    Raises:
        UserError: E-CTX if a task is longer than the context, and as `select`.
    """
    asked = [Asked(renderer.pack(rows, generated=max_new_tokens), list(rows[0]["candidates"])) for rows in sets]
    template = renderer.template
    return select(model, weights, template, template.line_ends, asked, max_new_tokens, opening)


@torch.no_grad()
def select(
    model: nn.Module,
    weights: Tensors | None,
    template: Template,
    ends: Sequence[int],
    asked: Sequence[Asked],
    max_new_tokens: int,
    opening: Opening | None = None,
) -> list[list[Prediction]]:
    """Return the predictions for the tasks of each pack.

    Args:
        model: as for `predict`.
        weights: as for `predict`.
        template: the backbone's.
        ends: the tokens of which each ends an answer.
        asked: the packs.
        max_new_tokens: limit of a free answer that is no candidate's name.
        opening: the first tokens of each pack's prefix, if they were read already.

    Raises:
        UserError: E-NONFINITE if a score is NaN or infinite.
    """
    scored = [score(model, weights, one.pack, opening) for one in asked]
    for one, of_set in zip(asked, scored, strict=True):
        require_finite(one.pack.task_ids, one.candidates, of_set.scores)
    left = [one.left for one in scored if one.left]
    generated = iter(generate(model, weights, left, template, ends, max_new_tokens) if left else [])
    predictions = []
    for one, of_set in zip(asked, scored, strict=True):
        answers = [next(generated) if index is None else (one.candidates[index], False) for index in of_set.named]
        predictions.append([prediction(one.candidates, *found) for found in zip(of_set.scores, answers, strict=True)])
    return predictions


def score(model: nn.Module, weights: Tensors | None, pack: Pack, opening: Opening | None) -> Scored:
    """Return what one pass over a pack tells; arguments as for `select`."""
    packed = (behind(pack, opening.length) if opening else pack).to(next(model.parameters()).device)
    cache = opening.cache() if opening else DynamicCache()
    out = forward(model, weights, packed, logits_to_keep=packed.keep_K, use_cache=True, past_key_values=cache)
    logits_KV = out.logits[0].float()
    log_p_A, top_A = log_probabilities(logits_KV, packed)
    scores_QC, named_QC = by_branch(log_p_A, packed), greedy_names(top_A, packed)
    best = zip(named_QC.any(1).tolist(), named_QC.float().argmax(1).tolist(), strict=True)
    named = [index if any_named else None for any_named, index in best]
    unnamed = [question for question, index in enumerate(named) if index is None]
    return Scored(scores_QC.tolist(), named, reading(packed, cache, logits_KV, unnamed) if unnamed else None)


def require_finite(tasks: Sequence[str], candidates: Sequence[str], scores_QC: Sequence[Sequence[float]]) -> None:
    """Refuse scores with NaN or infinity, of which the first candidate would be the best.

    Args:
        tasks: what each row of the scores was asked.
        candidates: of all tasks.
        scores_QC: log-probabilities, in nats.

    Raises:
        UserError: E-NONFINITE with the first such task and candidate.
    """
    for task, of_task in zip(tasks, scores_QC, strict=True):
        for candidate, found in zip(candidates, of_task, strict=True):
            if not math.isfinite(found):
                raise UserError(
                    "E-NONFINITE",
                    "the model gives a candidate no finite log-probability",
                    f"question {task}, candidate {candidate}",
                    shown(found),
                    "train the adapter anew with a lower learning rate, or set backbone.dtype: float32",
                )


def greedy_names(top_A: Tensor, pack: Pack) -> Tensor:
    """Return whether greedy decoding spells each candidate's name and ends there (Q, C); at most one a question.

    Args:
        top_A: whether each answer token is the most probable one.
        pack: the tasks.
    """
    return by_branch(top_A.float(), pack) == by_branch(torch.ones_like(top_A, dtype=torch.float32), pack)


def prediction(candidates: Sequence[str], scores: list[float], answer: tuple[str, bool]) -> Prediction:
    """Return what a method says, its free answer read as a line: whatever stands on later lines is no part of it.

    Args:
        candidates: of the task.
        scores: of each candidate, a log-probability in nats.
        answer: the free answer, and whether it was cut off.
    """
    line, newline, _ = answer[0].partition("\n")
    text, cut = line.strip(), answer[1] and not newline
    named = text if text in candidates and not cut else None
    return Prediction(scores, candidates[scores.index(max(scores))], text, named, cut)
