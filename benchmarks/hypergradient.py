"""The exact hypergradient against an unrolled graph: seconds a meta-step and peak memory, by inner steps.

`python benchmarks/hypergradient.py` needs models/backbone (`snakemake --cores 8 backbone` makes it), and torchopt for the second
peers (`pip install -e '.[peers]'`). Two peers differentiate the package's own loss of a pack, so that they differ from it in the
way back alone; the third is what torchopt is without the package: transformers' model with peft's LoRA, a sequence for each task.
It first checks that all sides compute the same. Each number comes from a process of its own.
Writes benchmarks/results/hypergradient.json. Packs are of random tokens: time and memory do not depend on which tokens they are.
"""

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from measuring import RUNS, in_own_process, median_time, row, write
from metatoolagent import params
from metatoolagent.meta.inner_loop import Evaluate
from metatoolagent.meta.losses import Outcome, evaluate, leaves
from metatoolagent.meta.objectives import MetaTask, meta_learning
from metatoolagent.models import adapter, backbone
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.packing import Pack, pack

STEPS = (1, 2, 4, 8)
PREFIX, TASKS, SEGMENT, ANSWER = 120, 4, 16, 4
"""Tokens of a pack's candidate set, questions, tokens of each and of its answer: an unrolled graph of 8 steps has to fit."""
RESULT = Path("benchmarks/results/hypergradient.json")
SEQUENCES = "sequences"
MOST = {SEQUENCES: 4}
"""Inner steps that a side is measured with at most: with 8, a graph over a sequence for each task would take some 30 GiB."""
TOLERANCE = {"unrolled": 0, "double_backward": 1e-4, "finite_difference": 5e-3, "torchopt": 1e-4, SEQUENCES: 1e-3}
"""Largest relative error. Another program sums in another order, which with float32 makes 2e-4 (in double precision 4e-7)."""
Found = dict[tuple[str, int], tuple[float, float]]
Loss = Callable[[Tensors, Any], Outcome]
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
SIDES = {name: ours(name) for name in OURS} | {"unrolled": unrolled, "torchopt": through_torchopt, SEQUENCES: through_torchopt}
PEERS = {"unrolled": "plain unrolled graph"}
if find_spec("torchopt"):
    PEERS["torchopt"] = "torchopt's differentiable SGD"
    PEERS[SEQUENCES] = (
        f"torchopt's differentiable SGD, transformers and peft, {TASKS} sequences of {PREFIX + SEGMENT + ANSWER} tokens a pack"
    )


def random_tasks(seed: int) -> tuple[list[int], list[list[int]], list[list[int]]]:
    """Return the tokens of a candidate set, of the questions and of their answers."""
    generator = torch.Generator().manual_seed(seed)

    def ids(length: int) -> list[int]:
        return torch.randint(0, 256, (length,), generator=generator).tolist()

    questions, answers = [ids(SEGMENT) for _ in range(TASKS)], [ids(ANSWER) for _ in range(TASKS)]
    return ids(PREFIX), questions, answers


def random_pack(seed: int) -> Pack:
    """Return a pack of random tokens."""
    return pack(*random_tasks(seed), list(range(TASKS)), ["random"] * TASKS, context=2048, gold_only=True)


def random_sequences(seed: int) -> Tensor:
    """Return the same tasks, each as a sequence of its own (Q, T)."""
    prefix, questions, answers = random_tasks(seed)
    return torch.tensor([[*prefix, *question, *answer] for question, answer in zip(questions, answers, strict=True)])


def packed(model: Path, committed: params.Params) -> tuple[nn.Module, Loss, Callable[[int], Pack]]:
    """Return the package's model, its loss of a pack, and what draws a pack."""
    adapted = adapter.attach(backbone.load(model, committed.backbone.model_copy(update={"dtype": "float32"})), committed.adapter)
    train = committed.train.model_copy(update={"loss": "answer"})
    return adapted, lambda theta, given: evaluate(adapted, theta, given, train), random_pack


def as_sequences(model: Path, committed: params.Params) -> tuple[nn.Module, Loss, Callable[[int], Tensor]]:
    """Return the same of transformers and peft as they are, where each task is a sequence."""
    chosen = committed.adapter
    # Eager attention: torch's fused kernels cannot be differentiated twice.
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="eager")
    lora = LoraConfig(r=chosen.rank, lora_alpha=chosen.alpha, target_modules=chosen.targets, task_type="CAUSAL_LM")
    adapted = get_peft_model(plain, lora).eval()

    def loss(theta: Tensors, ids_QT: Tensor) -> Outcome:
        call = {"input_ids": ids_QT, "logits_to_keep": ANSWER + 1, "use_cache": False}
        logits_QAV = functional_call(adapted, theta, (), call).logits[:, :-1]
        loss_QA = cross_entropy(logits_QAV.transpose(1, 2), ids_QT[:, -ANSWER:], reduction="none")
        right_QA = logits_QAV.detach().argmax(-1) == ids_QT[:, -ANSWER:]
        return Outcome(loss_QA.mean(1), right_QA.all(1))

    return adapted, loss, random_sequences


def prepare(side: str, steps: int, model: Path) -> Callable[[], Tensors]:
    """Return a meta-step of one side, with the model loaded in float32."""
    backbone.use_cores()
    committed = params.load(Path("params.yaml"))
    adapted, loss, draw = (as_sequences if side == SEQUENCES else packed)(model, committed)
    generator = torch.Generator().manual_seed(0)
    weights = adapter.initial(adapted, generator)
    for name in weights:
        if "lora_B" in name:  # as after some training: with B = 0 half of the Hessian is 0
            weights[name] = 0.01 * torch.randn(weights[name].shape, generator=generator)
    changes = {"hypergradient": "exact", "inner_steps": steps, "inner_lr": 0.001, "learn_inner_lr": False, "support_share": 0.0}
    chosen = committed.mta.model_copy(update={**changes, "optimistic": False, "early_stop": False})
    task = MetaTask(0, [draw(seed) for seed in range(steps)], [draw(steps)])
    return lambda: SIDES[side](loss, weights, task, chosen)


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
    packages = ["torch", "transformers", *{"torchopt": ["torchopt"], SEQUENCES: ["torchopt", "peft"]}.get(peer, [])]
    measured = [steps for steps in STEPS if steps <= MOST.get(peer, steps)]
    results = []

    def add(measure: str, unit: str, values: list[float], runs: int) -> None:
        label = f"exact hypergradient, {side}, packs of {random_pack(0).tokens} tokens, float32: {measure}"
        results.append(row(label, unit, *values, PEERS[peer], lower_is_better=True, runs=runs, packages=packages))

    for steps in measured:
        add(f"one meta-step at K = {steps}", "s", [found[one, steps][0] for one in (side, peer)], runs)
        add(f"peak memory at K = {steps}", "MiB", [found[one, steps][1] for one in (side, peer)], 1)
    growth = [found[one, measured[-1]][1] / found[one, measured[0]][1] for one in (side, peer)]
    add(f"peak memory at K = {measured[-1]} over K = {measured[0]}", "times", growth, 1)
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
        for side in (side for side in (*OURS, *PEERS) if steps <= MOST.get(side, steps)):
            found[side, steps] = in_own_process(seconds, side, steps, arguments.model, arguments.runs)
            print(f"K = {steps}, {side}: {found[side, steps][0]:.2f} s, {found[side, steps][1]:.0f} MiB", flush=True)
    rows = [compare(side, peer, found, arguments.runs) for side in OURS for peer in PEERS]
    write([result for part in rows for result in part], arguments.out)


if __name__ == "__main__":
    main()
