"""Training, packed against unpacked: tasks a second on one machine.

`python benchmarks/packing.py` needs models/backbone and results/main/tasks (run `snakemake --cores 8 eval_cd` first). It first
checks that both sides compute the same loss. Writes benchmarks/results/packing.json.
"""

import statistics
from pathlib import Path

import polars as pl
import torch

from measuring import row, times, write
from metatoolagent import params
from metatoolagent.meta.losses import evaluate, gradient, leaves
from metatoolagent.models import adapter, backbone
from metatoolagent.tasks.packing import Pack
from metatoolagent.tasks.prompts import read_template
from metatoolagent.tasks.rendering import Renderer

MODEL, CATALOG, TASKS = Path("models/backbone"), Path("data/interim"), Path("results/main/tasks/meta_tasks.parquet")
RESULT = Path("benchmarks/results/packing.json")


def main() -> None:
    """Measure both losses at the committed params."""
    chosen = params.load(Path("params.yaml"))
    model = adapter.attach(backbone.load(MODEL, chosen.backbone), chosen.adapter)
    renderer = Renderer(CATALOG, read_template(backbone.load_tokenizer(MODEL)), int(model.config.max_position_embeddings))
    weights = adapter.initial(model, torch.Generator().manual_seed(0))
    rows = pl.read_parquet(TASKS).filter((pl.col("meta_task") == 0) & (pl.col("role") == "query")).sort("pack", "task").to_dicts()
    rows = rows[: chosen.meta_tasks.tasks_per_pack]
    results = []
    for loss in ("answer", "selection"):
        train = chosen.train.model_copy(update={"loss": loss})
        packed = [renderer.pack(rows, gold_only=loss == "answer")]
        single = [renderer.pack([task], gold_only=loss == "answer") for task in rows]

        def step(packs: list[Pack], train: params.Train = train) -> float:
            total = 0.0
            for pack in packs:
                theta = leaves(weights)
                mean = evaluate(model, theta, pack, train).loss / len(packs)
                gradient(mean, theta)
                total += mean.item()
            return total

        difference = abs(step(packed) / step(single) - 1)
        assert difference < 0.02, f"packed and unpacked losses differ by {difference:.1%} in {chosen.backbone.dtype}"
        ours, peer = (len(rows) / statistics.median(times(lambda packs=packs: step(packs))) for packs in (packed, single))
        bound = sum(pack.tokens for pack in single) / packed[0].tokens
        name = f"training step, loss {loss}, {len(rows)} tasks a pack, {chosen.distractors} distractors (token bound {bound:.2f})"
        results.append(row(name, "tasks/s", ours, peer, "the same step, one task at a time", lower_is_better=False))
        print(results[-1])
    write(results, RESULT)


if __name__ == "__main__":
    main()
