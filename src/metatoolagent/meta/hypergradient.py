"""Hypergradients: how the query loss at the selected iterate moves with the meta-parameters.

Each is one function from an inner trajectory to d(query loss)/d(phi); `HYPERGRADIENTS` names them for params.yaml.
With L the query loss, theta_{k+1} = theta_k - R grad L_k(theta_k), R = diag(rate_l) and v = grad L(theta_k*):
    dL/dphi   = (I - H_0 R) ... (I - H_{k*-1} R) v,    H_k the Hessian of the support loss L_k at theta_k
    dL/drho_l = - sum_k rate_l <v_{k+1}, grad L_k(theta_k)>_l,    v_{k+1} = dL/dtheta_{k+1}, <.,.>_l over tensor l
where the second line counts if rates are learned (rate_l = inner_lr exp(rho_l)). H is symmetric, so (I - R H)^T = I - H R.
"""

from collections.abc import Callable

from torch import Tensor

from metatoolagent import params
from metatoolagent.meta import inner_rates
from metatoolagent.meta.inner_loop import Evaluate, Trajectory
from metatoolagent.meta.products import PRODUCTS
from metatoolagent.models.adapter import Tensors

Hypergradient = Callable[[Evaluate, Trajectory, params.Mta], Tensors]


def first_order(evaluate: Evaluate, trajectory: Trajectory, chosen: params.Mta) -> Tensors:
    """Return grad L(theta_k*): the inner steps' Jacobian is taken as the identity.

    First-order MAML (Finn et al. 2017, arXiv 1703.03400, section 5.2). For learned rates the sum over k then telescopes:
    dL/drho_l = <v, theta_k* - phi>_l.
    """
    del evaluate
    v = trajectory.query_gradient
    if not chosen.learn_inner_lr:
        return v
    first, last = trajectory.phi, trajectory.theta
    return v | inner_rates.named({name: (v[name] * (last[name] - first[name])).sum() for name in v})


def exact(evaluate: Evaluate, trajectory: Trajectory, chosen: params.Mta) -> Tensors:
    """Return the gradient through all inner steps (MAML: Finn et al. 2017, arXiv 1703.03400, equation 1).

    v_k* = grad L(theta_k*),    v_k = v_{k+1} - H_k R v_{k+1},    dL/dphi = v_0
    The gradients of its steps are all that the inner loop leaves behind, and each H_k R v is computed anew at its iterate: memory
    does not grow with the number of inner steps but for the LoRA tensors, where unrolling keeps the graph of every step.
    """
    product = PRODUCTS[chosen.product]
    v, rates = trajectory.query_gradient, trajectory.rates
    rho: dict[str, Tensor] = {name: tensor.new_zeros(()) for name, tensor in v.items()}
    for theta, pack, slope in trajectory.back():
        u = {name: rates[name] * v[name] for name in v}
        hessian_u = product(evaluate, theta, pack, u, slope)
        rho = {name: rho[name] - (u[name] * slope[name]).sum() for name in v}
        v = {name: v[name] - hessian_u[name] for name in v}
    return v | inner_rates.named(rho) if chosen.learn_inner_lr else v


def reptile(evaluate: Evaluate, trajectory: Trajectory, chosen: params.Mta) -> Tensors:
    """Return (phi - theta_k*) / inner_lr, the way back from the selected iterate, as the sum of its steps' gradients.

    A descent step along it moves phi towards theta_k* (Nichol et al. 2018, arXiv 1803.02999, algorithm 1). Divided by the inner
    rate, as they advise for an adaptive optimizer (section 2), it has the size of a gradient: undivided, clipping would never
    take hold, and AdamW's epsilon would decide at small rates. The query set has no part in it but for selecting the iterate, and
    there is no gradient for rates: `params.Mta` refuses to learn them.
    """
    del evaluate, chosen
    first, *others = trajectory.slopes
    return {name: sum((slope[name] for slope in others), tensor) for name, tensor in first.items()}


HYPERGRADIENTS: dict[str, Hypergradient] = {"first_order": first_order, "exact": exact, "reptile": reptile}
