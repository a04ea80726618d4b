"""Attention over a pack's token tree, by blocks: the prefix to itself, each question to the prefix and to itself.

A dense masked kernel computes all T x T scores, most of which the mask throws away, and its backward pass in
bfloat16 is slow on CPUs. Here the R tokens below the prefix are gathered into Q blocks of L tokens (padded), and only
R x P and Q x L x L scores are computed. In evaluation torch's fused kernels compute the blocks, and keep no scores. In
training it is plain matrix products, which can be differentiated twice; the fused kernels cannot.
Softmax(q k^T / sqrt(d)) v as in Vaswani et al. 2017 (arXiv 1706.03762), equation 1.

Tokens that were read before the pack and whose keys and values a cache holds belong to the prefix of all of it.

Shapes: T tokens, P of them prefix, R the rest, S keys (of the tokens before the pack, then of the pack), Q questions, L
tokens a block, H heads, G key-value heads, M query heads for each of them, D head size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from metatoolagent.errors import Exit, UserError
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
    fused: bool
    """Whether fused kernels compute the blocks."""

    @property
    def shared(self) -> int:
        """Keys that every token below the prefix sees."""
        return self.before + self.prefix

    @cached_property
    def bias_of_blocks(self) -> Tensor:
        """What is added to the scores of a block's tokens (Q, L, shared + L): for the shared keys, then for the block's own."""
        return nn.functional.pad(self.block_bias_QLL, (self.shared, 0))


@dataclass(frozen=True)
class Dense:
    """What each token of a step of decoding sees of everything so far, as a bias added to the scores.

    Its shape is (sequences, 1, new tokens, all tokens).
    """

    bias: Tensor


def layout(pack: Pack, dtype: torch.dtype, *, fused: bool = False) -> Layout:
    """Return the layout of a pack whose root is the prefix.

    Args:
        pack: the pack.
        dtype: of the biases: that of the activations.
        fused: whether fused kernels may compute it, which cannot be differentiated twice.
    """
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
    return Layout(before, prefix, block_QL, place_R, bias(seen_PS, dtype), bias(seen_QLL, dtype), fused)


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
    softcap: float | None = None,
    sliding_window: int | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return the attention's output (1, T, H, D), as transformers' attention interface asks.

    Args:
        module: the attention layer; unused.
        query: (1, H, T, D); a step of decoding may have several sequences in place of 1.
        key: (1, G, S, D).
        value: (1, G, S, D).
        attention_mask: unused; the layout has the biases.
        scaling: factor of the scores.
        tree: the pack's layout, passed to the model's forward as a keyword; a step of decoding passes a bias.
        softcap: bound of the scores, as Gemma 2 has.
        sliding_window: how far back a token sees, as Mistral's do.
        s_aux: scores of attention sinks, as gpt-oss has.

    Raises:
        UserError: E-BACKBONE if the model's attention is another one than this computes.
    """
    del module, attention_mask
    furthest = key.shape[2] if isinstance(tree, Dense) else tree.shared + tree.block_QL.shape[1]
    if softcap is not None or s_aux is not None or (sliding_window is not None and furthest > sliding_window):
        raise UserError(
            "E-BACKBONE",
            "the model's attention bounds its scores, has sinks, or a window that is shorter than the prompt",
            "params.yaml, key backbone.source",
            fix="choose a model with plain attention, as those of the Llama and Qwen families",
            exit_code=Exit.PARAMS,
        )
    if isinstance(tree, Dense):
        attend = nn.functional.scaled_dot_product_attention
        return attend(query, key, value, attn_mask=tree.bias, scale=scaling, enable_gqa=True).transpose(1, 2), None
    if tree.fused:
        return _fused(query, key, value, scaling, tree), None
    groups, (length, size) = key.shape[1], query.shape[2:]
    q_GMTD = (query[0] * scaling).view(groups, -1, length, size)
    k_GSD, v_GSD = key[0], value[0]
    # Split, not sliced: the gradient of each slice would be zeros of the whole's size, but for the slice.
    below = length - tree.prefix
    q_GMPD, q_GMRD = q_GMTD.split_with_sizes([tree.prefix, below], 2)
    k, v = (state.split_with_sizes([tree.shared, below], 1) for state in (k_GSD, v_GSD))
    top = _attend(q_GMPD, k[0], v[0], tree.prefix_bias_PS)
    out_GMTD = torch.cat([top, _blocks(q_GMRD, k, v, tree)], 2)
    return out_GMTD.reshape(1, -1, length, size).transpose(1, 2), None


