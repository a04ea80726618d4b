"""Commands that let a method answer tasks."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metatoolagent import params
from metatoolagent.cli.options import BACKBONE, Adapter, Catalog, Log, Model, Out, Parameters, Tasks, require_known

if TYPE_CHECKING:
    from metatoolagent.evaluation.job import Job


def evaluate(
    method: str,
    tasks: Tasks,
    catalog: Catalog,
    out: Out,
    model: Model = BACKBONE,
    adapter: Adapter = None,
    demonstrations: Annotated[Path | None, typer.Option(help="File of the training tasks that icl is shown some of.")] = None,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Let METHOD answer every evaluation task, by score and freely; random and bm25 need no backbone."""
    del log
    require_known("method", method, list(params.OF_METHOD))
    from metatoolagent.evaluation import predicting

    given = params.given(parameters)
    predicting.evaluate(_job(method, given, tasks, catalog, out, model, adapter, demonstrations))


def evaluate_chains(
    method: str,
    tasks: Tasks,
    catalog: Catalog,
    out: Out,
    model: Model = BACKBONE,
    adapter: Adapter = None,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Apply METHOD step by step to every chain, after its own choices and after the gold ones."""
    del log
    require_known("method", method, list(params.OF_METHOD))
    from metatoolagent.evaluation import chains

    given = params.given(parameters)
    chains.evaluate(_job(method, given, tasks, catalog, out, model, adapter))


def adapt(
    method: str,
    tasks: Tasks,
    support: Annotated[Path, typer.Option(help="File of the tasks to adapt on.")],
    catalog: Catalog,
    out: Out,
    model: Model = BACKBONE,
    adapter: Annotated[Path | None, typer.Option(help="Folder of the adapter; none for a fresh one.")] = None,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Let METHOD answer every evaluation task after each number of inner steps on the support tasks."""
    del log
    require_known("method", method, list(params.PROBED))
    from metatoolagent.evaluation import adapting

    given = params.given(parameters)
    # An adapter is adapted in any case, a fresh one where none is named.
    job = replace(_job(method, given, tasks, catalog, out, model, adapter), adapter=given.section(params.Adapter))
    train, mta, probes = given.section(params.Train), given.section(params.Mta), given.section(params.Probes)
    adapting.run(adapting.Adaptation(job, support, train, mta, probes.steps))


def _job(
    method: str,
    given: params.Given,
    tasks: Path,
    catalog: Path,
    out: Path,
    model: Path,
    adapter: Path | None,
    demonstrations: Path | None = None,
) -> "Job":
    """Return what to evaluate, with this job's cores in use.

    Raises:
        UserError: E-PARAMS (exit code 64) if a section is missing that the method reads.
    """
    from metatoolagent.evaluation.job import Job

    with_model = method not in params.MODEL_FREE
    if with_model:
        from metatoolagent.models.backbone import use_cores

        use_cores()
    sections = params.EVALUATED_WITH.get(method, ())
    return Job(
        method=method,
        backbone=given.section(params.Backbone) if with_model else None,
        adapter=given.section(params.Adapter) if adapter else None,
        evaluate=None if method in params.SELECTING else given.section(params.Evaluate),
        tasks=tasks,
        catalog=catalog,
        model=model,
        weights=adapter,
        out=out,
        seed=given.seed,
        demonstrations=demonstrations,
        reasoning=given.section(params.Reasoning) if "reasoning" in sections else None,
        icl=given.section(params.Icl) if "icl" in sections else None,
    )
