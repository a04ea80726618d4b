"""A LoRA layer as one operation: fewer passes over the activations than PEFT's own forward, and less kept.

y = x W^T + s (x A^T) B^T (Hu et al. 2021, arXiv 2106.09685, equation 3), s = alpha / rank, W frozen. With u = s dy B:
dx = dy W + u A, dA = u^T x, dB = s dy^T (x A^T). Only x is kept, x A^T is computed again: r columns cost less than keeping
them. The backward pass is made of differentiable operations, so it can be differentiated once more (`exact`).

Shapes: N tokens, I inputs, O outputs, r rank.
"""

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn

ADAPTER = "default"
"""PEFT's name of the adapter."""


class _Product(torch.autograd.Function):
    """x (N, I), W (O, I), A (r, I), B (O, r) and the scale s to y (N, O)."""

    @staticmethod
    def forward(x_NI: Tensor, w_OI: Tensor, a_rI: Tensor, b_Or: Tensor, scale: float) -> Tensor:
        return (x_NI @ w_OI.T).addmm_(x_NI @ a_rI.T, b_Or.T, alpha=scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor, float], output: Tensor) -> None:
        del output
        *tensors, ctx.scale = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, dy_NO: Tensor) -> tuple[Tensor | None, None, Tensor | None, Tensor | None, None]:
        x_NI, w_OI, a_rI, b_Or = ctx.saved_tensors
        u_Nr = (dy_NO @ b_Or) * ctx.scale
        dx_NI = torch.addmm(dy_NO @ w_OI, u_Nr, a_rI) if ctx.needs_input_grad[0] else None
        da_rI = u_Nr.T @ x_NI if ctx.needs_input_grad[2] else None
        db_Or = (dy_NO.T @ (x_NI @ a_rI.T)) * ctx.scale if ctx.needs_input_grad[3] else None
        return dx_NI, None, da_rI, db_Or, None


def fuse(adapted: nn.Module) -> None:
    """Let every LoRA layer of a model that has no dropout, DoRA or bias compute in one operation, as PEFT would."""
    for layer in adapted.modules():
        if isinstance(layer, Linear) and _is_plain(layer):
            layer.forward = MethodType(_forward, layer)


def _is_plain(layer: Any) -> bool:
    return layer.base_layer.bias is None and not layer.use_dora[ADAPTER] and not layer.lora_bias[ADAPTER]


def _forward(layer: Any, x: Tensor) -> Tensor:
    """Return the layer's output (..., O) for its input (..., I); weights are looked up now, since each call brings its own."""
    a_rI, b_Or = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    x_NI, scale = x.reshape(-1, x.shape[-1]), layer.scaling[ADAPTER]
    y_NO: Tensor = _Product.apply(x_NI, layer.base_layer.weight, a_rI, b_Or, scale)  # type: ignore[no-untyped-call]
    return y_NO.view(*x.shape[:-1], -1)
