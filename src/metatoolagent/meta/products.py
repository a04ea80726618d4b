"""Hessian-vector products of an inner loss: H u with H the Hessian of L_k at theta, without forming H.

Each is one function from a point, a pack and a direction u to (grad L_k(theta), H u); `PRODUCTS` names them for params.yaml.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from metatoolagent.meta.inner_loop import Evaluate
from metatoolagent.meta.losses import gradient, leaves
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.channel import AnyPack

Product = Callable[[Evaluate, Tensors, AnyPack, Tensors], tuple[Tensors, Tensors]]

STEP = 1e-3
"""h / |theta| of the central difference, for gradients in float32. The truncation error grows with h^2, the rounding error with
1 / h. On the tiny model the hypergradient is off by 2e-5 here, by 1e-4 at a tenth of it and by 1e-3 at ten times of it."""


def double_backward(evaluate: Evaluate, theta: Tensors, pack: AnyPack, u: Tensors) -> tuple[Tensors, Tensors]:
    """Return grad L and H u = grad <grad L, u>, exactly: the gradient is differentiated once more.

    Pearlmutter 1994 (doi 10.1162/neco.1994.6.1.147). Its graph keeps 2.5 times what a
    forward pass does (tests/meta/test_memory.py), and is gone on return.
    """
    point = leaves(theta)
    slope = torch.autograd.grad(evaluate(point, pack).loss, list(point.values()), create_graph=True)
    product = torch.autograd.grad(slope, list(point.values()), grad_outputs=[u[name] for name in point])
    return dict(zip(point, (tensor.detach() for tensor in slope), strict=True)), dict(zip(point, product, strict=True))


def finite_difference(evaluate: Evaluate, theta: Tensors, pack: AnyPack, u: Tensors) -> tuple[Tensors, Tensors]:
    """Return grad L and H u by a central difference of gradients; no more memory than a gradient.

    H u = |u| [grad L(theta + h d) - grad L(theta - h d)] / 2h + O(h^2),    d = u / |u|
    h is a share of |theta|, so that it is a small step at any scale of the weights.
    """
    size, scale = norm(u), norm(theta)
    h = STEP * torch.where(scale > 0, scale, 1.0)
    d = {name: tensor / torch.where(size > 0, size, 1.0) for name, tensor in u.items()}
    ahead, behind = (_slope(evaluate, {name: theta[name] + step * d[name] for name in theta}, pack) for step in (h, -h))
    slope = {name: (ahead[name] + behind[name]) / 2 for name in theta}
    return slope, {name: (ahead[name] - behind[name]) * (size / (2 * h)) for name in theta}


def norm(tensors: Tensors) -> Tensor:
    """Return the Euclidean norm of all tensors together."""
    return torch.stack([tensor.square().sum() for tensor in tensors.values()]).sum().sqrt()


def _slope(evaluate: Evaluate, theta: Tensors, pack: AnyPack) -> Tensors:
    point = leaves(theta)
    return gradient(evaluate(point, pack).loss, point)


PRODUCTS: dict[str, Product] = {"double_backward": double_backward, "finite_difference": finite_difference}
