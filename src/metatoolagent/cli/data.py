"""Commands for the data: read it, check it, measure it."""

from pathlib import Path
from typing import Annotated

import typer

from metatoolagent import params
from metatoolagent.cli.options import INTERIM, Catalog, Log, Out, Parameters
from metatoolagent.errors import escaped


def ingest(out: Out = INTERIM, parameters: Parameters = None, log: Log = None) -> None:
    """Read the tools and questions, check every row, and publish them as parquet."""
    del log
    from metatoolagent.catalog import ingest as stage

    stage.ingest(params.given(parameters).section(params.Ingest), out)


def ingest_chains(out: Out, catalog: Catalog = INTERIM, parameters: Parameters = None, log: Log = None) -> None:
    """Read the questions that need several tools, check every row, and publish them as parquet."""
    del log
    from metatoolagent.catalog import chain_stage as stage

    given = params.given(parameters)
    stage.ingest(
        given.part(params.Chains, "chains", benchmarks=[]),
        catalog,
        allow_rejected=given.section(params.Ingest).allow_rejected,
        out=out,
    )


def ingest_external(benchmark: str, out: Out, log: Log = None) -> None:
    """Fetch the files of BENCHMARK (toolalpaca or apibench), and publish its tools and questions as parquet."""
    del log
    from metatoolagent.catalog.external import stage

    stage.ingest(benchmark, out)


def import_tools(
    source: Annotated[Path, typer.Argument(help="JSON: a list of tools as OpenAI, Anthropic or MCP have them.")],
    out: Annotated[Path, typer.Option(help="The file to write, <domain>.yaml.")],
) -> None:
    """Write the tools of a JSON file as a domain's file of a catalog."""
    from metatoolagent.catalog.conversion import convert

    count, left_out = convert(source, out)
    print(escaped(f"{count} tools written to {out}" + (f"; fields left out: {', '.join(left_out)}" if left_out else "")))


def check(
    folder: Annotated[Path, typer.Argument(help="Holds tools/ and questions/, and chains/.")] = Path("data"),
    strict: Annotated[bool, typer.Option("--strict", help="Hold it to the rules of this project's own dataset: D-.")] = False,
) -> None:
    """Check the sources of a dataset: every finding with its file and line."""
    from metatoolagent.catalog import check as room

    room.run(folder, strict=strict)


def measure_data(folder: Annotated[Path, typer.Argument(help="Holds tools/ and questions/.")] = Path("data")) -> None:
    """Measure the dataset, print the figures, and write measures.json and croissant.json into its folder."""
    from metatoolagent.catalog import croissant, measures

    measures.write(folder)
    croissant.write(folder)


def verify(paths: list[Path]) -> None:
    """Check artifacts against their manifests."""
    from metatoolagent import artifacts

    for path in paths:
        artifacts.verify(path)
        print(f"ok {path}")
