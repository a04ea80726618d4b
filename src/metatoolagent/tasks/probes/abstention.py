"""Abstention: each question with its gold tool among the candidates and without, and `none of these` as one more answer."""

import numpy as np
import polars as pl

from metatoolagent.tasks.abstention import offered
from metatoolagent.tasks.distractors import generator_of


def tasks(base: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return two tasks for each task: `-present` and `-absent`.

    They differ in one place: where one has the gold tool, the other has one more distractor. So they have as many
    candidates, and nothing but the documentation tells them apart.

    Args:
        base: evaluation tasks with one distractor more than the probe's tasks have.
        seed: of the choice of that distractor.
    """
    generator = generator_of(seed, "probes", "abstention")
    rows = []
    for (gold, candidates), group in base.group_by("gold", "candidates", maintain_order=True):
        wrong = [name for name in candidates if name != gold]
        substitute = wrong[int(generator.integers(len(wrong)))]
        # A distractor that is chosen without looking at the order leaves the gold tool's place random.
        present = [name for name in candidates if name != substitute]
        absent = [substitute if name == gold else name for name in present]
        for row in group.iter_rows(named=True):
            for name, shown in (("present", present), ("absent", absent)):
                rows.append(row | {"task_id": f"{row['task_id']}-{name}", "candidates": shown, "position": present.index(gold)})
    frame = pl.DataFrame(rows, schema=base.schema)
    absent_N: np.ndarray = frame["task_id"].str.ends_with("-absent").to_numpy()
    return offered(frame, absent_N)
