"""Tables of questions, which may outgrow memory: read, checked and written a chunk of rows at a time."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import polars as pl

from metatoolagent import artifacts
from metatoolagent.catalog import schemas
from metatoolagent.errors import Exit, UserError, shown

CHUNK = 2**16
"""Rows that are held at once."""

Chunks: TypeAlias = Callable[[], Iterable[pl.DataFrame]]
"""Gives the chunks of a table from its start, each time it is called."""


def in_order(chunks: Iterable[pl.DataFrame], schema: schemas.Table, source: str) -> Iterator[pl.DataFrame]:
    """Yield chunks of a table that is sorted by one unique column, each as `schemas.checked` has checked it.

    Raises:
        UserError: E-SCHEMA, also if a chunk does not begin behind the end of the one before.
    """
    (key,) = (schema.metadata or {})["sorted_by"]
    last = ""
    for chunk in chunks:
        keys = schemas.checked(chunk, schema, source)[key]
        if len(keys) and keys[0] <= last:
            what = f"rows are not sorted by {key}, or one stands twice"
            raise UserError("E-SCHEMA", what, source, shown(keys[0]), kept=artifacts.KEPT, exit_code=Exit.ARTIFACT)
        last = keys[-1] if len(keys) else last
        yield chunk


def read(path: Path, schema: schemas.Table) -> Iterator[pl.DataFrame]:
    """Return the chunks of a published table, checked against its manifest now and against its schema as they come.

    Raises:
        UserError: E-MISSING or E-CORRUPT; E-SCHEMA from the iterator.
    """
    return in_order(of(artifacts.verify(path)), schema, str(path))


def of(path: Path, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
    """Yield the chunks of a table, unchecked; one without rows is one empty chunk.

    Args:
        path: the file.
        columns: those that are read; all where left out.
    """
    rows = pl.scan_parquet(path)
    count = rows.select(pl.len()).collect().item()
    for first in range(0, max(count, 1), CHUNK):
        yield (rows.select(columns) if columns else rows).slice(first, CHUNK).collect()


def write(chunks: Iterable[pl.DataFrame], schema: schemas.Table, path: Path, folder: Path) -> None:
    """Check a table chunk by chunk and write it as `schemas.write` does, while one chunk at a time is in memory.

    Args:
        chunks: the rows, in the order of the column that the table is sorted by, which is unique.
        schema: a table.
        path: the file.
        folder: where the chunks lie until all are checked.

    Raises:
        UserError: E-SCHEMA.
    """
    files: list[Path] = []
    for chunk in in_order(chunks, schema, path.name):
        files.append(folder / f"chunk-{len(files):06}.arrow")
        chunk.write_ipc(files[-1])
    pl.scan_ipc(files).sink_parquet(path, compression="zstd", compression_level=3)
