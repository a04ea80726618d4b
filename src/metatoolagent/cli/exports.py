"""Commands that write the data for other programs: `mta export ...`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from metatoolagent import params
from metatoolagent.cli.options import BACKBONE, INTERIM, Catalog, Model, Out, Parameters, catalog_of, named, once


class DatasetFirst(TyperGroup):
    """A group whose first command may be left out: `mta export --out FOLDER` exports the dataset."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name the command where an option comes first."""
        named = args and (not args[0].startswith("-") or args[0] == "--help")
        return super().parse_args(ctx, args if named else ["dataset", *args])


exports = typer.Typer(name="export", help="Write the dataset or its tasks for other programs.", cls=DatasetFirst)


@exports.command("dataset")
def export_dataset(out: Out, catalog: Catalog = INTERIM, parameters: Parameters = None) -> None:
    """Write the ingested dataset as parquet, with the part of every tool, its metadata, and its card and licence if there are."""
    from metatoolagent.tasks import export as stage

    given = params.given(parameters)
    stage.export(catalog, given.section(params.Split), given.seed, out)


@exports.command("lm-eval")
def export_lm_eval(
    out: Out,
    tasks: Annotated[list[str] | None, typer.Option(help="SPLIT=FILE, once for each split; that of eval_cd if left out.")] = None,
    catalog: Annotated[
        Path | None, typer.Option(help="Folder of the catalog of all tasks; that of each file's variant if left out.")
    ] = None,
    model: Model = BACKBONE,
    parameters: Parameters = None,
) -> None:
    """Write evaluation tasks as tasks of lm-evaluation-harness, with the prompts of `mta evaluate`."""
    from metatoolagent.evaluation import harness

    limit = params.given(parameters).section(params.Evaluate).max_new_tokens
    files = once(named(item, "SPLIT=FILE", "[a-z0-9_-]+") for item in tasks or ["cd=results/main/tasks/eval_tasks.parquet"])
    sources = {split: harness.Source(path, catalog or catalog_of(path.parent.parent)) for split, path in files.items()}
    differing = harness.export(sources, model, limit, out)
    for key, count in differing.items():
        print(f"{key}: lm-evaluation-harness reads {count} tasks as other tokens than mta evaluate")
