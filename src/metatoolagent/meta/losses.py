"""The losses of a pack, from one forward pass.

`answer` is the cross-entropy of the right name's tokens, a mean over tokens and then over tasks:
    L = -1/Q sum_q 1/|a_q| sum_t log p(a_q,t | prefix, question q, a_q,<t)
`selection` is that of the right name where only candidates' names can be said, plus a share w of `answer`:
    L = -1/Q sum_q sum_t [ z_q,t(a_q,t) - logsumexp_{v in V_q,t} z_q,t(v) ] + w L_answer,
with the logits z_q,t before the t-th token of the right name, and V_q,t the tokens by which candidates' names go on there that
began as the right one (decoding along a trie of names: De Cao et al. 2021, arXiv 2010.00904). It reads the right name alone.
Of a channel pack it is the same cross-entropy over the question's log-probabilities, after the documentation of each candidate:
    L = -1/Q sum_q [ s_q,gold - logsumexp_c s_q,c ],    s_q,c = sum_t log p(q_t | documentation of c, q_<t)
Query likelihood trained to tell candidates apart: dos Santos et al. 2020, arXiv 2010.03073.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metatoolagent import params
from metatoolagent.models.adapter import Tensors, logits
from metatoolagent.tasks.channel import AnyPack, Channel
from metatoolagent.tasks.packing import NO_RIVAL, Pack


@dataclass(frozen=True)
class Outcome:
    """What a forward pass over a pack gave."""

    loss_Q: Tensor
    """Loss of each task, in nats."""
    right_Q: Tensor
    """Whether greedy decoding gives the right answer, token for token; of a channel pack, whether the best candidate is right."""

    @property
    def loss(self) -> Tensor:
        """The mean over the tasks."""
        return self.loss_Q.mean()


def log_probabilities(logits_KV: Tensor, pack: Pack) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each answer token (A), in nats, and whether it is the most probable one (A)."""
    log_p_KV = logits_KV.log_softmax(-1)
    log_p_A = log_p_KV[pack.row_A, pack.target_A]
    return log_p_A, logits_KV.detach().argmax(-1)[pack.row_A] == pack.target_A


def among_names(logits_KV: Tensor, pack: Pack) -> Tensor:
    """Return the log-probability of each answer token (A) among the tokens by which a name can go on there, in nats."""
    rivals_AR = logits_KV[pack.row_A[:, None], pack.rival_AR.clamp_min(0)]
    open_AR = rivals_AR.masked_fill(pack.rival_AR == NO_RIVAL, float("-inf"))
    return logits_KV[pack.row_A, pack.target_A] - open_AR.logsumexp(-1)


def by_branch(values_A: Tensor, pack: Pack) -> Tensor:
    """Return the sums of token values over each branch (Q, C)."""
    total = torch.zeros(int(pack.branch_A[-1]) + 1, dtype=values_A.dtype, device=values_A.device)
    return total.index_add(0, pack.branch_A, values_A).view(len(pack.gold_Q), -1)


def evaluate(model: nn.Module, weights: Tensors | None, pack: AnyPack, train: params.Train) -> Outcome:
    """Return the loss of each task of a pack; differentiable in `weights`."""
    if isinstance(pack, Channel):
        scores_QC = likelihoods(model, weights, pack)
        tasks = torch.arange(len(pack.gold_Q), device=scores_QC.device)
        return Outcome(-scores_QC.log_softmax(-1)[tasks, pack.gold_Q], scores_QC.detach().argmax(1) == pack.gold_Q)
    logits_KV = logits(model, weights, pack)
    log_p_A, top_A = log_probabilities(logits_KV, pack)
    tasks = torch.arange(len(pack.gold_Q), device=log_p_A.device)
    lengths_QC = by_branch(torch.ones_like(log_p_A), pack)
    right_Q = (by_branch(top_A.float(), pack) == lengths_QC)[tasks, pack.gold_Q]
    answer_Q = -(by_branch(log_p_A, pack) / lengths_QC)[tasks, pack.gold_Q]
    if train.loss == "answer":
        return Outcome(answer_Q, right_Q)
    selection_Q = -by_branch(among_names(logits_KV, pack), pack)[tasks, pack.gold_Q]
    return Outcome(selection_Q + train.answer_share * answer_Q, right_Q)


def likelihoods(model: nn.Module, weights: Tensors | None, pack: Channel) -> Tensor:
    """Return the log-probability of each question after the documentation of each candidate alone (Q, C), in nats."""
    scores = [by_branch(log_probabilities(logits(model, weights, tree), tree)[0], tree) for tree in pack.trees]
    return torch.cat(scores, 1)


def gradient(loss: Tensor, weights: Tensors) -> Tensors:
    """Return the gradient of a loss with respect to `weights`, which it was computed with."""
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


def leaves(tensors: Tensors) -> Tensors:
    """Return copies that gradients can be taken with respect to."""
    return {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
