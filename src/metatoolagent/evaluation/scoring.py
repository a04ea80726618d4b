"""Selection by score and by free generation, from one forward pass over a pack where that is enough.

The pass gives every candidate's log-probability. It also gives the greedy continuation for as long as that spells a
candidate's name, and most answers of a trained model do, to the end. Only where the greedy path leaves all names are
tokens generated, for all such questions of the pack in lockstep.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from metatoolagent.meta.losses import by_branch, log_probabilities
from metatoolagent.models.adapter import Tensors, cast, forward, logits
from metatoolagent.models.attention import Dense, bias
from metatoolagent.tasks.packing import Pack, pack
from metatoolagent.tasks.rendering import Renderer, Row


@dataclass(frozen=True)
class Prediction:
    """What a method answers to one task."""

    log_probabilities: list[float]
    """Of each candidate's name and the end token, in nats, in the candidates' order."""
    scored: str
    """The candidate with the highest one."""
    free_text: str
    """The greedy answer."""
    free: str | None
    """The candidate that the greedy answer names, exactly; None where it names none."""
    cut: bool
    """Whether the greedy answer was still going on at the limit."""


@torch.no_grad()
def predict(
    model: nn.Module, weights: Tensors | None, renderer: Renderer, rows: Sequence[Row], max_new_tokens: int
) -> list[Prediction]:
    """Return the predictions for tasks that share a candidate set.

    Args:
        model: the backbone, or the adapted backbone.
        weights: the LoRA tensors; None for the backbone alone.
        renderer: of the catalog.
        rows: the tasks.
        max_new_tokens: limit of a free answer.
    """
    device = next(model.parameters()).device
    candidates = list(rows[0]["candidates"])
    answers = [renderer.answers[name] for name in candidates]
    packed = renderer.pack(rows).to(device)
    logits_KV = logits(model, weights, packed)
    scores_QC = by_branch(log_probabilities(logits_KV, packed)[0], packed)
    greedy_QC = greedy_names(logits_KV, packed)
    lost = [index for index, named in enumerate(greedy_QC.any(1).tolist()) if not named]
    texts = generate(model, weights, renderer, [rows[index] for index in lost], max_new_tokens) if lost else []
    generated = dict(zip(lost, texts, strict=True))
    predictions = []
    for index, scores in enumerate(scores_QC.tolist()):
        if index in generated:
            text, cut = generated[index]
        else:
            text, cut = candidates[int(greedy_QC[index].float().argmax())], False
        free = text if text in candidates and not cut else None
        predictions.append(Prediction(scores, candidates[scores.index(max(scores))], text, free, cut))
    assert len(answers) == scores_QC.shape[1]
    return predictions


def greedy_names(logits_KV: Tensor, pack: Pack) -> Tensor:
    """Return whether greedy decoding spells each candidate's name and ends there (Q, C); at most one a question."""
    top_A = log_probabilities(logits_KV, pack)[1]
    return by_branch(top_A.float(), pack) == by_branch(torch.ones_like(top_A, dtype=torch.float32), pack)


@torch.no_grad()
def generate(
    model: nn.Module, weights: Tensors | None, renderer: Renderer, rows: Sequence[Row], max_new_tokens: int
) -> list[tuple[str, bool]]:
    """Return the greedy answer to each task, and whether it was cut off; tasks share a candidate set.

    The prefix and the questions are read once; then each step adds a token to every question at once.
    """
    device = next(model.parameters()).device
    segments = [renderer.segment(row["question_id"]) for row in rows]
    end = renderer.template.marker(renderer.template.end)
    # Branches of the end token alone hold no input, so the tree is the prefix and the questions.
    stem = pack(
        renderer.prefix(rows[0]["candidates"]),
        segments,
        [end],
        [0] * len(rows),
        [row["question_id"] for row in rows],
        context=renderer.context - max_new_tokens,
    ).to(device)
    cache = DynamicCache()
    out = forward(model, weights, stem, logits_to_keep=stem.keep_K, use_cache=True, past_key_values=cache)
    next_Q = out.logits[0].argmax(-1)
    position_Q = stem.position_ids_T[stem.keep_K]
    seen_QT = (stem.node_T == 0) | (stem.node_T == stem.node_T[stem.keep_K][:, None])
    own_QQ = torch.eye(len(rows), dtype=torch.bool, device=device)
    taken = [next_Q]
    ended_Q = next_Q == end[0]
    call = Step(model, cast(weights, next(model.parameters()).dtype), cache)
    while len(taken) < max_new_tokens and not bool(ended_Q.all()):
        position_Q = position_Q + 1
        seen_QT = torch.cat([seen_QT, own_QQ], 1)
        next_Q = call(next_Q, position_Q, seen_QT)
        taken.append(next_Q)
        ended_Q |= next_Q == end[0]
    return [_text(renderer, tokens, end[0]) for tokens in torch.stack(taken, 1).tolist()]


@dataclass(frozen=True)
class Step:
    """One step of decoding: a token for every question."""

    model: nn.Module
    weights: Mapping[str, Tensor]
    cache: DynamicCache

    def __call__(self, token_Q: Tensor, position_Q: Tensor, seen_QT: Tensor) -> Tensor:
        """Return the next token of each question (Q), given the last ones and what each sees of all tokens."""
        call = {
            "input_ids": token_Q[None],
            "position_ids": position_Q[None],
            "tree": Dense(bias(seen_QT, next(self.model.parameters()).dtype)),
            "use_cache": True,
            "past_key_values": self.cache,
        }
        next_Q: Tensor = torch.func.functional_call(self.model, dict(self.weights), (), call).logits[0].argmax(-1)
        return next_Q


def _text(renderer: Renderer, tokens: list[int], end: int) -> tuple[str, bool]:
    """Return the text up to the end token, and whether there was none."""
    cut = end not in tokens
    kept = tokens if cut else tokens[: tokens.index(end)]
    return str(renderer.template.tokenizer.decode(kept)).strip(), cut
