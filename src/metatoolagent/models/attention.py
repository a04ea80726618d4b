"""Attention over a pack's token tree, by blocks: the prefix to itself, each question to the prefix and to itself.

A dense masked kernel computes all T x T scores, most of which the mask throws away, and its backward pass in
bfloat16 is slow on CPUs. Here the R tokens below the prefix are gathered into Q blocks of L tokens (padded), and only
R x P and Q x L x L scores are computed. It is plain matrix products, so it can be differentiated twice, which the
fused kernels cannot. Softmax(q k^T / sqrt(d)) v as in Vaswani et al. 2017 (arXiv 1706.03762), equation 1.

Tokens that were read before the pack and whose keys and values a cache holds belong to the prefix of all of it.

Shapes: T tokens, P of them prefix, R the rest, S keys (of the tokens before the pack, then of the pack), Q questions, L
tokens a block, H heads, G key-value heads, M query heads for each of them, D head size.
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

    before: int
    """Tokens before the pack."""
    prefix: int
    block_QL: Tensor
    """Index of each block's tokens in the pack; padding repeats the block's first token."""
    place_R: Tensor
    """Index of each token below the prefix in the flattened blocks."""
    prefix_bias_PS: Tensor
    """For the first `shared` keys."""
    block_bias_QLL: Tensor

    @property
    def shared(self) -> int:
        """Keys that every token below the prefix sees."""
        return self.before + self.prefix


@dataclass(frozen=True)
class Dense:
    """What each token of a step sees of everything so far, as a bias added to the scores (new tokens, all tokens)."""

    bias: Tensor


def layout(pack: Pack, dtype: torch.dtype) -> Layout:
    """Return the layout of a pack whose root is the prefix, with biases in the type of the activations."""
    before, prefix = pack.before, int((pack.node_T == 0).sum())
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
    order_S = torch.arange(before + prefix, device=pack.node_T.device)
    seen_PS = order_S[before:, None] >= order_S
    return Layout(before, prefix, block_QL, place_R, bias(seen_PS, dtype), bias(seen_QLL, dtype))


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
        key: (1, G, S, D).
        value: (1, G, S, D).
        attention_mask: unused; the layout has the biases.
        scaling: factor of the scores.
        tree: the pack's layout, passed to the model's forward as a keyword; a step of decoding passes a bias.
    """
    del module, attention_mask
    groups, (length, size) = key.shape[1], query.shape[2:]
    q_GMTD = (query[0] * scaling).view(groups, -1, length, size)
    k_GSD, v_GSD = key[0], value[0]
    if isinstance(tree, Dense):
        out = _attend(q_GMTD, k_GSD, v_GSD, tree.bias)
        return out.reshape(1, -1, length, size).transpose(1, 2), None
    shared = tree.shared
    top = _attend(q_GMTD[:, :, : tree.prefix], k_GSD[:, :shared], v_GSD[:, :shared], tree.prefix_bias_PS)
    below = _blocks(q_GMTD, k_GSD, v_GSD, tree)
    out_GMTD = torch.cat([top, below], 2)
    return out_GMTD.reshape(1, -1, length, size).transpose(1, 2), None


def _attend(q_GMTD: Tensor, k_GSD: Tensor, v_GSD: Tensor, bias_TS: Tensor) -> Tensor:
    """Return the attention of T tokens to S tokens (G, M, T, D)."""
    groups, members, length, size = q_GMTD.shape
    scores = q_GMTD.reshape(groups, -1, size) @ k_GSD.transpose(1, 2)
    p = (scores.view(groups, members, length, -1) + bias_TS).softmax(-1)
    return (p.view(groups, members * length, -1) @ v_GSD).view(groups, members, length, size)


def _blocks(q_GMTD: Tensor, k_GSD: Tensor, v_GSD: Tensor, tree: Layout) -> Tensor:
    """Return the attention of all tokens below the prefix (G, M, R, D)."""
    groups, members, _, size = q_GMTD.shape
    questions, longest = tree.block_QL.shape
    shared, in_pack = tree.shared, tree.block_QL.flatten()
    in_keys = tree.before + in_pack
    q = q_GMTD.index_select(2, in_pack)
    to_prefix = (q.view(groups, -1, size) @ k_GSD[:, :shared].transpose(1, 2)).view(groups, members, questions, longest, -1)
    q_blocks = q.view(groups, members, questions, longest, size).transpose(1, 2).reshape(groups * questions, -1, size)
    k_blocks = k_GSD.index_select(1, in_keys).view(groups * questions, longest, size)
    v_blocks = v_GSD.index_select(1, in_keys).view(groups * questions, longest, size)
    to_block = (q_blocks @ k_blocks.transpose(1, 2)).view(groups, questions, members, longest, longest).transpose(1, 2)
    p = torch.cat([to_prefix, to_block + tree.block_bias_QLL], -1).softmax(-1)
    from_prefix = p[..., :shared].reshape(groups, -1, shared) @ v_GSD[:, :shared]
    own = p[..., shared:].transpose(1, 2).reshape(groups * questions, -1, longest) @ v_blocks
    own = own.view(groups, questions, members, longest, size).transpose(1, 2)
    out = from_prefix.view(groups, members, -1, size) + own.reshape(groups, members, -1, size)
    return out.index_select(2, tree.place_R)


AttentionInterface.register(IMPLEMENTATION, tree_attention)
