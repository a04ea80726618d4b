"""The trainer: meta-tasks in their materialized order, one update for each meta-batch, resumable after any kill.

Nothing random happens here (the tasks are drawn, the adapter's initial weights are seeded), so the state is the
meta-parameters, the optimizer's moments and the number of the update.
"""

import csv
import math
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor, nn

from metatoolagent import params
from metatoolagent.artifacts import publishing, require_folder, require_space, verify
from metatoolagent.errors import Exit, UserError, shown, warning
from metatoolagent.meta import checkpoints, inner_rates
from metatoolagent.meta.checkpoints import Checkpoint
from metatoolagent.meta.data_parallel import Contribution, exchange
from metatoolagent.meta.job import Job
from metatoolagent.meta.live import Curves, curves
from metatoolagent.meta.losses import Outcome, evaluate
from metatoolagent.meta.memory import Memory
from metatoolagent.meta.objectives import MetaTask
from metatoolagent.meta.outer_loop import Outer, learning_rate
from metatoolagent.meta.processes import Processes, processes, supervised
from metatoolagent.meta.progress import Progress
from metatoolagent.meta.reading import MetaTasks
from metatoolagent.meta.splitting import evaluate_in_parts, is_out_of_memory, more_parts
from metatoolagent.meta.supervision import Pause, Supervisor
from metatoolagent.models import adapter, backbone
from metatoolagent.models.adapter import Tensors
from metatoolagent.models.precision import name_of
from metatoolagent.models.recomputation import recompute_layers
from metatoolagent.tasks.channel import AnyPack

LONGEST = 60.0
"""Seconds after which a checkpoint is saved however few updates were done."""
LOG = "train_log.csv"
FILES = (adapter.WEIGHTS, adapter.CONFIG, LOG)
OF_STEP = ("loss", "right", "selected", "gain", "alignment")
LOG_COLUMNS = ("update", *OF_STEP, "gradient_norm", "learning_rate")


def train(job: Job) -> None:
    """Train an adapter and publish it with its log, alone or as one of torchrun's processes.

    The same call after a kill or a pause goes on from the last checkpoint and gives the same bytes (on a GPU up to the order of
    sums, which CUDA leaves open for some).

    Raises:
        UserError: E-PARAMS for a product that the backbone's numbers are too coarse for;
            E-NONFINITE if a loss or gradient is NaN or infinite; E-LOCK, E-LOST-LOCK, E-CORRUPT, E-DISK-FULL;
            E-MEMORY or E-OOM if memory does not suffice; E-PROCESSES or E-RANK for those of several processes;
            I-PAUSED (exit code 75) when asked to stop or when the orchestrator is gone.
        OSError: of `artifacts.require_folder`, before anything is computed.
    """
    require_fine_numbers(job)
    with processes(job.work) as group:
        if group.leads:
            require_folder(job.out)
        require_common_work(job, group)
        for path in job.inputs():
            verify(path)
        folder = job.work / common_name(job, group)
        with supervised(folder, group) as supervisor:
            trainer = Trainer(job, group, folder)
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
            if group.leads:
                supervisor.assert_owner()
                trainer.publish()


def require_fine_numbers(job: Job) -> None:
    """Refuse differences of losses in a format that rounds them away, also where no whole params.yaml was checked.

    Raises:
        UserError: E-PARAMS (exit code 64).
    """
    if job.mta:
        try:
            params.require_fine_numbers(job.backbone, job.mta)
        except params.UnfitError as error:
            where, got = "keys mta.product and backbone.dtype", shown(job.backbone.dtype)
            raise UserError("E-PARAMS", str(error), where, got, error.fix, exit_code=Exit.PARAMS) from None


def require_common_work(job: Job, group: Processes) -> None:
    """Refuse processes that have nothing to do, or compute otherwise than the others.

    Raises:
        UserError: E-PROCESSES (exit code 64).
    """
    if group.size > job.train.meta_batch:
        raise UserError(
            "E-PROCESSES",
            f"{group.size} processes, but an update has {job.train.meta_batch} meta-tasks",
            "params.yaml, key train.meta_batch",
            fix="start fewer processes, or set train.meta_batch to a multiple of their number",
            exit_code=Exit.PARAMS,
        )
    formats = sorted(set(group.gather(name_of(job.backbone))))
    if len(formats) > 1:
        raise UserError(
            "E-PROCESSES",
            f"the processes' machines differ: some would compute in {' and some in '.join(formats)}",
            "params.yaml, key backbone.dtype",
            shown(job.backbone.dtype),
            f"set it to one of {', '.join(formats)}",
            exit_code=Exit.PARAMS,
        )


