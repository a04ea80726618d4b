"""The oracle of hypergradients: all inner steps in one graph, differentiated by one backward pass."""

import torch

from metatoolagent.meta.inner_rates import PREFIX


def unrolled_loss(loss, phi, task, chosen):
    """Return the query loss after all inner steps, with the graph of every step."""
    theta = {name: tensor for name, tensor in phi.items() if not name.startswith(PREFIX)}
    for step in range(chosen.inner_steps):
        pack = task.support[step % len(task.support)]
        slope = torch.autograd.grad(loss(theta, pack).loss, list(theta.values()), create_graph=True)
        for (name, tensor), direction in zip(list(theta.items()), slope, strict=True):
            rate = chosen.inner_lr * (phi[PREFIX + name].exp() if chosen.learn_inner_lr else 1)
            theta[name] = tensor - rate * direction
    return sum(loss(theta, pack).loss for pack in task.query) / len(task.query)


def unrolled(loss, phi, task, chosen):
    """Return its gradient with respect to the meta-parameters."""
    phi = {name: tensor.detach().clone().requires_grad_() for name, tensor in phi.items()}
    slope = torch.autograd.grad(unrolled_loss(loss, phi, task, chosen), list(phi.values()))
    return dict(zip(phi, slope, strict=True))


def relative_error(found, expected):
    """Return |found - expected| / |expected| over all tensors together."""
    assert found.keys() == expected.keys()
    first, second = (torch.cat([tensors[name].flatten() for name in expected]) for tensors in (found, expected))
    return ((first - second).norm() / second.norm()).item()
