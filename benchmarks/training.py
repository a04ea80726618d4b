"""Fine-tuning: our packed update against trl's SFTTrainer, in tasks a second, and what adapting every linear layer costs.

`python benchmarks/training.py` needs models/backbone and data/interim (`snakemake --cores 8 backbone ingest` makes them), and
trl (`pip install -e '.[peers]'`). Same backbone, LoRA layers, precision, tasks in the same order, tasks an update (the packs of a
meta-task) and optimizer; trl trains on one task a sequence, tokenized before the time that is measured, and on the answer's
tokens alone. Its packing needs kernels that a CPU lacks, and would not share candidate sets. It first checks that both
start from the same loss and train as many weights. Writes benchmarks/results/training.json.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import SFTConfig, SFTTrainer

from drawing import Bench, Groups, opened, parser
from measuring import median_time, row, write
from metatoolagent.meta.losses import evaluate, log_probabilities
from metatoolagent.meta.objectives import MetaTask, fine_tuning
from metatoolagent.meta.outer_loop import Outer
from metatoolagent.models import adapter, backbone
from metatoolagent.models.adapter import logits
from metatoolagent.tasks.rendering import Renderer

RESULT = Path("benchmarks/results/training.json")
NARROW = ["q_proj", "v_proj"]
"""The layers that the paper of LoRA adapts (Hu et al. 2021, arXiv 2106.09685, section 7.1)."""
TOLERANCE = 1e-3
"""Largest relative difference of the first update's loss."""


class Ours:
    """Our fine-tuning, one update after another."""

    def __init__(self, bench: Bench, packs: Groups, packs_per_update: int, loss: str, targets: list[str]) -> None:
        """Load the backbone and attach the adapter."""
        self.train = bench.chosen.train.model_copy(update={"loss": loss})
        model = bench.load()
        self.renderer: Renderer = bench.renderer(model)
        self.model = adapter.attach(model, bench.chosen.adapter.model_copy(update={"targets": targets}))
        generator = torch.Generator().manual_seed(bench.chosen.seed)
        self.outer = Outer(adapter.initial(self.model, generator), self.train)
        self.updates = [packs[first : first + packs_per_update] for first in range(0, len(packs), packs_per_update)]
        self.step = fine_tuning()
        self.tokens = 0

    def update(self, number: int) -> None:
        """Render the packs of an update, take the gradient and apply it, as `mta train` does."""
        packs = [self.renderer.pack(rows, gold_only=True).to(backbone.device()) for rows in self.updates[number]]
        self.tokens = sum(pack.tokens for pack in packs)
        task = MetaTask(number, packs[:1], packs[1:])
        found = self.step(lambda theta, pack: evaluate(self.model, theta, pack, self.train), self.outer.phi, task)
        self.outer.apply(found.gradient, self.train.learning_rate)

    def weights(self) -> int:
        """Return how many weights are trained."""
        return sum(tensor.numel() for tensor in self.outer.phi.values())

    @torch.no_grad()
    def loss(self) -> float:
        """Return the mean over the answers' tokens of the first update, as trl counts it."""
        total, tokens = 0.0, 0
        for rows in self.updates[0]:
            pack = self.renderer.pack(rows, gold_only=True).to(backbone.device())
            log_p_A = log_probabilities(logits(self.model, self.outer.phi, pack), pack)[0]
            total, tokens = total - log_p_A.sum().item(), tokens + len(log_p_A)
        return total / tokens


class Clock(TrainerCallback):
    """Takes the seconds of each update."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.started = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self.started = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop."""
        self.seconds.append(time.perf_counter() - self.started)


