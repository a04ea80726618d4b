"""What several benchmarks measure on: tasks drawn as the stages draw them, with any number of distractors, and the backbone.

It needs models/backbone and data/interim (`snakemake --cores 8 backbone ingest` makes them).
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import polars as pl
import torch
from torch import nn

from measuring import RUNS
from metatoolagent import params
from metatoolagent.models import adapter, backbone
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks import eval_tasks, meta_tasks, splits
from metatoolagent.tasks.prompts import read_template
from metatoolagent.tasks.rendering import Renderer, Row

Groups = list[list[Row]]
"""Tasks, those that share a candidate set together."""


@dataclass(frozen=True)
class Bench:
    """A backbone and a catalog, with the committed params."""

    model: Path
    catalog: Path
    chosen: params.Params

    def load(self) -> nn.Module:
        """Return the backbone as the stages load it."""
        return backbone.load(self.model, self.chosen.backbone)

    def adapted(self) -> tuple[nn.Module, Tensors, Renderer]:
        """Return the backbone with LoRA layers, their tensors before any training, and what renders tasks for it."""
        plain = self.load()
        renderer = self.renderer(plain)
        model = adapter.attach(plain, self.chosen.adapter)
        return model, adapter.initial(model, torch.Generator().manual_seed(0)), renderer

    def renderer(self, model: nn.Module) -> Renderer:
        """Return what renders tasks over the catalog for a loaded backbone."""
        context = int(model.config.max_position_embeddings)  # type: ignore[union-attr, arg-type]
        return Renderer(self.catalog, read_template(backbone.load_tokenizer(self.model)), context)

    def evaluation_tasks(self, distractors: int, count: int) -> Groups:
        """Return the first tasks of split cd, pool all; as many share a candidate set as in an evaluation."""
        rows = self._drawn(distractors, "eval_tasks", {}, {"count": max(count, self.chosen.eval_tasks.count)})
        shared = groupby(rows.filter(pool="all").head(count).to_dicts(), key=lambda row: row["candidates"])
        return [list(group) for _, group in shared]

    def both_ways(self, distractors: int, count: int) -> dict[str, Groups]:
        """Return those tasks twice, by how many share a candidate set: as in an evaluation, and each alone."""
        shared = self.evaluation_tasks(distractors, count)
        return {
            f"up to {self.chosen.eval_tasks.tasks_per_set} tasks a candidate set": shared,
            "1 task a candidate set": [[task] for group in shared for task in group],
        }

    def training_packs(self, distractors: int, tasks_per_pack: int, count: int) -> Groups:
        """Return the tasks of the first packs of split cd, in the order in which training takes them."""
        changes = {"tasks_per_pack": tasks_per_pack, "count": count, "documentation": 0.0}
        rows = self._drawn(distractors, "meta_tasks", changes, {})
        packs = rows.group_by("meta_task", "role", "pack", maintain_order=True)
        return [group.to_dicts() for _, group in packs][:count]

    def validation_tasks(self, distractors: int, count: int) -> Groups:
        """Return tasks on the validation tools of split cd, pool all, spread over those tools."""
        rows = self._drawn(distractors, "eval_tasks", {}, {"count": count, "part": "validation", "tasks_per_set": 6})
        return [list(group) for _, group in groupby(rows.filter(pool="all").to_dicts(), key=lambda row: row["candidates"])]

    def training_course(self, distractors: int, tasks_per_pack: int, packs: int, count: int) -> Groups:
        """Return the tasks of all packs of a run, documentation first as in training.

        Args:
            distractors: wrong tools in each candidate set.
            tasks_per_pack: tasks that share a candidate set.
            packs: how many times as many packs a meta-task has as params.yaml says.
            count: meta-tasks.
        """
        meta = self.chosen.meta_tasks
        changes = {"tasks_per_pack": tasks_per_pack, "count": count}
        more = {"support_packs": meta.support_packs * packs, "query_packs": meta.query_packs * packs}
        rows = self._drawn(distractors, "meta_tasks", changes | more, {})
        return [group.to_dicts() for _, group in rows.group_by("meta_task", "role", "pack", maintain_order=True)]

    def _drawn(self, distractors: int, table: str, meta: Mapping[str, float], evaluation: Mapping[str, float]) -> pl.DataFrame:
        chosen = self.chosen
        training = chosen.meta_tasks.model_copy(update=dict(meta))
        evaluated = chosen.eval_tasks.model_copy(update=dict(evaluation))
        with tempfile.TemporaryDirectory() as name:
            parts, out = Path(name) / "parts", Path(name) / "tasks"
            splits.split(self.catalog, "cd", chosen.split, chosen.seed, parts)
            given = parts, self.catalog, "cd", distractors, chosen.seed
            if table == "meta_tasks":
                meta_tasks.materialize(*given, training, out)
            else:
                eval_tasks.materialize(*given, evaluated, training, out)
            return pl.read_parquet(out / f"{table}.parquet")


def parser(description: str | None, result: Path, *, repeated: bool = True) -> argparse.ArgumentParser:
    """Return a parser of the options that all benchmarks on a backbone have.

    Args:
        description: of the benchmark.
        result: where its results go unless another place is named.
        repeated: whether it measures several times.
    """
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--model", type=Path, default=Path("models/backbone"))
    options.add_argument("--catalog", type=Path, default=Path("data/interim"))
    options.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    if repeated:
        options.add_argument("--runs", type=int, default=RUNS)
    options.add_argument("--out", type=Path, default=result)
    return options


def evaluation_parser(description: str | None, result: Path) -> argparse.ArgumentParser:
    """Return a parser for benchmarks on evaluation tasks; arguments as `parser`."""
    options = parser(description, result)
    options.add_argument("--distractors", type=int, nargs="+", default=[5, 20])
    options.add_argument("--tasks", type=int, default=16)
    return options


def opened(given: argparse.Namespace) -> Bench:
    """Return what the options name, under the committed params but for the dtype; the measurement may use this job's cores."""
    backbone.use_cores()
    backbone.keep_few_kernels()
    committed = params.load(Path("params.yaml"))
    chosen = committed.backbone.model_copy(update={"dtype": given.dtype})
    return Bench(given.model, given.catalog, committed.model_copy(update={"backbone": chosen}))
