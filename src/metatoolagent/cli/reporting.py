"""Commands that show results: tables, figures, the page, what it all costs."""

from pathlib import Path
from typing import Annotated

import typer

from metatoolagent import params
from metatoolagent.cli.options import (
    BACKBONE,
    INTERIM,
    Log,
    MetricsFiles,
    Model,
    Out,
    Parameters,
    VariantPredictions,
    by_method,
    by_variant,
)


def report_chains(
    prediction: VariantPredictions,
    out: Out,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Turn the choices on chains into metrics, a table, a figure and a paragraph."""
    del log
    from metatoolagent.reporting import chains

    given = params.given(parameters)
    chains.report(by_variant(prediction), given.section(params.Metrics).bootstrap, given.seed, out)


def results(
    files: Annotated[list[Path] | None, typer.Argument(help="Metrics files; all that there are where left out.")] = None,
    save: Annotated[bool, typer.Option("--save", help="Write docs/results/metrics.json as well.")] = False,
) -> None:
    """Print the table of methods, splits and pools."""
    from metatoolagent.reporting import tables

    tables.show(files or tables.found(), save=save)


def show(
    task_id: str,
    variant: Annotated[
        str, typer.Option(help="Folder in results/ of the split or benchmark, such as sd or toolalpaca-cd.")
    ] = "main",
    model: Model = BACKBONE,
) -> None:
    """Print the prompt of TASK_ID, such as all-000017, and what every method answered."""
    from metatoolagent.reporting import show as room

    benchmark = variant.removesuffix("-cd").removesuffix("-sd")
    external = INTERIM / benchmark
    room.show(task_id, Path("results") / variant, external if external.is_dir() else external.parent, model)


def figures(
    metrics: MetricsFiles,
    breakdown: Annotated[list[Path], typer.Option(help="Folder of breakdowns, once for each split.")],
    curve: Annotated[list[str], typer.Option(help="METHOD=FILE of a training log.")],
    out: Out,
    log: Log = None,
) -> None:
    """Draw the figures of the report."""
    del log
    from metatoolagent.reporting import figures as stage

    stage.publish(metrics, breakdown, {method: files[0] for method, files in by_method(curve).items()}, out)


def page(
    figure: Annotated[Path, typer.Option("--figures", help="Folder of the figures.")],
    caption: Annotated[Path, typer.Option("--captions", help="Folder of their captions.")],
    metrics: MetricsFiles,
    prediction: Annotated[list[str], typer.Option(help="SPLIT:METHOD=FILE, once for each fold.")],
    catalog: Annotated[list[str], typer.Option(help="SPLIT=FOLDER of the catalog.")],
    out: Out,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Make the page that shows every result, in one file."""
    del log
    from metatoolagent.reporting import page as stage

    files: dict[str, dict[str, list[Path]]] = {}
    for key, paths in by_method(prediction).items():
        split, _, method = key.partition(":")
        files.setdefault(split, {})[method] = paths
    catalogs = {split: paths[0] for split, paths in by_method(catalog).items()}
    stage.publish(stage.Sources(figure, caption, metrics, files, catalogs), params.given(parameters).values, out)


def cost() -> None:
    """Print what the programme costs in tokens, FLOPs, hours and storage, as Markdown."""
    from metatoolagent.reporting import cost as room

    print(room.render(), end="")
