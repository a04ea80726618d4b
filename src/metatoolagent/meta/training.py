"""The trainer: meta-tasks in their materialized order, one update for each meta-batch, resumable after any kill.

Nothing random happens here (the tasks are drawn, the adapter's initial weights are seeded), so the state is the
meta-parameters, the optimizer's moments and the number of the update.
"""

import csv
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn
from tqdm import tqdm

from metatoolagent import params
from metatoolagent.artifacts import publishing, require_space, verify
from metatoolagent.errors import Exit, UserError
from metatoolagent.meta import checkpoints
from metatoolagent.meta.checkpoints import Checkpoint
from metatoolagent.meta.losses import Outcome, evaluate
from metatoolagent.meta.objectives import MetaTask, Objective, Step, fine_tuning, meta_learning
from metatoolagent.meta.outer_loop import Outer, learning_rate
from metatoolagent.meta.supervision import Pause, Supervisor, locked
from metatoolagent.models import adapter, backbone
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.masking import Masks
from metatoolagent.tasks.packing import Pack
from metatoolagent.tasks.prompts import read_template
from metatoolagent.tasks.rendering import Renderer

LOG = "train_log.csv"
FILES = (adapter.WEIGHTS, adapter.CONFIG, LOG)
LOG_COLUMNS = ("update", "loss", "right", "selected", "gradient_norm", "learning_rate")


@dataclass(frozen=True)
class Job:
    """What to train: the method, its params, and where everything lies."""

    method: str
    seed: int
    backbone: params.Backbone
    adapter: params.Adapter
    train: params.Train
    mta: params.Mta | None
    tasks: Path
    catalog: Path
    model: Path
    out: Path
    work: Path
    masking: params.Masking | None = None

    def run_id(self) -> str:
        """Return the name of the run, which changes with all that decides its result."""
        parameters: dict[str, Any] = {"method": self.method, "seed": self.seed}
        for name in ("backbone", "adapter", "train", "masking", "mta"):
            section = getattr(self, name)
            parameters[name] = section.model_dump() if section else None
        return checkpoints.run_id(parameters, self.inputs())

    def inputs(self) -> list[Path]:
        """Return the artifacts that the trainer reads."""
        return [self.tasks, self.catalog / "tools.parquet", self.catalog / "questions.parquet", self.model / "model.safetensors"]

    def objective(self) -> Objective:
        """Return what the method does with a meta-task."""
        return fine_tuning() if self.mta is None else meta_learning(self.mta)


def train(job: Job) -> None:
    """Train an adapter and publish it with its log.

    The same call after a kill or a pause goes on from the last checkpoint and gives the same bytes.

    Raises:
        UserError: E-NONFINITE if a loss or gradient is NaN or infinite; E-LOCK, E-LOST-LOCK, E-CORRUPT, E-DISK-FULL;
            I-PAUSED (exit code 75) when asked to stop or when the orchestrator is gone.
    """
    for path in job.inputs():
        verify(path)
    folder = job.work / job.run_id()
    with locked(folder) as supervisor:
        trainer = Trainer(job)
        require_space(folder, 4 * trainer.state_bytes())
        try:
            trainer.run(folder, supervisor)
        except Pause as reason:
            raise UserError(
                "I-PAUSED",
                f"{reason}: paused after update {trainer.update} of {trainer.updates}",
                str(folder),
                fix="run the same command to go on",
                exit_code=Exit.RETRY,
            ) from None
        supervisor.assert_owner()
        trainer.publish()


