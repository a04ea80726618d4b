"""Out of memory: the questions of a pack are computed in parts, one after the other, to the same result.

A pack's loss is one number per question, and no question sees another, so the parts' losses in a row are the pack's:
    grad mean_q L_q = sum_parts sum_{q in part} 1/Q grad L_q,
and its product with a vector likewise. Each part keeps no activations: its gradient, and the derivative of its
gradient, compute the part anew. So one part's activations are all that is in memory at any time.
"""

import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metatoolagent.errors import Exit, UserError, warning
from metatoolagent.meta.inner_loop import Evaluate
from metatoolagent.meta.losses import Outcome
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.channel import AnyPack, split


def evaluate_in_parts(evaluate: Evaluate, weights: Tensors, pack: AnyPack, parts: int) -> Outcome:
    """Return the outcome of a pack, computed in at most `parts` parts; twice differentiable in `weights`."""
    if min(parts, len(pack.gold_Q)) == 1:
        return evaluate(weights, pack)
    pieces = split(pack, parts)
    outcomes = [_Loss.apply(evaluate, piece, tuple(weights), *weights.values()) for piece in pieces]  # type: ignore[no-untyped-call]
    losses, rights = zip(*outcomes, strict=True)
    return Outcome(torch.cat(losses), torch.cat(rights))


class _Loss(torch.autograd.Function):
    """The losses of a part (Q) and whether its answers are right (Q)."""

    @staticmethod
    def forward(ctx: Any, evaluate: Evaluate, pack: AnyPack, names: tuple[str, ...], *tensors: Tensor) -> tuple[Tensor, Tensor]:
        outcome = evaluate(dict(zip(names, tensors, strict=True)), pack)
        ctx.given = evaluate, pack, names
        ctx.save_for_backward(*tensors)
        ctx.mark_non_differentiable(outcome.right_Q)
        return outcome.loss_Q, outcome.right_Q

    @staticmethod
    def backward(ctx: Any, slope_Q: Tensor, _: Tensor) -> tuple[Any, ...]:
        return None, None, None, *_Gradient.apply(*ctx.given, slope_Q, *ctx.saved_tensors)  # type: ignore[no-untyped-call]


class _Gradient(torch.autograd.Function):
    """The gradient of sum_q slope_q L_q with respect to each tensor."""

    @staticmethod
    def forward(
        ctx: Any, evaluate: Evaluate, pack: AnyPack, names: tuple[str, ...], slope_Q: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.given = evaluate, pack, names
        ctx.save_for_backward(slope_Q, *tensors)
        return _gradient(evaluate, pack, names, slope_Q, _leaves(tensors))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *vector: Tensor) -> tuple[Any, ...]:
        slope_Q, *tensors = _leaves(ctx.saved_tensors)
        evaluate, pack, names = ctx.given
        slopes = _gradient(evaluate, pack, names, slope_Q, tensors, create_graph=True)
        return None, None, None, *torch.autograd.grad(slopes, [slope_Q, *tensors], vector, materialize_grads=True)


def _leaves(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor.detach().requires_grad_() for tensor in tensors]


def _gradient(
    evaluate: Evaluate,
    pack: AnyPack,
    names: tuple[str, ...],
    slope_Q: Tensor,
    tensors: list[Tensor],
    *,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        loss_Q = evaluate(dict(zip(names, tensors, strict=True)), pack).loss_Q
        return torch.autograd.grad(loss_Q, tensors, slope_Q, create_graph=create_graph, materialize_grads=True)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch found no memory, on a GPU or on the CPU."""
    told = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in told)


def more_parts(parts: int, packs: Iterable[AnyPack], update: int, message: str) -> int:
    """Return twice as many parts, after a warning.

    Args:
        parts: in how many parts packs were computed when memory ran out.
        packs: what was computed.
        update: its number, for the message.
        message: torch's.

    Raises:
        UserError: E-OOM if the packs cannot be divided further.
    """
    largest = max(packs, key=lambda pack: (len(pack.gold_Q), pack.tokens))
    if parts >= len(largest.gold_Q):
        raise UserError(
            "E-OOM",
            f"no memory at update {update} for one question at a time",
            f"a pack of {len(largest.gold_Q)} questions, {largest.tokens} tokens, {largest.rows} rows of logits",
            message.splitlines()[0],
            "lower distractors or adapter.rank, set train.activation_checkpointing, or choose a smaller backbone",
            kept="no update was applied; the last checkpoint is kept",
            exit_code=Exit.PARAMS,
        )
    told = f"out of memory at update {update}: from here on packs are computed in {2 * parts} parts,"
    told += " which takes longer and gives the same result up to rounding"
    print(warning("W-OOM", told), file=sys.stderr)  # noqa: T201
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return 2 * parts
