"""Hypergradients: how the query loss at the selected iterate moves with the meta-parameters.

Each is one function from an inner trajectory to d(query loss)/d(phi); `HYPERGRADIENTS` names them for params.yaml.
"""

from collections.abc import Callable

from metatoolagent import params
from metatoolagent.meta.inner_loop import Evaluate, Trajectory
from metatoolagent.models.adapter import Tensors

Hypergradient = Callable[[Evaluate, Trajectory, params.Mta], Tensors]


def first_order(evaluate: Evaluate, trajectory: Trajectory, chosen: params.Mta) -> Tensors:
    """Return grad L(theta_k*): the inner steps' Jacobian is taken as the identity.

    First-order MAML (Finn et al. 2017, arXiv 1703.03400, section 5.2).
    """
    del evaluate, chosen
    return trajectory.query_gradient


HYPERGRADIENTS: dict[str, Hypergradient] = {"first_order": first_order}
