"""Tokens that stand before every candidate set, such as demonstrations: read once, and seen by every pack."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from metatoolagent.models.adapter import Tensors, forward
from metatoolagent.tasks.packing import pack


@dataclass(frozen=True)
class Opening:
    """What is left of the tokens once they were read."""

    length: int
    states: list[tuple[Tensor, Tensor]]
    """Keys and values of each layer, (1, key-value heads, length, head size)."""

    def cache(self) -> DynamicCache:
        """Return a cache that begins with the tokens, and that a pass may add to."""
        cache = DynamicCache()
        for layer, (key, value) in enumerate(self.states):
            cache.update(key, value, layer)
        return cache


@torch.no_grad()
def read(model: nn.Module, weights: Tensors | None, tokens: Sequence[int], context: int) -> Opening:
    """Read the tokens, the last one as a question below the others.

    Args:
        model: the backbone, or the adapted backbone.
        weights: the LoRA tensors; None for the backbone alone.
        tokens: at least two.
        context: positions that the model has.

    Raises:
        UserError: E-CTX if they are more than that.
    """
    whole = pack(tokens[:-1], [tokens[-1:]], [], [0], ["demonstrations"], context=context)
    packed, cache = whole.to(next(model.parameters()).device), DynamicCache()
    forward(model, weights, packed, logits_to_keep=packed.keep_K, use_cache=True, past_key_values=cache)
    return Opening(len(tokens), [(layer.keys, layer.values) for layer in cache.layers])
