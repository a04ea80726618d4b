"""What autograd keeps in memory for the backward pass."""

from collections.abc import Callable

import torch
from torch import Tensor


def saved_bytes(run: Callable[[], object]) -> int:
    """Return the bytes of the storages that `run` saves for the backward pass, those of leaves left out."""
    sizes = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.grad_fn is not None or not tensor.requires_grad:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)  # no storage is freed and taken again while we count
        return tensor

    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    del result
    return sum(sizes.values())
