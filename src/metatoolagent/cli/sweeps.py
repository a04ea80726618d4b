"""The command for the sweeps."""

from typing import Annotated

import typer

from metatoolagent import params
from metatoolagent.cli.options import Log, Out, Parameters, require_known


def sweep(
    name: str,
    runs: Annotated[typer.FileText, typer.Option(help="File of the runs as JSON, as rule sweep gives them; -: standard input.")],
    out: Out,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Turn the predictions of sweep NAME into its table, figure and paragraph."""
    del log
    from metatoolagent.sweeps import stage
    from metatoolagent.sweeps.runs import NAMES, from_json

    require_known("sweep", name, list(NAMES))

    given = params.given(parameters)
    caps = given.section(params.Caps, "sweeps.caps").model_dump()
    stage.collect(name, from_json(runs.read()), caps, given.section(params.Metrics).bootstrap, given.seed, out)
