"""Tables that a stage is given, by their columns: one that is another table than is expected ends the job with one error.

`catalog/schemas.py`, the data dictionary, says what stands in each column. The stages that train and answer read tasks with this
module alone, so that an edit of the dictionary does not run them again; a test holds the two together.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from metatoolagent.artifacts import KEPT, verify
from metatoolagent.errors import Exit, UserError, shown

CHOICE = ("question_id", "candidates", "gold", "position")
META_TASKS = ("meta_task", "role", "pack", "task", *CHOICE, "documentation")
EVAL_TASKS = ("task_id", "pool", "part", *CHOICE)
INJECTED_TASKS = (*EVAL_TASKS, "attacked", "attack", "instruction")
MAGIC = b"PAR1"
"""Begins every parquet file."""


def read(path: Path, what: str, *tables: Sequence[str]) -> pl.DataFrame:
    """Return a published table.

    Args:
        path: the file.
        what: it is a table of, for the error.
        tables: the columns that it may have: all of one of them and no others. The first ones are told in the error.

    Raises:
        UserError: E-MISSING or E-CORRUPT; E-SCHEMA (exit code 66) if it is another table, or none.
    """
    frame = pl.read_parquet(parquet(path, what, tables[0]))
    if set(frame.columns) not in map(set, tables):
        raise another(str(path), what, tables[0], f"columns {', '.join(frame.columns)}")
    return frame


def parquet(path: Path, what: str, columns: Sequence[str]) -> Path:
    """Return the path of a published parquet file; arguments and errors as `read`."""
    with verify(path).open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise another(str(path), what, columns, "no parquet file")
    return path


def read_csv(path: Path, what: str, columns: Sequence[str]) -> pl.DataFrame:
    """Return a published table in CSV that has some columns, and maybe others; arguments and errors as `read`."""
    try:
        frame = pl.read_csv(verify(path), infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        if "(os error" in str(error):
            raise
        raise another(str(path), what, columns, "no CSV file") from None
    if not set(columns) <= set(frame.columns):
        raise another(str(path), what, columns, f"columns {', '.join(frame.columns)}")
    return frame


def another(where: str, what: str, columns: Sequence[str], got: str) -> UserError:
    """Return the error of a table that is not the one that is expected."""
    fix = f"name a file of {what}, with the columns {', '.join(columns)}"
    return UserError("E-SCHEMA", f"not a table of {what}", where, shown(got), fix, KEPT, exit_code=Exit.ARTIFACT)
