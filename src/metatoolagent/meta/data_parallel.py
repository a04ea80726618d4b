"""Data parallelism: the processes take the meta-tasks of an update in turn, and all apply the same update.

Gradients are gathered, not reduced: every process adds them in the order of the meta-tasks, as one process alone
does, so the number of processes does not change the result. It costs more traffic than a reduction, which LoRA's few
megabytes bear.
"""

from dataclasses import dataclass, replace

import torch

from metatoolagent.meta.objectives import Step
from metatoolagent.meta.processes import Processes
from metatoolagent.models.adapter import Tensors


@dataclass(frozen=True)
class Contribution:
    """What one process did in a round: a meta-task's step, and how much it read."""

    step: Step
    tasks: int
    tokens: int
    parts: int
    """In how many parts memory allowed its packs to be computed."""


def exchange(group: Processes, own: Contribution | None, phi: Tensors) -> list[Contribution]:
    """Return the contributions of a round in the order of the meta-tasks.

    Args:
        group: the processes, each of which calls this.
        own: what this process did; an idle one brings None.
        phi: tensors of the names and shapes of a gradient.

    Raises:
        UserError: E-RANK if a process is gone.
    """
    if group.size == 1:
        return [] if own is None else [own]
    everyone = group.gather(own and replace(own, step=replace(own.step, gradient={})))
    gradient = own.step.gradient if own else {name: torch.zeros_like(tensor) for name, tensor in phi.items()}
    flat = torch.cat([gradient[name].detach().flatten() for name in phi])
    sizes = [tensor.numel() for tensor in phi.values()]
    result = []
    for other, values in zip(everyone, group.gather_tensors(flat), strict=True):
        if other is not None:
            parts = zip(phi, torch.split(values, sizes), strict=True)
            step = replace(other.step, gradient={name: part.view(phi[name].shape) for name, part in parts})
            result.append(replace(other, step=step))
    return result