def common_name(job: Job, group: Processes) -> str:
    """Return the run's name, which all processes must find the same.

    Raises:
        UserError: E-PROCESSES (exit code 64) where they do not: their sums would be rounded otherwise.
    """
    names = group.gather(job.run_id())
    if len(set(names)) > 1:
        raise UserError(
            "E-PROCESSES",
            "the processes differ in processor, number of threads, GPU, versions or inputs",
            "environment variable OMP_NUM_THREADS, or the machines",
            f"{len(set(names))} kinds of process",
            "start all with as many threads, on machines of one kind with the same installation",
            exit_code=Exit.PARAMS,
        )
    return names[0]


class Trainer:
    """A training run: model, tasks and the outer state."""

    def __init__(self, job: Job, group: Processes, folder: Path) -> None:
        """Load the backbone, the meta-tasks and the last checkpoint of the run's folder.

        Raises:
            UserError: E-MEMORY, before the adapter is made, if updates are left and memory does not suffice for them.
        """
        self.job = job
        self.group = group
        self.memory = Memory()
        model = backbone.load(job.model, job.backbone)
        self.tasks = MetaTasks(job, model)
        self.model: nn.Module = adapter.attach(model, job.adapter)
        if job.train.activation_checkpointing:
            recompute_layers(self.model)
        self.updates = math.ceil(self.tasks.count / job.train.meta_batch)
        self.objective = job.objective()
        checkpoint = group.of_leader(checkpoints.newest(folder) if group.leads else None)
        self.update = checkpoint.update if checkpoint else 0
        self.log: list[list[float | None]] = checkpoint.record["log"] if checkpoint else []
        # Parts round otherwise than a whole, so a run that has gone over to them goes on in them.
        self.parts: int = checkpoint.record["parts"] if checkpoint else 1
        self.expected = ""
        if self.update < self.updates:
            self.expected = self.memory.require(job, self.model, self.tasks.longest(), self.tasks.query_packs)
        generator = torch.Generator().manual_seed(job.seed)
        self.outer = Outer(inner_rates.initial(adapter.initial(self.model, generator), job.mta), job.train)
        if checkpoint:
            self.outer.restore(checkpoint.tensors)

    def state_bytes(self) -> int:
        """Return the size of a checkpoint: weights and two moments."""
        return 3 * sum(tensor.numel() * tensor.element_size() for tensor in self.outer.phi.values())

    def run(self, folder: Path, supervisor: Supervisor) -> None:
        """Do the updates that are left."""
        with (
            closing(curves(self.job.method, leads=self.group.leads)) as live,
            closing(Progress(self.job.method, self.update, self.updates, shown=self.group.leads)) as progress,
        ):
            self._draw(live, 0)
            if self.expected:
                self._warn(progress)
                progress.say(self.expected)
            saved = time.monotonic()
            supervisor.give_sign()
            for batch in self._batches():
                contributions = self._apply(batch, supervisor)
                progress.show(self.log, contributions)
                self._draw(live, self.update - 1)
                reason = next(filter(None, self.group.gather(supervisor.reason_to_pause())), "")
                due = self.update % self.job.train.checkpoint_every == 0 or time.monotonic() - saved > LONGEST
                if self.group.leads and (reason or due or self.update == self.updates):
                    checkpoints.save(folder, Checkpoint(self.update, self.outer.state(), {"log": self.log, "parts": self.parts}))
                    saved = time.monotonic()
                if reason and self.update < self.updates:
                    raise Pause(reason)
            if self.expected:
                progress.say(self.memory.measured())

    def _warn(self, progress: Progress) -> None:
        """Say so where the inner loop is too short for the support set, which fine-tuning is trained on in full."""
        steps = self.job.mta.inner_steps if self.job.mta else self.tasks.support_packs
        if steps < self.tasks.support_packs:
            what = (
                f"mta.inner_steps is {steps}, so {steps} of the {self.tasks.support_packs} support packs of a meta-task are read;"
            )
            what += " raise it, or lower meta_tasks.support_packs, for the tasks that ft reads"
            progress.say(warning("W-SUPPORT", what))

    def _draw(self, live: Curves, drawn: int) -> None:
        """Add the log's rows after the first `drawn` to the curves."""
        for update, row in enumerate(self.log[drawn:], drawn + 1):
            live.draw(update, {name: value for name, value in zip(LOG_COLUMNS[1:], row[1:], strict=True) if value is not None})

    def publish(self) -> None:
        """Publish the adapter, its configuration and the log."""
        learned = inner_rates.published(self.outer.phi, self.job.mta)
        made_from = {"backbone": backbone.fingerprint(self.job.model), "dtype": name_of(self.job.backbone)}
        read_as = {"prompt": self.tasks.renderer.template.form(turns=self.tasks.channel)}
        extra = made_from | read_as | {"method": self.job.method, **learned}
        with publishing(self.job.out, FILES, producer="train", inputs=self.job.inputs(), extra=extra) as paths:
            weights, _ = inner_rates.split(self.outer.phi)
            adapter.save(weights, self.job.adapter, self.job.model.as_posix(), paths)
            with paths[LOG].open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(LOG_COLUMNS)
                writer.writerows(self.log)

    def _batches(self) -> Iterator[range]:
        """Yield the numbers of the meta-tasks of each update that is left."""
        size = self.job.train.meta_batch
        for update in range(self.update, self.updates):
            yield range(update * size, min(self.tasks.count, (update + 1) * size))

    def _evaluate(self, weights: Tensors, pack: AnyPack) -> Outcome:
        outcome = evaluate_in_parts(self._evaluate_whole, weights, pack, self.parts)
        if not torch.isfinite(outcome.loss_Q).all():
            bad = [name for name, loss in zip(pack.task_ids, outcome.loss_Q.tolist(), strict=True) if not math.isfinite(loss)]
            raise self._nonfinite("a loss is NaN or infinite", ", ".join(bad[:8]))
        return outcome

    def _evaluate_whole(self, weights: Tensors, pack: AnyPack) -> Outcome:
        return evaluate(self.model, weights, pack, self.job.train)

    def _contribute(self, task: MetaTask) -> Contribution:
        """Return what the method makes of a meta-task, in as many parts as memory asks for."""
        packs = [*task.support, *task.query]
        while True:
            try:
                step = self.objective(self._evaluate, self.outer.phi, task)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                message = str(error)
            else:
                tasks, tokens = sum(len(pack.gold_Q) for pack in packs), sum(pack.tokens for pack in packs)
                return Contribution(step, tasks, tokens, self.parts)
            # Not in the handler: the error's traceback keeps the tensors of the failed step.
            self.parts = more_parts(self.parts, packs, self.update + 1, message)

    def _apply(self, batch: range, supervisor: Supervisor) -> list[Contribution]:
        """Do one update with the mean gradient of its meta-tasks, which the processes take in turn."""
        total: dict[str, Tensor] = {}
        contributions: list[Contribution] = []
        for first in range(0, len(batch), self.group.size):
            own = batch[first : first + self.group.size][self.group.rank : self.group.rank + 1]
            done = self._contribute(self.tasks.read(own[0])) if own else None
            for contribution in exchange(self.group, done, self.outer.phi):
                share = {name: tensor / len(batch) for name, tensor in contribution.step.gradient.items()}
                total = {name: total[name] + share[name] for name in share} if total else share
                contributions.append(contribution)
            supervisor.give_sign()
            # All go over to parts where one has to, since a checkpoint has one number for all.
            self.parts = max(self.parts, *(contribution.parts for contribution in contributions))
        rate = learning_rate(self.update, self.updates, self.job.train)
        norm = self.outer.apply(total, rate)
        if not math.isfinite(norm):
            raise self._nonfinite("the gradient is NaN or infinite", f"meta-tasks {', '.join(map(str, batch))}")
        self.update += 1
        self.log.append([self.update, *_means(contributions), round(norm, 6), rate])
        return contributions

    def _nonfinite(self, what: str, tasks: str) -> UserError:
        return UserError(
            "E-NONFINITE",
            f"{what} at update {self.update + 1} of {self.updates}; no update was applied",
            tasks,
            fix="lower train.learning_rate (or mta.inner_lr); the last checkpoint is kept",
            kept="earlier artifacts and checkpoints are as they were",
            exit_code=Exit.DATA,
        )


def _means(contributions: list[Contribution]) -> list[float | None]:
    """Return what the log tells of an update: the means of `OF_STEP` over the meta-tasks that have a value; None if none has."""
    return [_mean([getattr(contribution.step, name) for contribution in contributions]) for name in OF_STEP]


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 6) if known else None
