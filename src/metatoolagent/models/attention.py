"""Attention over a pack's token tree, by blocks: the prefix to itself, each question to the prefix and to itself.

A dense masked kernel computes all T x T scores, most of which the mask throws away, and its backward pass in
bfloat16 is slow on CPUs. Here the R tokens below the prefix are gathered into Q blocks of L tokens (padded), and only
R x P and Q x L x L scores are computed. It is plain matrix products, so it can be differentiated twice, which the
fused kernels cannot. Softmax(q k^T / sqrt(d)) v as in Vaswani et al. 2017 (arXiv 1706.03762), equation 1.

Shapes: T tokens, P of them prefix, R the rest, Q questions, L tokens a block, H heads, G key-value heads, M query
heads for each of them, D head size.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from metatoolagent.tasks.packing import Pack

IMPLEMENTATION = "metatoolagent_tree"
HIDDEN = -1e9
"""Added to scores that a token may not see; finite, so that an all-hidden padding row stays finite."""


@dataclass(frozen=True)
class Layout:
    """Where the blocks of a pack lie, and what their tokens see."""

    prefix: int
    block_QL: Tensor
    """Index of each block's tokens in the sequence; padding repeats the block's first token."""
    place_R: Tensor
    """Index of each token below the prefix in the flattened blocks."""
    prefix_bias_PP: Tensor
    block_bias_QLL: Tensor


@dataclass(frozen=True)
class Dense:
    """What each token of a step sees of everything so far, as a bias added to the scores (new tokens, all tokens)."""

    bias: Tensor


def layout(pack: Pack, dtype: torch.dtype) -> Layout:
    """Return the layout of a pack whose root is the prefix, with biases in the type of the activations."""
    prefix = int((pack.node_T == 0).sum())
    # Every later node belongs to the last question before it.
    question_R = (pack.questions().cumsum(0) - 1)[pack.node_T[prefix:]]
    lengths_Q = torch.bincount(question_R)
    longest = int(lengths_Q.max())
    starts_Q = prefix + lengths_Q.cumsum(0) - lengths_Q
    offset_L = torch.arange(longest, device=pack.node_T.device)
    real_QL = offset_L < lengths_Q[:, None]
    block_QL = torch.where(real_QL, starts_Q[:, None] + offset_L, starts_Q[:, None])
    node_QL = pack.node_T[block_QL]
    seen_QLL = pack.above_NN[node_QL[:, :, None], node_QL[:, None]] & (offset_L[:, None] >= offset_L) & real_QL[:, None]
    place_R = real_QL.flatten().nonzero()[:, 0]
    order = torch.arange(prefix, device=pack.node_T.device)
    return Layout(prefix, block_QL, place_R, bias(order[:, None] >= order, dtype), bias(seen_QLL, dtype))


def bias(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what is added to the scores: 0 where a token is seen, a large negative number elsewhere."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, HIDDEN)


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    tree: Layout | Dense,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return the attention's output (1, T, H, D), as transformers' attention interface asks.

    Args:
        module: the attention layer; unused.
        query: (1, H, T, D).
        key: (1, G, T, D).
        value: (1, G, T, D).
        attention_mask: unused; the layout has the biases.
        scaling: factor of the scores.
        tree: the pack's layout, passed to the model's forward as a keyword; a step of decoding passes a bias.
    """
    del module, attention_mask
    groups, (length, size) = key.shape[1], query.shape[2:]
    q_GMTD = (query[0] * scaling).view(groups, -1, length, size)
    k_GTD, v_GTD = key[0], value[0]
    if isinstance(tree, Dense):
        out = _attend(q_GMTD, k_GTD, v_GTD, tree.bias)
        return out.reshape(1, -1, length, size).transpose(1, 2), None
    prefix = tree.prefix
    top = _attend(q_GMTD[:, :, :prefix], k_GTD[:, :prefix], v_GTD[:, :prefix], tree.prefix_bias_PP)
    below = _blocks(q_GMTD, k_GTD, v_GTD, tree)
    out_GMTD = torch.cat([top, below], 2)
    return out_GMTD.reshape(1, -1, length, size).transpose(1, 2), None


def _attend(q_GMTD: Tensor, k_GSD: Tensor, v_GSD: Tensor, bias_TS: Tensor) -> Tensor:
    """Return the attention of T tokens to S tokens (G, M, T, D)."""
    groups, members, length, size = q_GMTD.shape
    scores = q_GMTD.reshape(groups, -1, size) @ k_GSD.transpose(1, 2)
    p = (scores.view(groups, members, length, -1) + bias_TS).softmax(-1)
    return (p.view(groups, members * length, -1) @ v_GSD).view(groups, members, length, size)


def _blocks(q_GMTD: Tensor, k_GTD: Tensor, v_GTD: Tensor, tree: Layout) -> Tensor:
    """Return the attention of all tokens below the prefix (G, M, R, D)."""
    groups, members, _, size = q_GMTD.shape
    questions, longest = tree.block_QL.shape
    index = tree.block_QL.flatten()
    q = q_GMTD.index_select(2, index)
    to_prefix = (q.view(groups, -1, size) @ k_GTD[:, : tree.prefix].transpose(1, 2)).view(groups, members, questions, longest, -1)
    q_blocks = q.view(groups, members, questions, longest, size).transpose(1, 2).reshape(groups * questions, -1, size)
    k_blocks = k_GTD.index_select(1, index).view(groups * questions, longest, size)
    v_blocks = v_GTD.index_select(1, index).view(groups * questions, longest, size)
    to_block = (q_blocks @ k_blocks.transpose(1, 2)).view(groups, questions, members, longest, longest).transpose(1, 2)
    p = torch.cat([to_prefix, to_block + tree.block_bias_QLL], -1).softmax(-1)
    from_prefix = p[..., : tree.prefix].reshape(groups, -1, tree.prefix) @ v_GTD[:, : tree.prefix]
    own = p[..., tree.prefix :].transpose(1, 2).reshape(groups * questions, -1, longest) @ v_blocks
    own = own.view(groups, questions, members, longest, size).transpose(1, 2)
    out = from_prefix.view(groups, members, -1, size) + own.reshape(groups, members, -1, size)
    return out.index_select(2, tree.place_R)


AttentionInterface.register(IMPLEMENTATION, tree_attention)
