"""Packed against unpacked fine-tuning: seconds of training until a share of the validation tasks is scored right.

`python benchmarks/time_to_accuracy.py` needs models/backbone and data/interim (`snakemake --cores 8 backbone ingest` makes
them). Packed, the tasks of a pack share a candidate set, which is cheap and less varied; unpacked, each has a set of its own.
Both sides have the same number of tasks an update, the same optimizer with its schedule, and the same validation tasks; the
clock stands still while they are evaluated. `--method channel` trains and chooses by the likelihood of questions. It first
checks that a pack and its tasks alone have the same loss. A side that does not get there within the updates stands in the
result with what it reached. Writes benchmarks/results/time_to_accuracy.json.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from drawing import Bench, Groups, opened, parser
from measuring import row, write
from metatoolagent.evaluation.scoring import predict
from metatoolagent.meta.losses import evaluate, likelihoods
from metatoolagent.meta.objectives import MetaTask, fine_tuning
from metatoolagent.meta.outer_loop import Outer, learning_rate
from metatoolagent.models import adapter, backbone
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.channel import AnyPack, channel
from metatoolagent.tasks.rendering import Row

RESULT = Path("benchmarks/results/time_to_accuracy.json")
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.02}
"""Largest relative difference of the loss of a pack from that of its tasks alone."""


@dataclass(frozen=True)
class Reached:
    """How far a side came."""

    seconds: float
    updates: int
    accuracy: float


class Side:
    """One adapter in training."""

    def __init__(self, bench: Bench, method: str, packs: Groups, packs_per_update: int) -> None:
        """Load the backbone, attach a fresh adapter, and part the packs into updates."""
        self.train, self.method = bench.chosen.train, method
        plain = bench.load()
        self.renderer = bench.renderer(plain)
        self.model = adapter.attach(plain, bench.chosen.adapter)
        generator = torch.Generator().manual_seed(bench.chosen.seed)
        self.outer = Outer(adapter.initial(self.model, generator), self.train)
        self.updates = [packs[first : first + packs_per_update] for first in range(0, len(packs), packs_per_update)]
        self.step = fine_tuning()

    def pack(self, rows: Sequence[Row]) -> AnyPack:
        """Return what the method is trained on."""
        if self.method == "channel":
            return channel(self.renderer, rows).to(backbone.device())
        return self.renderer.pack(rows, gold_only=True).to(backbone.device())

    def update(self, number: int) -> None:
        """Take one update, as `mta train` does."""
        packs = [self.pack(rows) for rows in self.updates[number]]
        half = len(packs) // 2
        task = MetaTask(number, packs[:half], packs[half:])
        found = self.step(lambda theta, pack: evaluate(self.model, theta, pack, self.train), self.outer.phi, task)
        self.outer.apply(found.gradient, learning_rate(number, len(self.updates), self.train))

    def accuracy(self, groups: Groups) -> float:
        """Return the scored accuracy on tasks."""
        weights = {name: tensor.detach() for name, tensor in self.outer.phi.items()}
        found = [
            choice == task["gold"] for rows in groups for choice, task in zip(self.choices(weights, rows), rows, strict=True)
        ]
        return sum(found) / len(found)

    @torch.no_grad()
    def choices(self, weights: Tensors, rows: Sequence[Row]) -> list[str]:
        """Return the candidate with the highest score for each task of a candidate set."""
        if self.method == "channel":
            best_Q = likelihoods(self.model, weights, channel(self.renderer, rows).to(backbone.device())).argmax(1)
            return [rows[0]["candidates"][index] for index in best_Q.tolist()]
        return [prediction.scored for prediction in predict(self.model, weights, self.renderer, [rows], 1)[0]]

    @torch.no_grad()
    def loss(self, groups: Groups) -> float:
        """Return the mean loss of the tasks of packs of one size, before any update."""
        losses = [evaluate(self.model, self.outer.phi, self.pack(rows), self.train).loss for rows in groups]
        return float(torch.stack(losses).mean())


def run(side: Side, groups: Groups, accuracy: float, every: int) -> Reached:
    """Train until an accuracy is reached or the updates are over, evaluating after every so many."""
    seconds, best = 0.0, 0.0
    for number in range(len(side.updates)):
        started = time.perf_counter()
        side.update(number)
        seconds += time.perf_counter() - started
        if (number + 1) % every and number + 1 < len(side.updates):
            continue
        best = side.accuracy(groups)
        print(f"{number + 1} updates, {seconds:.0f} s: {best:.1%}", flush=True)
        if best >= accuracy:
            return Reached(seconds, number + 1, best)
    return Reached(seconds, len(side.updates), best)


def main() -> None:
    """Train both sides."""
    options = parser(__doc__, RESULT, repeated=False)
    options.add_argument("--method", choices=("ft", "channel"), default="ft", help="what is trained")
    options.add_argument("--accuracy", type=float, default=0.7, help="share of the validation tasks")
    options.add_argument("--updates", type=int, default=None, help="at most; meta_tasks.count of params.yaml where left out")
    options.add_argument("--tasks", type=int, default=126, help="to evaluate on")
    options.add_argument("--every", type=int, default=8, help="updates between evaluations")
    given = options.parse_args()
    bench = opened(given)
    chosen = bench.chosen
    updates, size = given.updates or chosen.meta_tasks.count, chosen.meta_tasks.tasks_per_pack
    packs_per_update = chosen.meta_tasks.support_packs + chosen.meta_tasks.query_packs
    groups = bench.validation_tasks(chosen.distractors, given.tasks)
    packed = Side(bench, given.method, bench.training_course(chosen.distractors, size, 1, updates), packs_per_update)
    first = packed.updates[0]
    expected, alone = packed.loss(first), packed.loss([[task] for rows in first for task in rows])
    assert abs(alone / expected - 1) < TOLERANCE[given.dtype], f"packed and unpacked losses: {expected:.5f} and {alone:.5f}"
    ours = run(packed, groups, given.accuracy, given.every)
    unpacked = Side(bench, given.method, bench.training_course(chosen.distractors, 1, size, updates), packs_per_update * size)
    theirs = run(unpacked, groups, given.accuracy, given.every)
    sides = f"{ours.accuracy:.1%} after {ours.updates} updates against {theirs.accuracy:.1%} after {theirs.updates}"
    label = (
        f"training {given.method} until {given.accuracy:.0%} of {given.tasks} validation tasks are right, "
        f"{packs_per_update * size} tasks an update, sets shared by {size} tasks ({sides}), {chosen.backbone.dtype}"
    )
    found = row(label, "s", ours.seconds, theirs.seconds, "a set of its own for each task", lower_is_better=True, runs=1)
    print(found)
    write([found], given.out)


if __name__ == "__main__":
    main()
