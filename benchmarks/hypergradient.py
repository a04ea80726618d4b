"""The exact hypergradient against an unrolled graph: seconds a meta-step and peak memory, by inner steps.

`python benchmarks/hypergradient.py` needs models/backbone (`snakemake --cores 8 backbone` makes it), and torchopt for the second
peer (`pip install -e '.[peers]'`). It first checks that all sides compute the same. Each number comes from a process of its own.
Writes benchmarks/results/hypergradient.json. Packs are of random tokens: time and memory do not depend on which tokens they are.
"""

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from measuring import RUNS, in_own_process, median_time, row, write
from metatoolagent import params
from metatoolagent.meta.inner_loop import Evaluate
from metatoolagent.meta.losses import evaluate, leaves
from metatoolagent.meta.objectives import MetaTask, meta_learning
from metatoolagent.models import adapter, backbone
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.packing import Pack, pack

STEPS = (1, 2, 4, 8)
PREFIX, TASKS, SEGMENT, ANSWER = 120, 4, 16, 4
"""Tokens of a pack's candidate set, questions, tokens of each and of its answer: an unrolled graph of 8 steps has to fit."""
RESULT = Path("benchmarks/results/hypergradient.json")
TOLERANCE = {"unrolled": 0, "double_backward": 1e-4, "finite_difference": 5e-3, "torchopt": 1e-4}
Found = dict[tuple[str, int], tuple[float, float]]
Step = Callable[[Evaluate, Tensors, MetaTask, params.Mta], Tensors]


def unroll(update: Callable[[Tensors, Tensors], Tensors]) -> Step:
    """Return the peers' way: one graph through all inner steps, and one backward pass."""

    def step(loss: Evaluate, weights: Tensors, task: MetaTask, chosen: params.Mta) -> Tensors:
        phi = leaves(weights)
        theta = phi
        for support in task.support[: chosen.inner_steps]:
            slope = torch.autograd.grad(loss(theta, support).loss, list(theta.values()), create_graph=True)
            theta = update(theta, dict(zip(theta, slope, strict=True)))
        gradient = torch.autograd.grad(loss(theta, task.query[0]).loss, list(phi.values()))
        return dict(zip(phi, gradient, strict=True))

    return step


def unrolled(loss: Evaluate, weights: Tensors, task: MetaTask, chosen: params.Mta) -> Tensors:
    """Return the hypergradient from a plain unrolled graph."""
    return unroll(lambda theta, slope: {name: theta[name] - chosen.inner_lr * slope[name] for name in theta})(
        loss, weights, task, chosen
    )


def through_torchopt(loss: Evaluate, weights: Tensors, task: MetaTask, chosen: params.Mta) -> Tensors:
    """Return the hypergradient through torchopt's differentiable SGD."""
    import torchopt

    optimizer = torchopt.sgd(lr=chosen.inner_lr)
    state = optimizer.init(weights)

    def update(theta: Tensors, slope: Tensors) -> Tensors:
        nonlocal state
        updates, state = optimizer.update(slope, state, params=theta, inplace=False)
        moved: Tensors = torchopt.apply_updates(theta, updates, inplace=False)
        return moved

    return unroll(update)(loss, weights, task, chosen)


def ours(product: str) -> Step:
    """Return the package's way."""

    def step(loss: Evaluate, weights: Tensors, task: MetaTask, chosen: params.Mta) -> Tensors:
        return meta_learning(chosen.model_copy(update={"product": product}))(loss, weights, task).gradient

    return step


OURS = ("double_backward", "finite_difference")
SIDES = {name: ours(name) for name in OURS} | {"unrolled": unrolled, "torchopt": through_torchopt}
PEERS = {"unrolled": "plain unrolled graph"} | ({"torchopt": "torchopt's differentiable SGD"} if find_spec("torchopt") else {})


def random_pack(seed: int) -> Pack:
    """Return a pack of random tokens."""
    generator = torch.Generator().manual_seed(seed)

    def ids(length: int) -> list[int]:
        return torch.randint(0, 256, (length,), generator=generator).tolist()

    questions, answers = [ids(SEGMENT) for _ in range(TASKS)], [ids(ANSWER) for _ in range(TASKS)]
    return pack(ids(PREFIX), questions, answers, list(range(TASKS)), ["random"] * TASKS, context=2048, gold_only=True)


