"""Commands that show results: tables, figures, the page, what it all costs."""

from pathlib import Path
from typing import Annotated

import typer

from metatoolagent import params
from metatoolagent.cli.options import (
    BACKBONE,
    Log,
    MetricsFiles,
    Model,
    Out,
    Parameters,
    VariantPredictions,
    by_variant,
    catalog_of,
    named,
    once,
    one_by_method,
    require_known,
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
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Metrics files, or records in docs/results; all results that there are where left out."),
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Write those of the main splits to docs/results/metrics.json as well.")
    ] = False,
) -> None:
    """Print the table of methods, splits and pools, and which of them were made with other params than params.yaml has now."""
    from metatoolagent.reporting import outdated, tables

    paths = files or tables.found(main=save)
    tables.show(paths, save=save, notes=outdated.notes(paths))


def show(
    task_id: str,
    variant: Annotated[
        str, typer.Option(help="Folder in results/, such as sd, hd-office, toolalpaca-cd, chains or probe-adaptation.")
    ] = "main",
    model: Model = BACKBONE,
    method: Annotated[
        str | None,
        typer.Option(help="Whose prompt to print, such as icl; that of base, ft and mta where left out."),
    ] = None,
) -> None:
    """Print the prompt of TASK_ID, such as all-000017, and what every method answered, at every step where there are some."""
    if method is not None:
        require_known("method", method, list(params.OF_METHOD), "--method")
    from metatoolagent.reporting import show as room

    folder = Path("results") / variant
    room.show(task_id, folder, catalog_of(folder), model, method)


def figures(
    metrics: MetricsFiles,
    breakdown: Annotated[list[Path], typer.Option(help="Folder of breakdowns, once for each split.")],
    curve: Annotated[list[str], typer.Option(help="METHOD=FILE of a training log.")],
    out: Out,
    candidates: Annotated[Path | None, typer.Option(help="Table of the sweep over numbers of distractors.")] = None,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Draw the figures of the report."""
    del log
    from metatoolagent.reporting import figures as stage

    sources = stage.Sources(metrics, breakdown, one_by_method(curve, "--curve"), candidates)
    stage.publish(sources, params.given(parameters).distractors, out)


def page(
    figure: Annotated[Path, typer.Option("--figures", help="Folder of the figures.")],
    caption: Annotated[Path, typer.Option("--captions", help="Folder of their captions.")],
    metrics: MetricsFiles,
    prediction: Annotated[list[str], typer.Option(help="SPLIT:METHOD=FILE, once for each fold.")],
    catalog: Annotated[list[str], typer.Option(help="SPLIT=FOLDER of the catalog.")],
    out: Out,
    probe: Annotated[list[Path] | None, typer.Option(help="Metrics file, once for each probe that was measured.")] = None,
    programme: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of multi_tool or a sweep.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Target beyond eval_cd whose results the page has.")] = None,
    missing: Annotated[list[str] | None, typer.Option(help="Target whose results the page lacks.")] = None,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Make the page that shows every result, in one file."""
    del log
    from metatoolagent.reporting import page as stage
    from metatoolagent.reporting.programme import TITLES

    catalogs = once(named(item, "SPLIT=FOLDER") for item in catalog)
    folders = once(named(item, "NAME=FOLDER") for item in programme or [])
    files: dict[str, dict[str, list[Path]]] = {}
    for item in prediction:
        key, path = named(item, "SPLIT:METHOD=FILE", "[^:]+:[^:]+")
        split, _, method = key.partition(":")
        require_known("method", method, list(params.OF_METHOD), "--prediction")
        require_known("split", split, list(catalogs), "--prediction")
        files.setdefault(split, {}).setdefault(method, []).append(path)
    for name in folders:
        require_known("programme", name, list(TITLES), "--programme")
    sources = stage.Sources(figure, caption, metrics, files, catalogs, probe or [], folders, target or [], missing or [])
    stage.publish(sources, params.given(parameters).values, out)


def cost() -> None:
    """Print what the programme costs in tokens, FLOPs, hours and storage, as Markdown."""
    from metatoolagent.reporting import cost_tables as room

    print(room.render(), end="")
