"""Training on one device: tokens a second, and the share of the device's own matrix rate that a step of training reaches.

`python benchmarks/utilization.py` needs models/backbone and data/interim (`snakemake --cores 8 backbone ingest` makes them); it
computes on the GPU where there is one: `python benchmarks/utilization.py --tasks-per-pack 32 280 --runs 20` has packs of some 8
thousand tokens there. Writes benchmarks/results/utilization.json.

A token counts 4 N FLOPs for the N weights of the layers' frozen matrices (2 N forward, 2 N back to the inputs) and 6 N for those
of LoRA; attention, logits and what is computed twice are left out. These are model FLOPs as in PaLM (Chowdhery et al. 2022, arXiv
2204.02311, appendix B), which trains all weights and counts 6 N. The peer is the product of two square matrices in the same
format, measured in turn with the steps.
"""

import statistics
from pathlib import Path

import torch
from torch import nn

from drawing import Bench, opened, parser
from measuring import row, times, write
from metatoolagent.meta.losses import evaluate, gradient, leaves
from metatoolagent.models import backbone
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.packing import Pack

RESULT = Path("benchmarks/results/utilization.json")
SIDES = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of the matrices whose product is the device's rate: large enough that a larger one is no faster."""


def product_seconds(dtype: torch.dtype) -> float:
    """Return the median seconds of a product of two square matrices."""
    place = backbone.device()
    left, right = torch.randn(2, SIDES[place.type], SIDES[place.type], device=place).to(dtype)
    return statistics.median(times(lambda: finished(left @ right)))


def finished(result: torch.Tensor) -> None:
    """Wait for a result: a GPU computes after the call has returned."""
    result.flatten()[0].item()


def flops_per_token(model: nn.Module, weights: Tensors) -> int:
    """Return the model FLOPs of a token, forward and back, in the layers' matrices and LoRA's."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and "layers." in name]
    frozen = sum(model.get_submodule(name).weight.numel() for name in linear if "lora_" not in name)
    return 4 * frozen + 6 * sum(tensor.numel() for tensor in weights.values())


def step(model: nn.Module, weights: Tensors, pack: Pack, bench: Bench) -> None:
    """Take the gradient of a pack's loss."""
    theta = leaves(weights)
    finished(
        torch.stack([part.sum() for part in gradient(evaluate(model, theta, pack, bench.chosen.train).loss, theta).values()])
    )


def main() -> None:
    """Measure packs of each number of tasks, and the product of matrices after each."""
    options = parser(__doc__, RESULT)
    options.add_argument("--tasks-per-pack", type=int, nargs="+", default=[8, 32])
    options.set_defaults(dtype="bfloat16")
    given = options.parse_args()
    bench = opened(given)
    model, weights, renderer = bench.adapted()
    side = SIDES[backbone.device().type]
    results = []
    for size in given.tasks_per_pack:
        (rows,) = bench.training_packs(bench.chosen.distractors, size, 1)
        pack = renderer.pack(rows, gold_only=True).to(backbone.device())
        seconds = statistics.median(times(lambda pack=pack: step(model, weights, pack, bench), given.runs))
        rate = 2 * side**3 / product_seconds(getattr(torch, given.dtype)) / 1e12
        reached = flops_per_token(model, weights) * pack.tokens / seconds / 1e12
        what = f"fine-tuning step on a pack of {pack.tokens} tokens ({pack.tokens / seconds:.0f} tokens/s), {given.dtype}"
        peer = f"a product of {side} x {side} matrices"
        results.append(row(what, "model TFLOP/s", reached, rate, peer, lower_is_better=False, runs=given.runs))
        print(results[-1], flush=True)
    write(results, given.out)


if __name__ == "__main__":
    main()
