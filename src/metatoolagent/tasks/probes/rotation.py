"""Rotation: each task once for every turn of its candidates, so that the gold tool stands once in every place."""

import polars as pl


def tasks(base: pl.DataFrame) -> pl.DataFrame:
    """Return the turns of each task, `-turn0` being the task itself; the candidates keep their cyclic order.

    Args:
        base: evaluation tasks.
    """
    rows = []
    for row in base.iter_rows(named=True):
        for turn in range(len(row["candidates"])):
            turned = row["candidates"][turn:] + row["candidates"][:turn]
            place = {"task_id": f"{row['task_id']}-turn{turn}", "position": turned.index(row["gold"])}
            rows.append(row | {"candidates": turned} | place)
    return pl.DataFrame(rows, schema=base.schema)
