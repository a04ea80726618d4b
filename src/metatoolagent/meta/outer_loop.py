"""The outer loop's update: AdamW on the meta-parameters, with a schedule and a clipped gradient.

AdamW: Loshchilov and Hutter 2019 (arXiv 1711.05101). The learning rate rises linearly over the warm-up and falls
linearly to zero over the rest; learned inner rates have it times `inner_rates.PACE`, and no weight decay.
"""

import math

import torch
from torch import Tensor

from metatoolagent import params
from metatoolagent.meta import inner_rates
from metatoolagent.models.adapter import Tensors


def learning_rate(update: int, updates: int, train: params.Train) -> float:
    """Return the learning rate of an update.

    Args:
        update: from 0.
        updates: how many there are.
        train: the peak rate, and the share of the updates in which it is reached.
    """
    rising = max(1, round(train.warmup * updates))
    if update < rising:
        return train.learning_rate * (update + 1) / rising
    return train.learning_rate * (updates - update) / (updates - rising + 1)


class Outer:
    """The meta-parameters phi and the optimizer's state."""

    def __init__(self, phi: Tensors, train: params.Train) -> None:
        """Take float32 tensors; the optimizer owns copies."""
        self.train = train
        self.phi = {name: tensor.detach().clone().requires_grad_() for name, tensor in phi.items()}
        weights, rho = inner_rates.split(self.phi)
        groups = [{"params": [*weights.values()], "weight_decay": train.weight_decay, "pace": 1.0}]
        if rho:
            groups.append({"params": [*rho.values()], "weight_decay": 0.0, "pace": inner_rates.PACE})
        # One loop over the tensors: fused and foreach variants round differently, and gain nothing at this size.
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, foreach=False, fused=False)

    def apply(self, gradient: Tensors, rate: float) -> float:
        """Update phi and return the norm of the gradient before it was clipped; NaN or infinity updates nothing."""
        for name, tensor in self.phi.items():
            tensor.grad = gradient[name]
        norm = float(torch.nn.utils.clip_grad_norm_(self.phi.values(), self.train.clip_norm, foreach=False))
        if math.isfinite(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["pace"]
            self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def state(self) -> dict[str, Tensor]:
        """Return phi and the optimizer's moments under one name each."""
        tensors = {}
        for name, tensor in self.phi.items():
            tensors[f"phi/{name}"] = tensor.detach().cpu()
            for key, value in self.optimizer.state[tensor].items():
                tensors[f"{key}/{name}"] = value.detach().cpu().contiguous()
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state that `state` returned."""
        with torch.no_grad():
            for name, tensor in self.phi.items():
                tensor.copy_(tensors[f"phi/{name}"])
                self.optimizer.state[tensor] = {
                    "step": tensors[f"step/{name}"],
                    "exp_avg": tensors[f"exp_avg/{name}"].to(tensor.device),
                    "exp_avg_sq": tensors[f"exp_avg_sq/{name}"].to(tensor.device),
                }
