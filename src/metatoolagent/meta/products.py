"""Hessian-vector products of an inner loss: H u with H the Hessian of L_k at theta, without forming H.

Each is one function from a point, a pack, a direction u and the slope grad L_k(theta), which the inner loop has computed, to H u;
`PRODUCTS` names them for params.yaml.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from metatoolagent.meta.inner_loop import Evaluate
from metatoolagent.meta.losses import gradient, leaves
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.channel import AnyPack

Product = Callable[[Evaluate, Tensors, AnyPack, Tensors, Tensors], Tensors]

STEP = 2e-4
"""h / |theta| of the finite difference, for gradients in float32. The truncation error grows with h, the rounding error with
1 / h. On the tiny model H u is off by 1e-3 to 2e-3 from half of it to twice of it, and by 1e-2 at a tenth or ten times of it."""


def double_backward(evaluate: Evaluate, theta: Tensors, pack: AnyPack, u: Tensors, slope: Tensors) -> Tensors:
    """Return H u = grad <grad L, u>, exactly: the gradient is computed with its graph, and differentiated once more.

    Pearlmutter 1994 (doi 10.1162/neco.1994.6.1.147). Its graph keeps 2.5 times what a
    forward pass does (tests/meta/test_memory.py), and is gone on return.
    """
    del slope  # known, but without the graph that leads to it
    point = leaves(theta)
    again = torch.autograd.grad(evaluate(point, pack).loss, list(point.values()), create_graph=True)
    product = torch.autograd.grad(again, list(point.values()), grad_outputs=[u[name] for name in point])
    return dict(zip(point, product, strict=True))


def finite_difference(evaluate: Evaluate, theta: Tensors, pack: AnyPack, u: Tensors, slope: Tensors) -> Tensors:
    """Return H u by a difference of two gradients, one of which is known; no more time or memory than a gradient.

    H u = |u| [grad L(theta + h d) - grad L(theta)] / h + O(h),    d = u / |u|
    h is a share of |theta|, so that it is a small step at any scale of the weights. (A central difference has an error of
    O(h^2), and takes two gradients: a third more time at four inner steps, for digits that no update can tell.)
    """
    size, scale = norm(u), norm(theta)
    h = STEP * torch.where(scale > 0, scale, 1.0)
    ahead = leaves({name: theta[name] + (h / torch.where(size > 0, size, 1.0)) * u[name] for name in theta})
    moved = gradient(evaluate(ahead, pack).loss, ahead)
    return {name: (moved[name] - slope[name]) * (size / h) for name in theta}


def norm(tensors: Tensors) -> Tensor:
    """Return the Euclidean norm of all tensors together."""
    return torch.stack([tensor.square().sum() for tensor in tensors.values()]).sum().sqrt()


PRODUCTS: dict[str, Product] = {"double_backward": double_backward, "finite_difference": finite_difference}
