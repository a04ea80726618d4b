"""The inner loop: adapt the meta-parameters on the support packs, and choose the iterate that answers the query best.

theta_0 = phi,  theta_{k+1} = theta_k - alpha grad L_k(theta_k),  L_k the loss of support pack k.
Optimistic selection: k* minimizes the query loss over the iterates (the paper: the outer update is made once the
query examples are at their best). The loop stops early where every query task is right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from metatoolagent import params
from metatoolagent.meta.losses import Outcome, gradient, leaves
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.packing import Pack

Evaluate = Callable[[Tensors, Pack], Outcome]
"""Gives the outcome of a pack under LoRA tensors."""


@dataclass(frozen=True)
class Trajectory:
    """What the inner loop went through, as far as a hypergradient needs it."""

    iterates: list[Tensors]
    """theta_0 to theta_k*."""
    support: list[Pack]
    """The pack of each step from one iterate to the next."""
    query_gradient: Tensors
    """Gradient of the query loss at theta_k*."""
    query: list[Outcome]
    """Outcome of each query pack at theta_k*."""
    query_losses: list[float]
    """Mean query loss at each iterate that was looked at, in nats."""
    support_loss: float
    """Loss of the first support pack at theta_0, in nats."""


def adapt(evaluate: Evaluate, phi: Tensors, support: Sequence[Pack], query: Sequence[Pack], chosen: params.Mta) -> Trajectory:
    """Run the inner loop.

    Args:
        evaluate: the loss.
        phi: the meta-parameters.
        support: packs of the inner steps, taken in turn.
        query: packs of the outer loss.
        chosen: number of steps, their learning rate, and whether the iterate is chosen.
    """
    iterates, used, losses, support_losses = [phi], [], [], []
    best: tuple[Tensor, Tensors, list[Outcome]] | None = None
    selected = 0
    for step in range(chosen.inner_steps + 1):
        theta = leaves(iterates[-1])
        last = step == chosen.inner_steps
        if chosen.optimistic or last:
            outcomes = [evaluate(theta, pack) for pack in query]
            loss = sum((outcome.loss for outcome in outcomes[1:]), outcomes[0].loss) / len(outcomes)
            losses.append(loss.item())
            if best is None or loss.item() < best[0].item():
                best, selected = (loss, theta, outcomes), step
            if last or all(bool(outcome.right_Q.all()) for outcome in outcomes):
                break
        pack = support[step % len(support)]
        outcome = evaluate(theta, pack)
        support_losses.append(outcome.loss.item())
        slope = gradient(outcome.loss, theta)
        used.append(pack)
        iterates.append({name: theta[name].detach() - chosen.inner_lr * slope[name] for name in theta})
    assert best is not None
    loss, theta, outcomes = best
    return Trajectory(
        iterates[: selected + 1],
        used[:selected],
        gradient(loss, theta),
        outcomes,
        losses,
        support_losses[0] if support_losses else float("nan"),
    )