def prepare(side: str, steps: int, model: Path) -> Callable[[], Tensors]:
    """Return a meta-step of one side, with the model loaded in float32."""
    backbone.use_cores()
    committed = params.load(Path("params.yaml"))
    adapted = adapter.attach(backbone.load(model, committed.backbone.model_copy(update={"dtype": "float32"})), committed.adapter)
    generator = torch.Generator().manual_seed(0)
    weights = adapter.initial(adapted, generator)
    for name in weights:
        if "lora_B" in name:  # as after some training: with B = 0 half of the Hessian is 0
            weights[name] = 0.01 * torch.randn(weights[name].shape, generator=generator)
    train = committed.train.model_copy(update={"loss": "answer"})
    changes = {"hypergradient": "exact", "inner_steps": steps, "inner_lr": 0.001, "learn_inner_lr": False, "support_share": 0.0}
    chosen = committed.mta.model_copy(update={**changes, "optimistic": False, "early_stop": False})
    task = MetaTask(0, [random_pack(seed) for seed in range(steps)], [random_pack(steps)])
    return lambda: SIDES[side](lambda theta, given: evaluate(adapted, theta, given, train), weights, task, chosen)


def gradient(side: str, steps: int, model: Path) -> Any:
    """Return the hypergradient as one array."""
    return torch.cat([tensor.flatten() for tensor in prepare(side, steps, model)().values()]).numpy()


def seconds(side: str, steps: int, model: Path, runs: int) -> float:
    """Return the median time of a meta-step."""
    return median_time(prepare(side, steps, model), runs)


def check(model: Path) -> None:
    """Stop unless all sides compute the same hypergradient of two inner steps."""
    expected = torch.from_numpy(in_own_process(gradient, "unrolled", 2, model)[0])
    for side in (*OURS, *PEERS):
        found = torch.from_numpy(in_own_process(gradient, side, 2, model)[0])
        error = ((found - expected).norm() / expected.norm()).item()
        print(f"{side}: relative error {error:.1e} of the unrolled graph's hypergradient")
        assert error <= TOLERANCE[side], f"{side} computes something else: relative error {error:.1e}"


def compare(side: str, peer: str, found: Found, runs: int) -> list[dict[str, object]]:
    """Return the rows of one of our products beside one peer.

    Args:
        side: the product.
        peer: the peer's name among `SIDES`.
        found: the seconds and the peak memory in MiB of each side and number of inner steps.
        runs: how many the seconds are a median of.
    """
    packages = ["torch", "transformers", *(["torchopt"] if peer == "torchopt" else [])]
    results = []

    def add(measure: str, unit: str, values: list[float], runs: int) -> None:
        label = f"exact hypergradient, {side}, packs of {random_pack(0).tokens} tokens, float32: {measure}"
        results.append(row(label, unit, *values, PEERS[peer], lower_is_better=True, runs=runs, packages=packages))

    for steps in STEPS:
        add(f"one meta-step at K = {steps}", "s", [found[one, steps][0] for one in (side, peer)], runs)
        add(f"peak memory at K = {steps}", "MiB", [found[one, steps][1] for one in (side, peer)], 1)
    growth = [found[one, STEPS[-1]][1] / found[one, STEPS[0]][1] for one in (side, peer)]
    add(f"peak memory at K = {STEPS[-1]} over K = {STEPS[0]}", "times", growth, 1)
    return results


def main() -> None:
    """Measure each side at each number of inner steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/backbone"))
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    backbone.use_cores()
    check(arguments.model)
    found: Found = {}
    for steps in STEPS:
        for side in (*OURS, *PEERS):
            found[side, steps] = in_own_process(seconds, side, steps, arguments.model, arguments.runs)
            print(f"K = {steps}, {side}: {found[side, steps][0]:.2f} s, {found[side, steps][1]:.0f} MiB", flush=True)
    rows = [compare(side, peer, found, arguments.runs) for side in OURS for peer in PEERS]
    write([result for part in rows for result in part], arguments.out)


if __name__ == "__main__":
    main()
