"""The memory of a run: an estimate before it starts, an error if it will not fit, and the measured peak.

Of a channel pack all trees wait for each other, so their activations add up.

Shapes: T tokens of the longest pack, P of them prefix, Q questions, L tokens of the longest question with its answers,
K rows of logits, V vocabulary, N layers, h hidden size, I intermediate size, H heads, G key-value heads, D head size,
r LoRA rank, n LoRA numbers, s bytes of an activation. The backbone is frozen, so a linear layer keeps its input for
LoRA's A alone.

A layer keeps
    8 T h                                    float32 inputs of the two norms
    2 s T h + s T H D + s T r per target     inputs of the adapted layers but the last, and of LoRA's B
    4 s T I                                  gate before and after SiLU, up, their product
    s [H P^2 + 2 H Q L (P + L)]              attention, prefix and blocks; a block's is kept once more in two pieces
    s [(P + 2 Q L) H D + 2 (T + Q L) G D]    queries, keys and values, gathered into blocks
which is kept for all N layers, and once more as temporaries of the backward pass. Recomputation keeps s T h a layer,
and two layers whole. Logits take (12 + s) K V while their tree's pass goes back, 4 K V while it waits.
The graph of a gradient that is differentiated again keeps 2.5 times what a forward pass keeps, recomputation or not, and on the
way back through it the derivatives by all activations wait, once more as much.
"""

import os
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import nn

from metatoolagent import params
from metatoolagent.environment import peak_resident
from metatoolagent.errors import Exit, UserError
from metatoolagent.meta.available import available
from metatoolagent.meta.job import Job
from metatoolagent.models import backbone
from metatoolagent.models.attention import layout
from metatoolagent.tasks.channel import AnyPack
from metatoolagent.tasks.packing import Pack

LATER = 300 * 2**20
"""Bytes that tokenizer, catalog and torch's CPU kernels take once they are used: what was missing beside the 135M model."""
TWICE = 2.5
"""What `products.double_backward` keeps over what a forward pass keeps; tests/meta/test_memory.py measures it."""
FIXES = {
    "backbone": "choose a smaller backbone.source, or bfloat16 for backbone.dtype where it is float32",
    "adapter": "lower adapter.rank",
    "inner gradients": "lower mta.inner_steps or adapter.rank",
    "activations": "set train.activation_checkpointing to true, or lower meta_tasks.tasks_per_pack or distractors",
    "activations of double_backward": "set mta.product to finite_difference, or lower meta_tasks.tasks_per_pack or distractors",
    "recomputed activations": "lower meta_tasks.tasks_per_pack or distractors",
    "logits": "lower meta_tasks.tasks_per_pack or distractors",
}
"""What to change where a share of the memory is the largest; the program's own share cannot be lowered."""