def theirs(
    bench: Bench, renderer: Renderer, packs: Groups, packs_per_update: int, updates: int
) -> tuple[list[float], float, int]:
    """Return the seconds of each update of SFTTrainer, the loss of the first one, and how many weights are trained.

    A batch on the device is a pack's tasks, and as many batches are accumulated as an update has packs.
    """
    chosen, clock = bench.chosen, Clock()
    model = AutoModelForCausalLM.from_pretrained(bench.model, dtype=getattr(torch, chosen.backbone.dtype))
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            max_steps=updates,
            per_device_train_batch_size=len(packs[0]),
            gradient_accumulation_steps=packs_per_update,
            train_sampling_strategy="sequential",
            learning_rate=chosen.train.learning_rate,
            weight_decay=chosen.train.weight_decay,
            max_grad_norm=chosen.train.clip_norm,
            max_length=None,
            bf16=False,  # no mixed precision: the weights have the type that was asked for
            gradient_checkpointing=chosen.train.activation_checkpointing,  # trl's own default recomputes
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        lora = LoraConfig(
            r=chosen.adapter.rank, lora_alpha=chosen.adapter.alpha, target_modules=chosen.adapter.targets, task_type="CAUSAL_LM"
        )
        trainer = SFTTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list([sequence(renderer, task) for rows in packs for task in rows]),
            processing_class=renderer.template.tokenizer,
            peft_config=lora,
            callbacks=[clock],
        )
        trainer.train()
    first = next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    return clock.seconds, first, sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)


def sequence(renderer: Renderer, row: dict[str, Any]) -> dict[str, list[int]]:
    """Return a task alone, with labels for the tokens of its answer."""
    prompt, answer = [*renderer.prefix(row["candidates"]), *renderer.asked(row)], renderer.answers[row["gold"]]
    return {"input_ids": [*prompt, *answer], "labels": [*([-100] * len(prompt)), *answer]}


def seconds(side: Ours, runs: int) -> float:
    """Return the median time of an update, each of which has its own tasks."""
    numbers = iter(range(runs + 1))
    return median_time(lambda: side.update(next(numbers)), runs)


def main() -> None:
    """Measure both sides, and both sets of adapted layers."""
    options = parser(__doc__, RESULT)
    options.add_argument("--tasks-per-pack", type=int, default=None, help="that of params.yaml where left out")
    given = options.parse_args()
    bench = opened(given)
    chosen = bench.chosen
    size = given.tasks_per_pack or chosen.meta_tasks.tasks_per_pack
    per_update = chosen.meta_tasks.support_packs + chosen.meta_tasks.query_packs
    packs = bench.training_packs(chosen.distractors, size, per_update * (given.runs + 1))
    wide = chosen.adapter.targets
    sides = {loss: Ours(bench, packs, per_update, loss, wide) for loss in ("answer", "selection")}
    answer = sides["answer"]
    expected, count = answer.loss(), answer.weights()
    peer_seconds, loss, trained = theirs(bench, answer.renderer, packs, per_update, given.runs + 1)
    assert trained == count, f"trl trains {trained} weights, we {count}"
    assert abs(loss / expected - 1) <= TOLERANCE, f"trl starts from a loss of {loss:.5f}, we from {expected:.5f}"
    tasks = per_update * size
    peer = tasks / statistics.median(peer_seconds[1:])
    packages = ["torch", "transformers", "peft", "trl"]
    what = (
        f"{chosen.backbone.dtype}, LoRA of rank {chosen.adapter.rank}, {tasks} tasks an update, {chosen.distractors} distractors"
    )
    results = []
    found = {name: seconds(side, given.runs) for name, side in sides.items()}
    for name, spent in found.items():
        peer_name = "trl's SFTTrainer" + ("" if name == "answer" else ", which trains on the answer alone")
        label = f"fine-tuning on the {name} loss, {size} tasks a pack, {what}"
        results.append(
            row(label, "tasks/s", tasks / spent, peer, peer_name, lower_is_better=False, runs=given.runs, packages=packages)
        )
        print(results[-1], flush=True)
    narrow = Ours(bench, packs, per_update, chosen.train.loss, NARROW)
    less = seconds(narrow, given.runs)
    rates = [side.tokens / spent for side, spent in ((sides[chosen.train.loss], found[chosen.train.loss]), (narrow, less))]
    label = f"trained tokens, LoRA on {len(wide)} kinds of layers, {what}"
    peer_name = f"LoRA on {' and '.join(NARROW)} alone"
    results.append(row(label, "tokens/s", *rates, peer_name, lower_is_better=False, runs=given.runs, packages=packages[:3]))
    print(results[-1])
    write(results, given.out)


if __name__ == "__main__":
    main()
