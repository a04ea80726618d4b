"""Meta-tasks as the trainer needs them: from rows of the materialized file to packs on the device."""

import polars as pl
from torch import nn

from metatoolagent import columns
from metatoolagent.meta.job import Job
from metatoolagent.meta.objectives import MetaTask
from metatoolagent.models import backbone
from metatoolagent.tasks.abstention import NONE
from metatoolagent.tasks.channel import AnyPack, channel
from metatoolagent.tasks.masking import Masks
from metatoolagent.tasks.prompts import read_template
from metatoolagent.tasks.rendering import Renderer


class MetaTasks:
    """The meta-tasks of a run in their materialized order; a pack is rendered when it is asked for."""

    def __init__(self, job: Job, model: nn.Module) -> None:
        """Read the rows, and the catalog that they name.

        Raises:
            UserError: E-CORRUPT, E-MISSING or E-SCHEMA.
        """
        context = int(model.config.max_position_embeddings)  # type: ignore[union-attr, arg-type]
        self.channel = job.method == "channel"
        self.renderer = Renderer(job.catalog, read_template(backbone.load_tokenizer(job.model)), context)
        self.rows = columns.read(job.tasks, "meta-tasks", columns.META_TASKS)
        self.masks = Masks(self.rows, job.masking.share, job.seed) if job.masking else None
        self.count = int(self.rows["meta_task"].n_unique())
        self.support_packs, self.query_packs = (
            int(self.rows.filter(pl.col("role") == role)["pack"].n_unique()) for role in ("support", "query")
        )

    def read(self, index: int) -> MetaTask:
        """Return a meta-task with its packs on the device."""
        rows = self.rows.filter(pl.col("meta_task") == index)
        packs: dict[str, list[AnyPack]] = {"support": [], "query": []}
        for (role, number), group in rows.group_by("role", "pack", maintain_order=True):
            packs[str(role)].append(self._pack(group, self._renderer(group, (index, str(role), int(str(number))))))
        return MetaTask(index, packs["support"], packs["query"])

    def longest(self) -> AnyPack:
        """Return the pack with the most text, which needs the most memory; text is counted without rendering it."""
        best, renderer, most = self.rows.head(0), self.renderer, -1
        for (index, role, number), group in self.rows.group_by("meta_task", "role", "pack", maintain_order=True):
            seen = self._renderer(group, (int(str(index)), str(role), int(str(number))))
            rows = group.drop("documentation") if self.channel else group  # which it has no part for
            texts = [*map(seen.said, rows.iter_rows(named=True)), *(seen.entries[name] for name in group["candidates"][0])]
            size = sum(map(len, texts))
            if size > most:
                best, renderer, most = group, seen, size
        return self._pack(best, renderer)

    def _renderer(self, group: pl.DataFrame, key: tuple[int, str, int]) -> Renderer:
        """Return the renderer of a pack, which masks its tools where the method and the draw say so."""
        if self.masks is None:
            return self.renderer
        candidates = [self.renderer.tools[name] for name in group["candidates"][0] if name != NONE]
        return self.renderer.masked(self.masks.tools(key, candidates))

    def _pack(self, group: pl.DataFrame, renderer: Renderer) -> AnyPack:
        tasks = group.sort("task").to_dicts()
        if self.channel:
            return channel(renderer, tasks).to(backbone.device())
        return renderer.pack(tasks, gold_only=True).to(backbone.device())
