"""Greedy answers, a token at a time for all questions of several candidate sets at once.

What a pass over a pack left in its cache is gone on from. A step's time is mostly that of reading the weights, so it is
worth to read them for many questions. Each candidate set is a sequence, padded; a question sees what stands above it in its
own pack, and its own answer.

Shapes: R readings, U questions of one of them, S keys that any of these sees, E tokens that end an answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from metatoolagent.models.adapter import Tensors, cast
from metatoolagent.models.attention import Dense, bias
from metatoolagent.tasks.packing import Pack
from metatoolagent.tasks.prompts import Template


@dataclass(frozen=True)
class Reading:
    """Where some questions of a pack stand once it was read."""

    token_U: Tensor
    """The first token of each answer."""
    position_U: Tensor
    """Of the last token of each question."""
    seen_US: Tensor
    """Whether a question sees a key."""
    states: Sequence[tuple[Tensor, Tensor]]
    """Keys and values of each layer, (1, key-value heads, S, head size)."""


def reading(pack: Pack, cache: DynamicCache, logits_KV: Tensor, which: Sequence[int]) -> Reading:
    """Return where questions stand, with no more of the cache than they see.

    Args:
        pack: what was read.
        cache: what was read before the pack, and the pack.
        logits_KV: of the pass over it.
        which: indices of the questions.
    """
    ask_U = pack.ask_Q[list(which)]
    last_U = pack.keep_K[ask_U]
    seen_UT = (pack.node_T == 0) | (pack.node_T == pack.node_T[last_U][:, None])
    seen_UT = nn.functional.pad(seen_UT, (pack.before, 0), value=True)
    kept_S = seen_UT.any(0).nonzero()[:, 0]
    states = [(layer.keys.index_select(2, kept_S), layer.values.index_select(2, kept_S)) for layer in cache.layers]
    return Reading(logits_KV[ask_U].argmax(-1), pack.position_ids_T[last_U], seen_UT[:, kept_S], states)


@torch.no_grad()
def generate(
    model: nn.Module,
    weights: Tensors | None,
    readings: Sequence[Reading],
    template: Template,
    ends: Sequence[int],
    max_new_tokens: int,
) -> list[tuple[str, bool]]:
    """Return the greedy answer to each question of each reading, one after the other, and whether it was cut off.

    Args:
        model: the backbone, or the adapted backbone.
        weights: the LoRA tensors; None for the backbone alone.
        readings: at least one.
        template: the backbone's.
        ends: the tokens of which each ends an answer.
        max_new_tokens: limit of an answer.
    """
    step = Step(model, cast(weights, next(model.parameters()).dtype), together(readings))
    position_RU = _padded([one.position_U for one in readings])
    # What fills a sequence up has ended from the start.
    taken = [_padded([one.token_U for one in readings], ends[0])]
    seen_RUS = _padded([one.seen_US for one in readings])
    own_UU = torch.eye(position_RU.shape[1], dtype=torch.bool, device=position_RU.device).expand(len(readings), -1, -1)
    end_E = torch.tensor(ends, device=position_RU.device)
    ended_RU = torch.isin(taken[-1], end_E)
    while len(taken) < max_new_tokens and not bool(ended_RU.all()):
        position_RU = position_RU + 1
        seen_RUS = torch.cat([seen_RUS, own_UU], 2)
        taken.append(step(taken[-1], position_RU, seen_RUS))
        ended_RU |= torch.isin(taken[-1], end_E)
    answers = torch.stack(taken, 2).tolist()
    return [
        _text(template, tokens, ends)
        for one, of_set in zip(readings, answers, strict=True)
        for tokens in of_set[: len(one.token_U)]
    ]


def together(readings: Sequence[Reading]) -> DynamicCache:
    """Return the states of all readings in one cache, a sequence each."""
    cache, length = DynamicCache(), max(one.seen_US.shape[1] for one in readings)
    for layer in range(len(readings[0].states)):
        key, value = (
            torch.cat([nn.functional.pad(state, (0, 0, 0, length - state.shape[2])) for state in states])
            for states in zip(*(one.states[layer] for one in readings), strict=True)
        )
        cache.update(key, value, layer)
    return cache


def _padded(parts: Sequence[Tensor], filling: int = 0) -> Tensor:
    """Return tensors of one number of dimensions as one, the readings first, each filled up at the ends of its dimensions."""
    sizes = [max(sizes) for sizes in zip(*(part.shape for part in parts), strict=True)]
    whole = parts[0].new_full((len(parts), *sizes), filling)
    for index, part in enumerate(parts):
        whole[index][tuple(slice(size) for size in part.shape)] = part
    return whole


@dataclass(frozen=True)
class Step:
    """One step of decoding: a token for every question of every reading."""

    model: nn.Module
    weights: Mapping[str, Tensor]
    cache: DynamicCache

    def __call__(self, token_RU: Tensor, position_RU: Tensor, seen_RUS: Tensor) -> Tensor:
        """Return the next token of each question (R, U), given the last ones and what each sees of all keys."""
        call = {
            "input_ids": token_RU,
            "position_ids": position_RU,
            "tree": Dense(bias(seen_RUS, next(self.model.parameters()).dtype)[:, None]),
            "use_cache": True,
            "past_key_values": self.cache,
        }
        next_RU: Tensor = torch.func.functional_call(self.model, dict(self.weights), (), call).logits.argmax(-1)
        return next_RU


def _text(template: Template, tokens: list[int], ends: Sequence[int]) -> tuple[str, bool]:
    """Return the text up to the first end token, and whether there was none."""
    end = next((index for index, token in enumerate(tokens) if token in ends), None)
    return str(template.tokenizer.decode(tokens[:end])), end is None
