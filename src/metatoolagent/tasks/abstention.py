"""`none of these` as one more answer: always the last candidate, and right where the gold tool is not among the others."""

import polars as pl

from metatoolagent.tasks.distractors import Bools

NONE = "none of these"
"""No tool of ours can have this name, since names have no spaces."""
NONE_TOOL = {"name": NONE, "description": "No other tool in this list answers the request.", "parameters": "{}"}
"""How it stands in the list: as a tool does, so that nothing but its text tells it from one."""


def offered(tasks: pl.DataFrame, absent_N: Bools) -> pl.DataFrame:
    """Return tasks with `none of these` behind their candidates.

    Args:
        tasks: with candidates, gold and position; gold and position of a task without its gold tool do not matter.
        absent_N: whether a task's gold tool is not among its candidates, so that `none of these` is right.
    """
    absent = pl.lit(pl.Series(absent_N, dtype=pl.Boolean))
    last = pl.col("candidates").list.len().cast(pl.Int16)
    return tasks.with_columns(
        pl.concat_list("candidates", pl.lit(NONE)).alias("candidates"),
        pl.when(absent).then(pl.lit(NONE)).otherwise("gold").alias("gold"),
        pl.when(absent).then(last).otherwise("position").alias("position"),
    )
