"""What a method does with a meta-task: fine-tuning and meta-learning, as one function each with one signature."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metatoolagent import params
from metatoolagent.meta import inner_rates
from metatoolagent.meta.hypergradient import HYPERGRADIENTS
from metatoolagent.meta.inner_loop import Evaluate, Trajectory, adapt
from metatoolagent.meta.losses import Outcome, gradient, leaves
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.channel import AnyPack


@dataclass(frozen=True)
class MetaTask:
    """Packs over disjoint tools: the support set for the inner loop, the query set for the outer loss."""

    index: int
    support: list[AnyPack]
    query: list[AnyPack]


@dataclass(frozen=True)
class Step:
    """What a method made of a meta-task."""

    gradient: Tensors
    loss: float
    """Mean over the query packs (fine-tuning: all packs) of their tasks' mean loss where the gradient was taken, in nats."""
    right: float
    """Share of the tasks that greedy decoding gets right, likewise a mean over packs."""
    selected: int
    """The inner iterate whose gradient was taken; 0 for fine-tuning."""
    gain: float | None
    """How much lower the query loss is at that iterate than at phi, in nats: what the inner steps were worth. None for
    fine-tuning, and where the query set was not looked at from phi."""
    alignment: float | None
    """Cosine of the support loss's gradient at phi and the query loss's at the selected iterate: whether one step serves both.
    None where the inner loop ended before the support set was read, or a gradient is zero."""


Objective = Callable[[Evaluate, Tensors, MetaTask], Step]


def fine_tuning() -> Objective:
    """Return FT: the mean gradient over all packs of the meta-task, support and query alike, a small pack like a full one."""

    def step(evaluate: Evaluate, phi: Tensors, task: MetaTask) -> Step:
        outcomes: list[Outcome] = []
        support, query = (_mean_gradient(evaluate, phi, packs, outcomes) for packs in (task.support, task.query))
        share = len(task.support) / len(outcomes)
        return Step(_weighted(query, support, share), mean_loss(outcomes), share_right(outcomes), 0, None, cosine(support, query))

    return step


def _mean_gradient(evaluate: Evaluate, phi: Tensors, packs: Sequence[AnyPack], outcomes: list[Outcome]) -> Tensors:
    """Return the mean gradient over packs, computed one after the other, and add their outcomes to a list."""
    total: Tensors = {}
    for pack in packs:
        theta = leaves(phi)
        outcome = evaluate(theta, pack)
        slope = gradient(outcome.loss / len(packs), theta)
        total = {name: total[name] + slope[name] for name in slope} if total else slope
        outcomes.append(detached(outcome))
    return total


def meta_learning(chosen: params.Mta) -> Objective:
    """Return MTA: the hypergradient of the query loss through the inner loop on the support set.

    With w = support_share the outer loss is (1 - w) L(theta_k*) + w L_0(phi), L_0 the loss of the first support pack, as in
    MLDG (Li et al. 2018, arXiv 1710.03463, equation 6): its gradient is at hand, since the inner loop begins with it. w = 0
    is the paper's; at w = 1 / (1 + n), with a support pack and n query packs, an inner rate of 0 gives fine-tuning itself.
    """
    hypergradient = HYPERGRADIENTS[chosen.hypergradient]

    def step(evaluate: Evaluate, phi: Tensors, task: MetaTask) -> Step:
        trajectory = adapt(evaluate, phi, task.support, task.query, chosen)
        outcomes = [detached(outcome) for outcome in trajectory.query]
        selected = len(trajectory.slopes)
        slope, support = hypergradient(evaluate, trajectory, chosen), trajectory.support_gradient
        if chosen.support_share:
            support = support or _at_phi(evaluate, phi, task)
            slope = _weighted(slope, support, chosen.support_share)
        aligned = cosine(support, trajectory.query_gradient) if support else None
        return Step(slope, mean_loss(outcomes), share_right(outcomes), selected, _gain(trajectory), aligned)

    return step


def _gain(trajectory: Trajectory) -> float | None:
    """Return the query loss at phi less that at the selected iterate."""
    return None if trajectory.loss_at_phi is None else trajectory.loss_at_phi - mean_loss(trajectory.query)


def _at_phi(evaluate: Evaluate, phi: Tensors, task: MetaTask) -> Tensors:
    """Return the gradient of the first support pack's loss at phi, for an inner loop that ended before it was needed."""
    theta = leaves(inner_rates.split(phi)[0])
    return gradient(evaluate(theta, task.support[0]).loss, theta)


def _weighted(slope: Tensors, support: Tensors, share: float) -> Tensors:
    """Return the weighted sum of two gradients; inner rates play no part in the support loss."""
    return {
        name: (1 - share) * tensor + share * support[name] if name in support else (1 - share) * tensor
        for name, tensor in slope.items()
    }


def cosine(a: Tensors, b: Tensors) -> float | None:
    """Return the cosine of the angle between two gradients, <a, b> / (|a| |b|), over all tensors together; None for a zero."""

    def inner(left: Tensors, right: Tensors) -> Tensor:
        return torch.stack([(left[name] * right[name]).sum() for name in left]).sum()

    product, size = inner(a, b), inner(a, a).sqrt() * inner(b, b).sqrt()
    return float(product / size) if size > 0 else None


def detached(outcome: Outcome) -> Outcome:
    """Return an outcome without its graph."""
    return Outcome(outcome.loss_Q.detach(), outcome.right_Q)


def mean_loss(outcomes: Sequence[Outcome]) -> float:
    """Return the mean over packs of their mean losses, in nats."""
    return sum(outcome.loss.item() for outcome in outcomes) / len(outcomes)


def share_right(outcomes: Sequence[Outcome]) -> float:
    """Return the mean over packs of the share of their tasks that are right."""
    return sum(outcome.right_Q.float().mean().item() for outcome in outcomes) / len(outcomes)
