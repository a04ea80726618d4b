"""The command line `mta`: one subcommand a rule, and those that people use by hand.

A subcommand imports its room when it runs, so that `mta ingest` does not wait for torch.
"""

import os
import traceback
from typing import Annotated

import typer

from metatoolagent import __version__
from metatoolagent.cli import data, evaluation, measuring, reporting, sweeps, tasks, training
from metatoolagent.cli.exports import exports
from metatoolagent.cli.failures import of_library, of_system, stop
from metatoolagent.errors import LOG_JSON, Exit, UserError

BY_HAND = (
    reporting.results,
    reporting.show,
    evaluation.rank,
    data.import_tools,
    data.check,
    data.measure_data,
    data.verify,
    tasks.split_list,
    reporting.cost,
)
STEPS = (
    data.ingest,
    data.ingest_chains,
    tasks.split,
    tasks.materialize,
    tasks.materialize_evaluation,
    data.ingest_external,
    tasks.materialize_external,
    tasks.materialize_chains,
    tasks.materialize_overlap,
    tasks.materialize_probe,
    tasks.materialize_adaptation,
    training.backbone,
    training.train,
    evaluation.evaluate,
    evaluation.evaluate_chains,
    reporting.report_chains,
    evaluation.adapt,
    measuring.metrics,
    measuring.metrics_external,
    sweeps.sweep,
    measuring.metrics_probe,
    measuring.breakdowns,
    reporting.figures,
    reporting.page,
)
"""In the order of `mta --help`; a command has the name of its function, with hyphens."""
PANELS = {"For people": BY_HAND, "Steps of the pipeline, which Snakemake and DVC run": STEPS}

app = typer.Typer(name="mta", no_args_is_help=True, add_completion=False)
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(exports, rich_help_panel="For people")


def told_version(asked: bool) -> None:
    """Print the version and end, if it is asked for."""
    if asked:
        print(f"metatoolagent {__version__}")
        raise typer.Exit


@app.callback()
def common(
    log_json: Annotated[
        bool, typer.Option("--log-json", help=f"Print errors and warnings as lines of JSON; {LOG_JSON}=1 does so for all jobs.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", callback=told_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Meta-learned tool selection."""
    del version  # where it is asked for, told_version has ended the run
    if log_json:
        os.environ[LOG_JSON] = "1"


def main() -> None:
    """Run the command line; every error that a user can act on ends with its exit code and without a traceback."""
    try:
        app(standalone_mode=True)
    except UserError as error:
        stop(error)
    except OSError as error:
        stop(of_system(of_library(error) or error))
    except Exception as error:
        if (wrapped := of_library(error)) is not None:
            stop(of_system(wrapped))
        what = "this is our mistake; please report it with these lines"
        stop(UserError("E-BUG", what, more=traceback.format_exc(), exit_code=Exit.BUG))
