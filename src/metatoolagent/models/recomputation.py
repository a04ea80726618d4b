"""Activation checkpointing: the backward pass recomputes each decoder layer instead of keeping its activations.

Chen et al. 2016 (arXiv 1604.06174). What is kept is each layer's input; the gradients are the same.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


def recompute_layers(model: nn.Module) -> None:
    """Let every decoder layer of a model recompute itself in the backward pass."""
    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.forward = _recomputed(layer)


def _recomputed(layer: nn.Module) -> Callable[..., Any]:
    # A shallow copy has the same submodules, and the forward that the layer is about to lose.
    plain = copy.copy(layer)

    def forward(*args: Any, **options: Any) -> Any:
        # The LoRA tensors are in the model only while `functional_call` runs, which is over when the backward pass
        # comes: the recomputation brings its own. transformers' own checkpointing would read PEFT's placeholders.
        weights = {name: tensor for name, tensor in layer.named_parameters() if tensor.requires_grad}
        if not weights or not torch.is_grad_enabled():
            return plain(*args, **options)
        # Nothing is random in a layer (the model is in evaluation mode), so no generator's state is kept.
        return checkpoint(functional_call, plain, weights, args, options, use_reentrant=False, preserve_rng_state=False)

    return forward
