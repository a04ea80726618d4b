"""Commands for the backbone and its adapters."""

import sys
from typing import Annotated

import typer

from metatoolagent import params
from metatoolagent.cli.options import BACKBONE, WORK, Catalog, Log, Model, Out, Parameters, Tasks, Work, require_known


def backbone(out: Out = BACKBONE, parameters: Parameters = None, log: Log = None) -> None:
    """Fetch the backbone and bring it to one form on disk."""
    del log
    from metatoolagent.models import backbone as stage

    given = params.given(parameters)
    stage.build(given.section(params.Backbone), out)


def train(
    method: str,
    tasks: Tasks,
    catalog: Catalog,
    model: Model,
    out: Out,
    work: Work = WORK,
    processes: Annotated[int, typer.Option(min=1, help="Number of processes on this machine that train together.")] = 1,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Train an adapter: METHOD is ft, channel, masking or mta. The same command goes on after a kill."""
    del log
    require_known("method", method, [name for name, sections in params.OF_METHOD.items() if "train" in sections])
    from metatoolagent.meta import launching, training
    from metatoolagent.meta.job import Job
    from metatoolagent.meta.processes import launched
    from metatoolagent.models.backbone import keep_few_kernels, use_cores

    use_cores()
    if processes > 1 and not launched():
        sys.exit(launching.launch(processes, sys.argv[1:]))
    keep_few_kernels()
    given = params.given(parameters)
    training.train(
        Job(
            method,
            given.seed,
            given.section(params.Backbone),
            given.section(params.Adapter),
            given.section(params.Train),
            given.section(params.Mta) if method == "mta" else None,
            tasks,
            catalog,
            model,
            out,
            work,
            given.section(params.Masking) if method == "masking" else None,
        )
    )