@dataclass(frozen=True)
class Shape:
    """What of a model and a tree of its longest pack decides the size of the activations."""

    config: Any
    pack: Pack
    size: int
    """Bytes of an activation."""

    def layer(self, adapter: params.Adapter) -> int:
        """Return the bytes that one layer keeps for the backward pass."""
        config, tree = self.config, layout(self.pack, torch.float32)
        hidden, heads = int(config.hidden_size), int(config.num_attention_heads)
        groups = int(getattr(config, "num_key_value_heads", None) or heads)
        head = int(getattr(config, "head_dim", None) or hidden // heads)
        tokens, prefix, (questions, longest) = self.pack.tokens, tree.prefix, tree.block_QL.shape
        blocks = questions * longest
        linear = 2 * tokens * hidden + tokens * heads * head + tokens * adapter.rank * len(adapter.targets)
        feed_forward = 4 * tokens * int(config.intermediate_size)
        attention = heads * (prefix**2 + 2 * blocks * (prefix + longest))
        gathered = (prefix + 2 * blocks) * heads * head + 2 * (tokens + blocks) * groups * head
        return 8 * tokens * hidden + self.size * (linear + feed_forward + attention + gathered)

    def kept(self, adapter: params.Adapter, *, recompute: bool) -> int:
        """Return the bytes of the activations of all layers that wait for the backward pass."""
        layers = int(self.config.num_hidden_layers)
        if recompute:
            return layers * self.size * self.pack.tokens * int(self.config.hidden_size)
        return layers * self.layer(adapter)

    def logits(self, bytes_each: int) -> int:
        """Return the bytes of numbers for each of the K V logits."""
        return bytes_each * self.pack.rows * int(self.config.vocab_size)


def waiting(mta: params.Mta | None, query_packs: int) -> int:
    """Return how many packs' activations wait while one more pack is computed.

    Fine-tuning does pack after pack. The inner loop computes all query packs before it goes back through them.
    """
    return query_packs - 1 if mta else 0


def differentiates_twice(mta: params.Mta | None) -> bool:
    """Say whether a run differentiates a gradient, with its graph in memory."""
    return mta is not None and (mta.hypergradient, mta.product) == ("exact", "double_backward")


def estimate(job: Job, model: nn.Module, longest: AnyPack, query_packs: int, program: int) -> dict[str, int]:
    """Return the bytes that a run needs at its peak, by what takes them.

    Args:
        job: the run.
        model: the adapted backbone.
        longest: the longest pack.
        query_packs: of a meta-task.
        program: bytes that the program and its libraries take.
    """
    frozen = [tensor for name, tensor in model.named_parameters() if "lora_" not in name]
    size = frozen[0].element_size()
    shapes = [Shape(model.config, tree, size) for tree in longest.trees]
    lora = 4 * sum(tensor.numel() for name, tensor in model.named_parameters() if "lora_" in name)
    recompute = job.train.activation_checkpointing
    kept, whole = (sum(shape.kept(job.adapter, recompute=part) for shape in shapes) for part in (recompute, False))
    layer = max(shape.layer(job.adapter) for shape in shapes)
    back = max(shape.logits(8 + size) for shape in shapes)
    logits = sum(shape.logits(4) for shape in shapes)
    packs: float = 1 + waiting(job.mta, query_packs)
    name = "recomputed activations" if recompute else "activations"
    if differentiates_twice(job.mta) and (TWICE + 1) * whole > packs * kept:
        name, packs, kept = "activations of double_backward", TWICE + 1, whole
    return {
        "program": program,
        "backbone": sum(tensor.numel() * tensor.element_size() for tensor in frozen),
        # Masters, two moments, the gradient of a pack, the sum of the update's, and its share.
        "adapter": 6 * lora,
        "inner gradients": lora * (job.mta.inner_steps + 1) if job.mta else 0,
        name: int(packs * kept) + (2 if recompute else 1) * layer,
        "logits": back + int(packs * logits),
    }


class Memory:
    """The memory of this process: taken note of before the backbone is loaded, required, measured at the end."""

    def __init__(self) -> None:
        """Note what the program takes without a run."""
        self.device = backbone.device()
        self.program = 0 if self.device.type == "cuda" else int(psutil.Process().memory_info().rss) + LATER
        # Processes on one machine share its memory; each has a GPU of its own.
        self.sharing = 1 if self.device.type == "cuda" else int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        self.shares: dict[str, int] = {}

    def require(self, job: Job, model: nn.Module, longest: AnyPack, query_packs: int) -> str:
        """Return a line that tells of the estimate; arguments as `estimate`.

        Raises:
            UserError: E-MEMORY if the device has not as much.
        """
        self.shares = estimate(job, model, longest, query_packs, self.program)
        total = sum(self.shares.values())
        taken = torch.cuda.memory_allocated() if self.device.type == "cuda" else int(psutil.Process().memory_info().rss)
        free = available(self.device) // self.sharing
        told = ", ".join(f"{name} {_gib(share)}" for name, share in self.shares.items() if share)
        if total - taken > free:
            largest = max(FIXES, key=lambda name: self.shares.get(name, 0))
            raise UserError(
                "E-MEMORY",
                f"training needs about {_gib(total)} GiB a process, {_gib(taken + free)} GiB can be had; most are {largest}",
                str(self.device),
                f"GiB: {told}",
                FIXES[largest],
                kept="nothing was computed",
                exit_code=Exit.PARAMS,
            )
        return f"memory: about {_gib(total)} GiB expected ({told})"

    def measured(self) -> str:
        """Return a line that tells of the peak, beside what was expected."""
        return f"memory: peak {_gib(self.peak())} GiB, {_gib(sum(self.shares.values()))} GiB expected"

    def peak(self) -> int:
        """Return the most bytes that this process ever took on the device."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated())
        return peak_resident()


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}"
