"""Few-shot adaptation: what a method selects after some inner steps on a few questions of the very tools it is asked about.

Each episode starts anew from the method's own LoRA tensors and takes the inner loop's plain gradient steps, all on the
episode's one support pack, with the training's loss and rate: theta_{k+1} = theta_k - inner_lr grad L(theta_k).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import polars as pl
import torch
from tqdm import tqdm

from metatoolagent import columns, known, params
from metatoolagent.artifacts import KEPT, publishing, verify
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.evaluation.answers import Answers, answers
from metatoolagent.evaluation.job import Job, Prediction, Tasks
from metatoolagent.evaluation.language import Language, adaptable
from metatoolagent.evaluation.predicting import FILE, table
from metatoolagent.evaluation.scoring import predict
from metatoolagent.meta.inner_loop import adapt
from metatoolagent.meta.losses import Outcome, evaluate
from metatoolagent.models import backbone
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.channel import AnyPack


@dataclass(frozen=True)
class Adaptation:
    """What to adapt, how, and when to look."""

    job: Job
    """What to evaluate; without an adapter, fresh LoRA tensors are adapted, which change nothing before the first step."""
    support: Path
    """The tasks to adapt on, an episode's as the support pack of a meta-task."""
    train: params.Train
    """The loss."""
    mta: params.Mta
    """The inner rate, a fixed one for all methods: rates that were learned belong to one of them."""
    steps: list[int]
    """Inner steps after which the evaluation tasks are answered, rising from 0."""


def run(adaptation: Adaptation) -> None:
    """Publish `predictions.parquet` with a column `steps`: every task once for each number of steps.

    Raises:
        UserError: E-CORRUPT, E-MISSING, E-SCHEMA, E-STALE or E-SUPPORT for inputs; E-CTX; I-PAUSED (exit code 75)
            when asked to stop or when Snakemake or DVC above this process is gone; E-LOCK; E-NONFINITE if the inner
            steps lead to NaN or infinity.
    """
    job = adaptation.job
    tasks = columns.read(job.tasks, "evaluation tasks", columns.EVAL_TASKS)
    support = columns.read(adaptation.support, "meta-tasks", columns.META_TASKS)
    require_support(tasks, support, f"{job.tasks}, {adaptation.support}")
    catalog = set(pl.read_parquet(verify(job.catalog / "tools.parquet"), columns=["name"])["name"])
    known.require(tasks["candidates"].explode().unique(maintain_order=True), catalog, job.catalog)
    parted = [
        (examples, [group.to_dicts() for _, group in asked.group_by("candidates", maintain_order=True)])
        for examples, asked in episodes(support, tasks)
    ]
    rows = [row | {"steps": steps} for _, sets in parted for steps in adaptation.steps for row in chain(*sets)]
    decide = {name: getattr(adaptation, name).model_dump() for name in ("train", "mta")} | {"steps": adaptation.steps}
    with answers(job, len(rows), inputs=[adaptation.support], parameters=decide) as found:
        if len(found.given) < len(rows):
            _answer(adaptation, parted, len(rows), found)
    predictions = [Prediction(**item) for item in found.given]
    inputs = [*job.inputs(), adaptation.support]
    with publishing(job.out, (FILE,), producer="adapt", inputs=inputs, extra=job.record()) as paths:
        table(rows, predictions, catalog).sort("steps", "task_id").write_parquet(paths[FILE])


def _answer(adaptation: Adaptation, parted: Sequence[tuple[pl.DataFrame, Sequence[Tasks]]], total: int, found: Answers) -> None:
    """Adapt in all episodes but those whose tasks are answered, and let the adapted model answer, an episode at a time."""
    language, phi = adaptable(adaptation.job)
    reached, known_answers, name = 0, len(found.given), f"{adaptation.job.method} adaptation"
    with tqdm(total=total, initial=known_answers, desc=name, unit="task", mininterval=15.0) as bar:
        for examples, sets in parted:
            reached += len(adaptation.steps) * sum(map(len, sets))
            if reached <= known_answers:
                continue
            theta_K = iterates(language, phi, examples, adaptation)
            predictions: list[Prediction] = []
            for steps in adaptation.steps:
                predictions += chain(*predict(language.model, theta_K[steps], language.renderer, sets, language.max_new_tokens))
            found.add([asdict(prediction) for prediction in predictions])
            bar.update(reached - bar.n)


def require_support(tasks: pl.DataFrame, support: pl.DataFrame, where: str) -> None:
    """Refuse tasks with candidates that no support tasks have: they would be left out.

    Raises:
        UserError: E-SUPPORT (exit code 66).
    """
    supported = {frozenset(names) for names in support["candidates"].to_list()}
    for task in tasks.iter_rows(named=True):
        if frozenset(task["candidates"]) not in supported:
            what, fix = "a task has candidates that no support tasks have", "name both files of one mta materialize-adaptation"
            raise UserError("E-SUPPORT", what, where, shown(task["task_id"]), fix, KEPT, exit_code=Exit.ARTIFACT)


def episodes(support: pl.DataFrame, tasks: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield the support tasks of each episode and the tasks that are answered in it, those of the same candidates."""
    candidates = [set(names) for names in tasks["candidates"].to_list()]
    for _, examples in support.group_by("meta_task", maintain_order=True):
        wanted = set(examples["candidates"].to_list()[0])
        yield examples.sort("task"), tasks.filter(pl.Series([names == wanted for names in candidates]))


def iterates(language: Language, phi: Tensors, examples: pl.DataFrame, adaptation: Adaptation) -> list[Tensors]:
    """Return theta_0 = phi to theta_K, K being the largest number of steps.

    Raises:
        UserError: E-NONFINITE.
    """
    pack = language.renderer.pack(examples.to_dicts(), gold_only=True).to(backbone.device())

    def loss(weights: Tensors, pack: AnyPack) -> Outcome:
        return evaluate(language.model, weights, pack, adaptation.train)

    plain = {"inner_steps": adaptation.steps[-1], "optimistic": False, "early_stop": False}
    # The support pack is the query set too: nothing is chosen by it, so that no evaluated question has a say.
    trajectory = adapt(loss, phi, [pack], [pack], adaptation.mta.model_copy(update=plain))
    if not all(torch.isfinite(tensor).all() for tensor in trajectory.theta.values()):
        raise UserError(
            "E-NONFINITE",
            f"{adaptation.steps[-1]} inner steps lead to NaN or infinity",
            "the LoRA tensors",
            f"mta.inner_lr: {adaptation.mta.inner_lr}",
            "lower mta.inner_lr",
            exit_code=Exit.DATA,
        )
    return trajectory.iterates()