def _fused(query: Tensor, key: Tensor, value: Tensor, scaling: float, tree: Layout) -> Tensor:
    """Return the attention's output (1, T, H, D) by fused kernels, a block of tokens as one sequence of a batch."""
    attend = nn.functional.scaled_dot_product_attention
    questions, longest = tree.block_QL.shape
    gathered = tree.block_QL.flatten() - tree.prefix
    below = query.shape[2] - tree.prefix
    (q_prefix, q_rest), (k_shared, k_rest), (v_shared, v_rest) = (
        state.split_with_sizes([first, below], 2)
        for state, first in ((query, tree.prefix), (key, tree.shared), (value, tree.shared))
    )

    def blocks(state: Tensor) -> Tensor:
        return state.index_select(2, gathered).view(-1, questions, longest, state.shape[3]).transpose(0, 1)

    # The kernel for causal scores skips those that are not seen, and has no place for tokens before the pack.
    mask = tree.prefix_bias_PS if tree.before else None
    top = attend(q_prefix, k_shared, v_shared, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=True)
    k_blocks, v_blocks = (
        torch.cat([shared.expand(questions, -1, -1, -1), blocks(rest)], 2)
        for shared, rest in ((k_shared, k_rest), (v_shared, v_rest))
    )
    out = attend(blocks(q_rest), k_blocks, v_blocks, attn_mask=tree.bias_of_blocks[:, None], scale=scaling, enable_gqa=True)
    flat = out.transpose(0, 1).reshape(1, query.shape[1], -1, query.shape[3])
    return torch.cat([top, flat.index_select(2, tree.place_R)], 2).transpose(1, 2)


def _attend(q_GMTD: Tensor, k_GSD: Tensor, v_GSD: Tensor, bias_TS: Tensor) -> Tensor:
    """Return the attention of T tokens to S tokens (G, M, T, D)."""
    groups, members, length, size = q_GMTD.shape
    scores = q_GMTD.reshape(groups, -1, size) @ k_GSD.transpose(1, 2)
    p = (scores.view(groups, members, length, -1) + bias_TS).softmax(-1)
    return (p.view(groups, members * length, -1) @ v_GSD).view(groups, members, length, size)


def _blocks(q_GMRD: Tensor, k: Sequence[Tensor], v: Sequence[Tensor], tree: Layout) -> Tensor:
    """Return the attention of all tokens below the prefix (G, M, R, D).

    Args:
        q_GMRD: their queries.
        k: keys of the tokens that all of them see, and their own.
        v: values, likewise.
        tree: the layout.
    """
    groups, members, _, size = q_GMRD.shape
    questions, longest = tree.block_QL.shape
    gathered = tree.block_QL.flatten() - tree.prefix
    q = q_GMRD.index_select(2, gathered)
    to_prefix = (q.view(groups, -1, size) @ k[0].transpose(1, 2)).view(groups, members, questions, longest, -1)
    q_blocks = q.view(groups, members, questions, longest, size).transpose(1, 2).reshape(groups * questions, -1, size)
    k_blocks, v_blocks = (own.index_select(1, gathered).view(groups * questions, longest, size) for own in (k[1], v[1]))
    to_block = (q_blocks @ k_blocks.transpose(1, 2)).view(groups, questions, members, longest, longest).transpose(1, 2)
    p = torch.cat([to_prefix, to_block + tree.block_bias_QLL], -1).softmax(-1)
    p_prefix, p_own = p.split_with_sizes([tree.shared, longest], -1)
    from_prefix = p_prefix.reshape(groups, -1, tree.shared) @ v[0]
    own = p_own.transpose(1, 2).reshape(groups * questions, -1, longest) @ v_blocks
    own = own.view(groups, questions, members, longest, size).transpose(1, 2)
    out = from_prefix.view(groups, members, -1, size) + own.reshape(groups, members, -1, size)
    return out.index_select(2, tree.place_R)


AttentionInterface.register(IMPLEMENTATION, tree_attention)
