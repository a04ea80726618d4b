"""The inner loop: adapt the meta-parameters on the support packs, and choose the iterate to differentiate.

theta_0 = phi,  theta_{k+1} = theta_k - R grad L_k(theta_k),  L_k the loss of support pack k, R the inner rates.
Which iterate k* is differentiated, of theta_0 to theta_K:
- optimistic: the one with the lowest query loss (the paper: the outer update is made once the query examples are at
  their best); otherwise the last one that was reached.
- early_stop: the loop ends at the first iterate, theta_0 included, at which every query task is right; otherwise at theta_K.
So with early stop alone k* is that first iterate, or K where there is none; the query losses of others play no part.
For reptile theta_0 is no choice and is not looked at: there is no way back from there, and the optimizer's momentum would
move phi along those of earlier meta-tasks.
Only the last iterate is looked at with a graph. Where an earlier one is selected it is looked at again: one more forward pass
at times, but never two graphs at once, which were two thirds of the memory of a run.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metatoolagent import params
from metatoolagent.meta import inner_rates
from metatoolagent.meta.losses import Outcome, gradient, leaves
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.channel import AnyPack

Evaluate = Callable[[Tensors, AnyPack], Outcome]
"""Gives the outcome of a pack under LoRA tensors."""


@dataclass(frozen=True)
class Trajectory:
    """What the inner loop went through, as far as a hypergradient needs it.

    The gradients of the steps are kept and not the iterates, which follow from them: a finite difference needs both.
    """

    phi: Tensors
    """theta_0."""
    theta: Tensors
    """theta_k*."""
    support: list[AnyPack]
    """The pack of each step from one iterate to the next."""
    slopes: list[Tensors]
    """grad L_k(theta_k) of each of these steps."""
    rates: Tensors
    """The inner rate of each LoRA tensor."""
    query_gradient: Tensors
    """Gradient of the query loss at theta_k*."""
    query: list[Outcome]
    """Outcome of each query pack at theta_k*."""
    query_losses: list[float]
    """Mean query loss at each iterate that was looked at, in nats."""
    loss_at_phi: float | None
    """That at theta_0; None where it was not looked at."""
    support_loss: float
    """Loss of the first support pack at theta_0, in nats."""
    support_gradient: Tensors | None
    """Its gradient; None where the loop ended before the first step."""

    def back(self) -> Iterator[tuple[Tensors, AnyPack, Tensors]]:
        """Yield theta_k, the pack of L_k and grad L_k(theta_k), from the last step to the first.

        theta_k = theta_{k+1} + R grad L_k(theta_k), which is what it was on the way there but for rounding; theta_0 is phi.
        """
        theta = self.theta
        for step in reversed(range(len(self.slopes))):
            slope = self.slopes[step]
            theta = {name: theta[name] + self.rates[name] * slope[name] for name in theta} if step else self.phi
            yield theta, self.support[step], slope

    def iterates(self) -> list[Tensors]:
        """Return theta_0 to theta_k*, by the steps of the way there."""
        found = [self.phi]
        for slope in self.slopes:
            found.append({name: tensor - self.rates[name] * slope[name] for name, tensor in found[-1].items()})
        return found


@dataclass(frozen=True)
class Look:
    """The query set seen from an iterate."""

    step: int
    theta: Tensors
    outcomes: list[Outcome]
    loss: Tensor
    """Mean over the packs; with its graph where it was looked at for its gradient."""

    @property
    def all_right(self) -> bool:
        """Whether greedy decoding gets every query task right."""
        return all(bool(outcome.right_Q.all()) for outcome in self.outcomes)


def adapt(
    evaluate: Evaluate, phi: Tensors, support: Sequence[AnyPack], query: Sequence[AnyPack], chosen: params.Mta
) -> Trajectory:
    """Run the inner loop.

    Args:
        evaluate: the loss.
        phi: the meta-parameters.
        support: packs of the inner steps, taken in turn.
        query: packs of the outer loss.
        chosen: number of steps, their rate, and which iterate is differentiated.
    """
    weights, _ = inner_rates.split(phi)
    rates = {name: rate.detach() for name, rate in inner_rates.rates(phi, chosen.inner_lr).items()}
    reached = {name: tensor.detach() for name, tensor in weights.items()}
    slopes: list[Tensors] = []
    losses: list[float] = []
    support_loss = float("nan")
    best: Look | None = None
    looking = chosen.optimistic or chosen.early_stop
    earliest = 1 if chosen.hypergradient == "reptile" else 0
    for step in range(chosen.inner_steps + 1):
        theta = leaves(reached)
        last = step == chosen.inner_steps
        if last or (looking and step >= earliest):
            with torch.set_grad_enabled(last):
                seen = look(evaluate, step, theta, query)
            losses.append(seen.loss.item())
            if best is None or not chosen.optimistic or losses[-1] < best.loss.item():
                best = seen
            if last or (chosen.early_stop and seen.all_right):
                break
        outcome = evaluate(theta, support[step % len(support)])
        support_loss = support_loss if slopes else outcome.loss.item()
        # Copies: kept where the backward pass put them, between activations, they would hold up memory that it frees.
        slopes.append({name: slope.clone() for name, slope in gradient(outcome.loss, theta).items()})
        reached = {name: theta[name].detach() - rates[name] * slopes[-1][name] for name in theta}
    assert best is not None
    del seen  # and with it the graph of the last iterate, if that was not the best
    if not best.loss.requires_grad:
        best = look(evaluate, best.step, best.theta, query)
    return Trajectory(
        {name: tensor.detach() for name, tensor in weights.items()},
        {name: tensor.detach() for name, tensor in best.theta.items()},
        [support[step % len(support)] for step in range(best.step)],
        slopes[: best.step],
        rates,
        gradient(best.loss, best.theta),
        best.outcomes,
        losses,
        losses[0] if looking and earliest == 0 else None,
        support_loss,
        slopes[0] if slopes else None,
    )


def look(evaluate: Evaluate, step: int, theta: Tensors, query: Sequence[AnyPack]) -> Look:
    """Return the query set seen from iterate `step`."""
    outcomes = [evaluate(theta, pack) for pack in query]
    loss = sum((outcome.loss for outcome in outcomes[1:]), outcomes[0].loss) / len(outcomes)
    return Look(step, theta, outcomes, loss)