class Trainer:
    """A training run: model, tasks and the outer state."""

    def __init__(self, job: Job) -> None:
        """Load the backbone and the meta-tasks."""
        self.job = job
        model = backbone.load(job.model, job.backbone)
        self.context = int(model.config.max_position_embeddings)  # type: ignore[union-attr, arg-type]
        self.model: nn.Module = adapter.attach(model, job.adapter)
        self.renderer = Renderer(job.catalog, read_template(backbone.load_tokenizer(job.model)), self.context)
        self.rows = pl.read_parquet(job.tasks)
        self.masks = Masks(self.rows, job.masking.share, job.seed) if job.masking else None
        self.count = int(self.rows["meta_task"].n_unique())
        self.updates = math.ceil(self.count / job.train.meta_batch)
        generator = torch.Generator().manual_seed(job.seed)
        self.outer = Outer(adapter.initial(self.model, generator), job.train)
        self.objective = job.objective()
        self.update = 0
        self.log: list[list[float]] = []
        self.tasks_done = 0
        self.tokens_done = 0

    def state_bytes(self) -> int:
        """Return the size of a checkpoint: weights and two moments."""
        return 3 * sum(tensor.numel() * tensor.element_size() for tensor in self.outer.phi.values())

    def run(self, folder: Path, supervisor: Supervisor) -> None:
        """Do the updates that are left."""
        self._resume(checkpoints.newest(folder))
        started = time.monotonic()
        label = self.job.method
        # Where nobody watches, a line now and then is enough.
        interval = 0.5 if sys.stderr.isatty() else 15.0
        with tqdm(total=self.updates, initial=self.update, desc=label, unit="update", mininterval=interval) as bar:
            for batch in self._batches():
                self._apply(batch)
                self._show(bar, time.monotonic() - started)
                reason = supervisor.reason_to_pause()
                if reason or self.update % self.job.train.checkpoint_every == 0 or self.update == self.updates:
                    checkpoints.save(folder, Checkpoint(self.update, self.outer.state(), {"log": self.log}))
                if reason and self.update < self.updates:
                    raise Pause(reason)

    def publish(self) -> None:
        """Publish the adapter, its configuration and the log."""
        extra = {"backbone": backbone.fingerprint(self.job.model), "method": self.job.method}
        with publishing(self.job.out, FILES, producer="train", inputs=self.job.inputs(), extra=extra) as paths:
            adapter.save(self.outer.phi, self.job.adapter, self.job.model.as_posix(), paths)
            with paths[LOG].open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(LOG_COLUMNS)
                writer.writerows(self.log)

    def _resume(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is not None:
            self.update = checkpoint.update
            self.log = checkpoint.record["log"]
            self.outer.restore(checkpoint.tensors)
            tqdm.write(f"going on after update {self.update} of {self.updates}", file=sys.stderr)

    def _batches(self) -> Iterator[list[MetaTask]]:
        """Yield the meta-tasks of each update that is left."""
        size = self.job.train.meta_batch
        for update in range(self.update, self.updates):
            yield [self._meta_task(index) for index in range(update * size, min(self.count, (update + 1) * size))]

    def _meta_task(self, index: int) -> MetaTask:
        rows = self.rows.filter(pl.col("meta_task") == index)
        packs: dict[str, list[Pack]] = {"support": [], "query": []}
        for (role, number), group in rows.group_by("role", "pack", maintain_order=True):
            tasks = group.sort("task").to_dicts()
            renderer = self.renderer
            if self.masks:
                candidates = [renderer.tools[name] for name in tasks[0]["candidates"]]
                renderer = renderer.masked(self.masks.tools((index, str(role), int(str(number))), candidates))
            pack = renderer.pack(tasks, gold_only=self.job.train.loss == "answer")
            packs[str(role)].append(pack.to(backbone.device()))
        return MetaTask(index, packs["support"], packs["query"])

    def _evaluate(self, weights: Tensors, pack: Pack) -> Outcome:
        outcome = evaluate(self.model, weights, pack, self.job.train)
        if not torch.isfinite(outcome.loss_Q).all():
            bad = [name for name, loss in zip(pack.task_ids, outcome.loss_Q.tolist(), strict=True) if not math.isfinite(loss)]
            raise self._nonfinite("a loss is NaN or infinite", ", ".join(bad[:8]))
        return outcome

    def _apply(self, batch: list[MetaTask]) -> None:
        """Do one update."""
        total: dict[str, Tensor] = {}
        steps: list[Step] = []
        for task in batch:
            step = self.objective(self._evaluate, self.outer.phi, task)
            share = {name: tensor / len(batch) for name, tensor in step.gradient.items()}
            total = {name: total[name] + share[name] for name in share} if total else share
            steps.append(step)
            packs = [*task.support, *task.query]
            self.tasks_done += sum(len(pack.gold_Q) for pack in packs)
            self.tokens_done += sum(pack.tokens for pack in packs)
        rate = learning_rate(self.update, self.updates, self.job.train)
        norm = self.outer.apply(total, rate)
        if not math.isfinite(norm):
            raise self._nonfinite("the gradient is NaN or infinite", f"meta-tasks {', '.join(str(task.index) for task in batch)}")
        self.update += 1
        mean = [sum(getattr(step, name) for step in steps) / len(steps) for name in ("loss", "right", "selected")]
        self.log.append([self.update, *(round(value, 6) for value in (*mean, norm)), rate])

    def _show(self, bar: "tqdm[Any]", seconds: float) -> None:
        recent = self.log[-10:]
        loss, right = (sum(row[column] for row in recent) / len(recent) for column in (1, 2))
        speed = f"{self.tasks_done / seconds:.1f} tasks/s, {self.tokens_done / seconds:.0f} tokens/s"
        bar.set_postfix_str(f"loss {loss:.3f}, right {100 * right:.0f} %, {speed}", refresh=False)
        bar.update()

    def _nonfinite(self, what: str, tasks: str) -> UserError:
        return UserError(
            "E-NONFINITE",
            f"{what} at update {self.update + 1} of {self.updates}; no update was applied",
            tasks,
            fix="lower train.learning_rate (or mta.inner_lr); the last checkpoint is kept",
            kept="earlier artifacts and checkpoints are as they were",
            exit_code=Exit.DATA,
        )
