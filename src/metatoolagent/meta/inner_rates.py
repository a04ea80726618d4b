"""Inner rates: the step size of the inner loop, fixed or learned as further meta-parameters (Meta-SGD).

rate_l = inner_lr exp(rho_l), one rho for each LoRA tensor l, 0 at the start; the exponential keeps rates positive and
makes the outer optimizer's steps relative. Li et al. 2017 (arXiv 1707.09835) learn one rate for each weight, signs included.
One for each tensor, because A and B of the same layer want different ones (B starts at 0 and has all of the first
gradient; Hayou et al. 2024, arXiv 2402.12354), and a rate for each weight would double what is learned from few tasks.

Among the meta-parameters a rho is named `inner_rate.` and the tensor's name. It never enters the adapter's file.
"""

from collections.abc import Mapping

from metatoolagent import params
from metatoolagent.models.adapter import Tensors

PREFIX = "inner_rate."
PACE = 30.0
"""How many times the weights' learning rate a rho is learned at. AdamW's steps are about the learning rate: at the weights' own,
all 80 updates of the main job move a rate by 13 % at most, and which inner rate is right is a matter of decades."""


def initial(weights: Tensors, chosen: params.Mta | None) -> Tensors:
    """Return the meta-parameters of a run: its LoRA tensors, and rho = 0 for each where rates are learned."""
    if chosen is None or not chosen.learn_inner_lr:
        return weights
    return weights | named({name: tensor.new_zeros(()) for name, tensor in weights.items()})


def named(rho: Tensors) -> Tensors:
    """Return rho, or its gradient, under the names that it has among the meta-parameters."""
    return {PREFIX + name: value for name, value in rho.items()}


def split(phi: Tensors) -> tuple[Tensors, Tensors]:
    """Return the LoRA tensors and rho by LoRA tensor (empty for fixed rates)."""
    weights = {name: tensor for name, tensor in phi.items() if not name.startswith(PREFIX)}
    return weights, {name.removeprefix(PREFIX): tensor for name, tensor in phi.items() if name.startswith(PREFIX)}


def rates(phi: Tensors, inner_lr: float) -> Tensors:
    """Return the inner rate of each LoRA tensor, as scalars of its type."""
    weights, rho = split(phi)
    fixed = {name: tensor.new_full((), inner_lr) for name, tensor in weights.items()}
    return {name: fixed[name] * rho[name].exp() for name in weights} if rho else fixed


def published(phi: Tensors, chosen: params.Mta | None) -> Mapping[str, object]:
    """Return what an adapter's manifest says of learned rates; nothing for fixed ones."""
    if chosen is None or not chosen.learn_inner_lr:
        return {}
    return {"inner_rates": {name: rate.item() for name, rate in sorted(rates(phi, chosen.inner_lr).items())}}
