"""The losses of a pack, from one forward pass.

`answer` is the cross-entropy of the right name's tokens, a mean over tokens and then over tasks:
    L = -1/Q sum_q 1/|a_q| sum_t log p(a_q,t | prefix, question q, a_q,<t)
`selection` is the cross-entropy over the candidates' log-probabilities, plus a share w of `answer`:
    L = -1/Q sum_q [ s_q,gold - logsumexp_c s_q,c ] + w L_answer,    s_q,c = sum_t log p(a_c,t | ...)
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metatoolagent import params
from metatoolagent.models.adapter import Tensors, logits
from metatoolagent.tasks.packing import Pack


@dataclass(frozen=True)
class Outcome:
    """What a forward pass over a pack gave."""

    loss_Q: Tensor
    """Loss of each task, in nats."""
    right_Q: Tensor
    """Whether greedy decoding gives the right answer, token for token."""

    @property
    def loss(self) -> Tensor:
        """The mean over the tasks."""
        return self.loss_Q.mean()


def log_probabilities(logits_KV: Tensor, pack: Pack) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each answer token (A), in nats, and whether it is the most probable one (A)."""
    log_p_KV = logits_KV.log_softmax(-1)
    log_p_A = log_p_KV[pack.row_A, pack.target_A]
    return log_p_A, logits_KV.detach().argmax(-1)[pack.row_A] == pack.target_A


def by_branch(values_A: Tensor, pack: Pack) -> Tensor:
    """Return the sums of token values over each branch (Q, C)."""
    total = torch.zeros(int(pack.branch_A[-1]) + 1, dtype=values_A.dtype, device=values_A.device)
    return total.index_add(0, pack.branch_A, values_A).view(len(pack.gold_Q), -1)


def evaluate(model: nn.Module, weights: Tensors | None, pack: Pack, train: params.Train) -> Outcome:
    """Return the loss of each task of a pack; differentiable in `weights`."""
    log_p_A, top_A = log_probabilities(logits(model, weights, pack), pack)
    tasks = torch.arange(len(pack.gold_Q), device=log_p_A.device)
    scores_QC = by_branch(log_p_A, pack)
    lengths_QC = by_branch(torch.ones_like(log_p_A), pack)
    right_Q = (by_branch(top_A.float(), pack) == lengths_QC)[tasks, pack.gold_Q]
    answer_Q = -(scores_QC / lengths_QC)[tasks, pack.gold_Q]
    if train.loss == "answer":
        return Outcome(answer_Q, right_Q)
    selection_Q = -scores_QC.log_softmax(-1)[tasks, pack.gold_Q]
    return Outcome(selection_Q + train.answer_share * answer_Q, right_Q)


def gradient(loss: Tensor, weights: Tensors) -> Tensors:
    """Return the gradient of a loss with respect to `weights`, which it was computed with."""
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


def leaves(tensors: Tensors) -> Tensors:
    """Return copies that gradients can be taken with respect to."""
    return {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
