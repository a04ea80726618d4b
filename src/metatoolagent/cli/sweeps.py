"""The command for the sweeps."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metatoolagent import params
from metatoolagent.cli.options import Log, Out, Parameters, require_known
from metatoolagent.errors import Exit, UserError, shown

if TYPE_CHECKING:
    from metatoolagent.sweeps.runs import Run


def sweep(
    name: str,
    runs: Annotated[typer.FileText, typer.Option(help="File of the runs as JSON, as rule sweep gives them; -: standard input.")],
    out: Out,
    parts: Annotated[Path | None, typer.Option(help="Folder of the parts, whose training tools sweep queries counts.")] = None,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Turn the predictions of sweep NAME into its table, figure and paragraph."""
    del log
    from metatoolagent.sweeps import stage
    from metatoolagent.sweeps.runs import NAMES

    require_known("sweep", name, list(NAMES))
    counted = parts if name == "queries" else None
    if name == "queries" and counted is None:
        fix = "name the folder that rule sweep names: --parts data/processed/cd"
        raise UserError("E-OPTION", "sweep queries counts the training tools", "option --parts", fix=fix, exit_code=Exit.PARAMS)

    given = params.given(parameters)
    caps = given.section(params.Caps, "sweeps.caps").model_dump()
    stage.collect(name, _read(runs), caps, given.section(params.Metrics).bootstrap, given.seed, out, counted)


def _read(file: typer.FileText) -> "list[Run]":
    """Return the runs of a file.

    Raises:
        UserError: E-RUNS (exit code 64) if it is not what rule sweep writes, or has no run.
    """
    from metatoolagent.sweeps.runs import from_json

    text = ""
    try:
        text = file.read()
        runs = from_json(text)
    except (ValueError, TypeError) as error:  # not UTF-8, not JSON, or not a list of runs
        what = f"not the runs of a sweep as JSON: {error}"
    else:
        if runs:
            return runs
        what = "there is no run"
    fix = "give the list that rule sweep gives: sweeps.runs.to_json writes it"
    raise UserError("E-RUNS", what, f"option --runs, {file.name}", shown(text), fix, exit_code=Exit.PARAMS)
