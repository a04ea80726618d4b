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

from metatoolagent.evaluation.job import Prediction
from metatoolagent.evaluation.opening import Opening
from metatoolagent.meta.losses import by_branch, log_probabilities
from metatoolagent.models.adapter import Tensors, cast, forward
from metatoolagent.models.attention import Dense, bias
from metatoolagent.tasks.packing import Pack, behind
from metatoolagent.tasks.prompts import Template
from metatoolagent.tasks.rendering import Renderer, Row


def predict(
    model: nn.Module,
    weights: Tensors | None,
    renderer: Renderer,
    rows: Sequence[Row],
    max_new_tokens: int,
    opening: Opening | None = None,
) -> list[Prediction]:
    """Return the predictions for tasks that share a candidate set.

    Args:
        model: the backbone, or the adapted backbone.
        weights: the LoRA tensors; None for the backbone alone.
        renderer: of the catalog.
        rows: the tasks.
        max_new_tokens: limit of a free answer.
        opening: what the renderer was opened with, if it was read already; it is read with each pack otherwise.
    """
    candidates, pack = list(rows[0]["candidates"]), renderer.pack(rows, generated=max_new_tokens)
    return select(model, weights, renderer.template, pack, candidates, max_new_tokens, opening)


@torch.no_grad()
def select(
    model: nn.Module,
    weights: Tensors | None,
    template: Template,
    pack: Pack,
    candidates: Sequence[str],
    max_new_tokens: int,
    opening: Opening | None = None,
) -> list[Prediction]:
    """Return the predictions for the tasks of a pack whose questions branch into all candidates' answers.

    Args:
        model: as for `predict`.
        weights: as for `predict`.
        template: the backbone's.
        pack: the tasks.
        candidates: the names, in the order of the branches.
        max_new_tokens: limit of a free answer.
        opening: the first tokens of the pack's prefix, if they were read already.
    """
    packed = (behind(pack, opening.length) if opening else pack).to(next(model.parameters()).device)
    cache = opening.cache() if opening else DynamicCache()
    out = forward(model, weights, packed, logits_to_keep=packed.keep_K, use_cache=True, past_key_values=cache)
    logits_KV = out.logits[0].float()
    scores_QC = by_branch(log_probabilities(logits_KV, packed)[0], packed)
    named_QC = greedy_names(logits_KV, packed)
    answers = [(candidates[index], False) for index in named_QC.float().argmax(1).tolist()]
    if not bool(named_QC.any(1).all()):
        step = Step(model, cast(weights, next(model.parameters()).dtype), cache)
        generated = generate(step, packed, logits_KV, template, max_new_tokens)
        answers = [answers[index] if named else generated[index] for index, named in enumerate(named_QC.any(1).tolist())]
    return [
        Prediction(scores, candidates[scores.index(max(scores))], text, text if text in candidates and not cut else None, cut)
        for scores, (text, cut) in zip(scores_QC.tolist(), answers, strict=True)
    ]


def greedy_names(logits_KV: Tensor, pack: Pack) -> Tensor:
    """Return whether greedy decoding spells each candidate's name and ends there (Q, C); at most one a question."""
    top_A = log_probabilities(logits_KV, pack)[1]
    return by_branch(top_A.float(), pack) == by_branch(torch.ones_like(top_A, dtype=torch.float32), pack)


def generate(step: "Step", pack: Pack, logits_KV: Tensor, template: Template, max_new_tokens: int) -> list[tuple[str, bool]]:
    """Return the greedy answer to each question of a pack, and whether it was cut off.

    All questions go on in lockstep from the cache of the pass that scored them. Each sees the prefix, its own question
    and its own answer; the candidates' branches, which are in the cache too, are hidden from it.

    Args:
        step: the model and the cache of the pass over `pack`.
        pack: the tasks.
        logits_KV: the logits of that pass.
        template: the backbone's.
        max_new_tokens: limit of an answer.
    """
    end = template.marker(template.end)[0]
    last_Q = pack.keep_K[pack.ask_Q]
    position_Q = pack.position_ids_T[last_Q]
    seen_QT = (pack.node_T == 0) | (pack.node_T == pack.node_T[last_Q][:, None])
    seen_QT = nn.functional.pad(seen_QT, (pack.before, 0), value=True)
    own_QQ = torch.eye(len(last_Q), dtype=torch.bool, device=last_Q.device)
    taken = [logits_KV[pack.ask_Q].argmax(-1)]
    ended_Q = taken[-1] == end
    while len(taken) < max_new_tokens and not bool(ended_Q.all()):
        position_Q = position_Q + 1
        seen_QT = torch.cat([seen_QT, own_QQ], 1)
        taken.append(step(taken[-1], position_Q, seen_QT))
        ended_Q |= taken[-1] == end
    return [_text(template, tokens, end) for tokens in torch.stack(taken, 1).tolist()]


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


def _text(template: Template, tokens: list[int], end: int) -> tuple[str, bool]:
    """Return the text up to the end token, and whether there was none."""
    cut = end not in tokens
    kept = tokens if cut else tokens[: tokens.index(end)]
    return str(template.tokenizer.decode(kept)).strip(), cut
