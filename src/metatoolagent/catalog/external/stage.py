"""Ingestion of a benchmark: its files, pinned by hash, to checked tables."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from metatoolagent import artifacts
from metatoolagent.catalog import schemas
from metatoolagent.catalog.external import apibench, toolalpaca
from metatoolagent.catalog.external.records import Benchmark
from metatoolagent.errors import Exit, UserError
from metatoolagent.sources import TABLE, fetch_file, source

Reader = Callable[[Mapping[str, Path]], Benchmark]
READERS: dict[str, tuple[list[str], Reader]] = {
    "apibench": (apibench.FILES, apibench.read),
    "toolalpaca": (toolalpaca.FILES, toolalpaca.read),
}
"""The files of each benchmark, as data/sources.tsv names them, and what reads them."""

TABLES = {
    "tools.parquet": schemas.TOOLS,
    "questions.parquet": schemas.QUESTIONS,
    "chains.parquet": schemas.CHAINS,
    "published.parquet": schemas.PUBLISHED,
    "excluded.parquet": schemas.EXCLUDED,
}


def ingest(benchmark: str, out: Path) -> None:
    """Publish the tools, the questions, the chains (none in API-Bench), the published names and the excluded rows of a benchmark.

    Args:
        benchmark: its name, a key of `READERS`.
        out: the folder of the artifact.

    Raises:
        UserError: E-BENCHMARK for an unknown one; E-SOURCE, E-DOWNLOAD or E-HASH for its files; E-PARSE or E-FIELD for
            what is in them.
    """
    if benchmark not in READERS:
        raise UserError(
            "E-BENCHMARK", f"no benchmark is named {benchmark}", fix=f"one of {', '.join(READERS)}", exit_code=Exit.PARAMS
        )
    names, read = READERS[benchmark]
    pinned = {name: source(name, TABLE) for name in names}
    with artifacts.scratch() as folder:
        made = read({name: fetch_file(wanted, folder) for name, wanted in pinned.items()})
    extra = {"sources": {name: wanted.sha256 for name, wanted in pinned.items()}}
    if made.unmarked:
        print(f"{made.unmarked} questions of {benchmark} are kept without the marks of their format", file=sys.stderr)  # noqa: T201
    rows = (made.tools, made.questions, made.chains, made.published, made.excluded)
    judged = [apibench.TASKS] if benchmark == "apibench" else []
    with artifacts.publishing(out, list(TABLES), producer="ingest_external", inputs=judged, extra=extra) as paths:
        for (name, schema), records in zip(TABLES.items(), rows, strict=True):
            schemas.write(_frame(records, schema), schema, paths[name])


def _frame(records: Sequence[Mapping[str, object]], schema: schemas.Table) -> pl.DataFrame:
    types = {name: column.dtype.type for name, column in schema.columns.items()}
    return pl.DataFrame(list(records), schema=types).sort((schema.metadata or {})["sorted_by"])
