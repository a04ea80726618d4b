"""Predictions that a test writes by hand, with the columns that it does not look at."""

import polars as pl

from metatoolagent.catalog import schemas

FILLED = {"part": "test", "position": 0, "log_probabilities": None, "free_text": "", "reasoning": None, "outcome": "none"}
"""What a column holds that is not given; the others must be."""


def whole(frame: pl.DataFrame, schema: schemas.Table = schemas.PREDICTIONS) -> pl.DataFrame:
    """Return predictions as a method publishes them: all columns, in their order and of their types."""
    lacking = {name: pl.lit(value) for name, value in FILLED.items() if name not in frame.columns}
    filled = frame.with_columns(**lacking)
    there = {name: column for name, column in schema.columns.items() if column.required or name in frame.columns}
    return filled.select(pl.col(name).cast(column.dtype.type) for name, column in there.items())
