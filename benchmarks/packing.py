"""Training, packed against unpacked: tasks a second by tasks a pack and distractors, next to the bound of the token counts.

`python benchmarks/packing.py` needs models/backbone and data/interim (`snakemake --cores 8 backbone ingest` makes them). The
bound is the tokens of the tasks alone over those of their pack. A task alone is measured once, and counts for every pack that
it is in. It first checks that both sides compute the same loss. Writes benchmarks/results/packing.json. In small:
`python benchmarks/packing.py --sizes 8 --distractors 5 --losses selection`.
"""

import statistics
from pathlib import Path

from torch import nn

from drawing import Bench, opened, parser
from measuring import median_time, row, write
from metatoolagent import params
from metatoolagent.meta.losses import evaluate, gradient, leaves
from metatoolagent.models import backbone
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.packing import Pack
from metatoolagent.tasks.rendering import Renderer, Row

RESULT = Path("benchmarks/results/packing.json")
TOLERANCE = 0.02
"""Largest relative difference of the losses, for backbones in bfloat16."""


class Steps:
    """A loss and its gradient over packs."""

    def __init__(self, model: nn.Module, weights: Tensors, renderer: Renderer, train: params.Train) -> None:
        """Take an adapted backbone and its LoRA tensors."""
        self.model, self.weights, self.renderer, self.train = model, weights, renderer, train

    def pack(self, rows: list[Row]) -> Pack:
        """Return the pack of some tasks."""
        return self.renderer.pack(rows, gold_only=True).to(backbone.device())

    def __call__(self, pack: Pack) -> float:
        """Return the mean loss of a pack, with its gradient taken."""
        theta = leaves(self.weights)
        mean = evaluate(self.model, theta, pack, self.train).loss
        gradient(mean, theta)
        return mean.item()


def curve(bench: Bench, steps: Steps, distractors: int, sizes: list[int], runs: int) -> list[dict[str, object]]:
    """Return the rows for a number of distractors.

    Args:
        bench: what is measured on.
        steps: a loss.
        distractors: wrong tools in each candidate set.
        sizes: the numbers of tasks of a pack.
        runs: how many the times are a median of.
    """
    (rows,) = bench.training_packs(distractors, max(sizes), 1)
    single = [steps.pack([task]) for task in rows]
    losses = [steps(pack) for pack in single]
    packs = {size: steps.pack(rows[:size]) for size in sizes}
    for size, pack in packs.items():
        difference = abs(steps(pack) / statistics.mean(losses[:size]) - 1)
        assert difference < TOLERANCE, f"packed and unpacked losses differ by {difference:.1%} at {size} tasks a pack"
    alone = [median_time(lambda pack=pack: steps(pack), runs) for pack in single]
    results = []
    for size, pack in packs.items():
        together = median_time(lambda pack=pack: steps(pack), runs)
        bound = sum(one.tokens for one in single[:size]) / pack.tokens
        reached = sum(alone[:size]) / together / bound
        kind = f"training step, loss {steps.train.loss}, {bench.chosen.backbone.dtype}"
        label = f"{kind}, {size} tasks a pack, {distractors} distractors (token bound {bound:.2f}, {reached:.0%} of it)"
        rates = (size / together, size / sum(alone[:size]))
        results.append(row(label, "tasks/s", *rates, "the same step, one task at a time", lower_is_better=False, runs=runs))
        print(results[-1], flush=True)
    return results


def main() -> None:
    """Measure each loss at each number of distractors."""
    options = parser(__doc__, RESULT)
    options.add_argument("--sizes", type=int, nargs="+", default=[2, 4, 8, 16])
    options.add_argument("--distractors", type=int, nargs="+", default=[5, 10, 20])
    options.add_argument("--losses", nargs="+", choices=["answer", "selection"], default=["answer", "selection"])
    given = options.parse_args()
    bench = opened(given)
    model, weights, renderer = bench.adapted()
    results = []
    for loss in given.losses:
        steps = Steps(model, weights, renderer, bench.chosen.train.model_copy(update={"loss": loss}))
        for distractors in given.distractors:
            results += curve(bench, steps, distractors, given.sizes, given.runs)
    write(results, given.out)


if __name__ == "__main__":
    main()
