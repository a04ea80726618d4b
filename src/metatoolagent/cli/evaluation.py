"""Commands that let a method answer tasks."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metatoolagent import params
from metatoolagent.artifacts import scratch
from metatoolagent.cli.options import (
    BACKBONE,
    CHANNEL,
    INTERIM,
    WORK,
    Adapter,
    Catalog,
    Log,
    Model,
    Out,
    Parameters,
    Tasks,
    Work,
    require_known,
)
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.strict_yaml import decoded

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
    work: Work = WORK,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Let METHOD answer every evaluation task, by score and freely; random and bm25 need no backbone.

    The same command goes on after a kill.

    Raises:
        UserError: E-DEMONSTRATIONS (exit code 64) if icl is given no training tasks, or another method is.
    """
    del log
    require_known("method", method, list(params.OF_METHOD))
    from metatoolagent.evaluation import predicting

    given = params.given(parameters)
    if (method == "icl") != bool(demonstrations):
        what = "icl is shown training tasks and needs their file" if method == "icl" else f"{method} is shown no training tasks"
        fix = "name it with --demonstrations" if method == "icl" else "leave --demonstrations out"
        where, came = "option --demonstrations", shown(str(demonstrations or ""))
        raise UserError("E-DEMONSTRATIONS", what, where, came, fix, exit_code=Exit.PARAMS)
    job = _with_cores(_job(method, given, tasks, catalog, out, model, adapter, demonstrations))
    predicting.evaluate(replace(job, work=work))


def evaluate_chains(
    method: str,
    tasks: Tasks,
    catalog: Catalog,
    out: Out,
    model: Model = BACKBONE,
    adapter: Adapter = None,
    work: Work = WORK,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Apply METHOD step by step to every chain, after its own choices and after the gold ones; goes on after a kill."""
    del log
    require_known("method", method, list(params.OF_METHOD))
    from metatoolagent.evaluation import chains

    given = params.given(parameters)
    chains.evaluate(replace(_with_cores(_job(method, given, tasks, catalog, out, model, adapter)), work=work))


def adapt(
    method: str,
    tasks: Tasks,
    support: Annotated[Path, typer.Option(help="File of the tasks to adapt on.")],
    catalog: Catalog,
    out: Out,
    model: Model = BACKBONE,
    adapter: Annotated[Path | None, typer.Option(help="Folder of the adapter; none for base, which gets a fresh one.")] = None,
    work: Work = WORK,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Let METHOD answer every evaluation task after each number of inner steps on the support tasks."""
    del log
    require_known("method", method, list(params.PROBED))
    from metatoolagent.evaluation import adapting

    given = params.given(parameters)
    # An adapter is adapted in any case, a fresh one where none is named.
    job = _with_cores(_job(method, given, tasks, catalog, out, model, adapter))
    job = replace(job, adapter=given.section(params.Adapter), work=work)
    steps = given.part(params.InnerSteps, "probes").steps
    adapting.run(adapting.Adaptation(job, support, given.section(params.Train), given.section(params.Mta), steps))


def rank(
    questions: Annotated[list[str], typer.Argument(metavar="QUESTION...", help="Or - for standard input, a question a line.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Name of a tool to rank, once for each; all of them where left out.")
    ] = None,
    domain: Annotated[str | None, typer.Option(help="Rank the tools of this domain alone.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many to print.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON for each question.")] = False,
    tools: Annotated[
        Path | None, typer.Option(help="Folder of <domain>.yaml files with tools, in place of a catalog; it needs no questions.")
    ] = None,
    catalog: Annotated[Path | None, typer.Option(help=f"Folder of the ingested catalog; {INTERIM} where left out.")] = None,
    model: Model = BACKBONE,
    adapter: Annotated[
        Path | None, typer.Option(help=f"Folder of an adapter of method channel; {CHANNEL} where left out, if it is there.")
    ] = None,
    parameters: Parameters = None,
) -> None:
    """Print which tools fit each QUESTION best, by how probable each one's documentation makes it."""
    from metatoolagent.reporting import rank as room

    weights = adapter or (CHANNEL if CHANNEL.is_dir() else None)
    if weights is None:
        fix = f"snakemake --cores 8 {CHANNEL}/adapter_model.safetensors"
        print(f"no adapter in {CHANNEL}: the backbone ranks untrained; to train one: {fix}", file=sys.stderr)
    method = "channel" if weights else "likelihood"
    if tools and catalog:
        what, fix = "tools of a folder or of a catalog, not of both", "leave one of them out"
        raise UserError("E-OPTION", what, "options --tools and --catalog", fix=fix, exit_code=Exit.PARAMS)
    asked = _asked(questions)
    with scratch() as folder:
        if tools:
            from metatoolagent.catalog.ingest import ingest_tools

            catalog = folder / "catalog"
            ingest_tools(tools, catalog)
        job = _job(method, params.given(parameters), Path(), catalog or INTERIM, Path(), model, weights)
        names = room.check(asked, job, only or [], domain)  # before torch is loaded, which takes seconds
        found = room.rank(asked, _with_cores(job), names)
    if as_json:
        for question, ranked in zip(asked, found, strict=True):
            print(room.as_json(question, ranked, top))
    else:
        room.show(asked, found, top)


def _asked(questions: list[str]) -> list[str]:
    """Return the questions of the command line, or of standard input: only a newline parts two of them there.

    Raises:
        UserError: E-QUESTION for `-` beside others; E-ENCODING.
    """
    if "-" not in questions:
        return questions
    if len(questions) > 1:
        what, fix = "- stands for all questions, and there are others beside it", "leave one of them out"
        raise UserError("E-QUESTION", what, "argument QUESTION", fix=fix, exit_code=Exit.PARAMS)
    try:
        text = decoded(sys.stdin.buffer.read(), Path("standard input"))
    except UserError as error:
        raise UserError(error.code, error.what, error.where, error.got, "give the questions in UTF-8") from None
    lines = text.replace("\r\n", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


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
    """Return what to evaluate; torch is not loaded.

    Raises:
        UserError: E-PARAMS (exit code 64) if a section is missing that the method reads; E-ADAPTER (64) if the method is trained
            and no adapter is named, or the other way round.
    """
    from metatoolagent.evaluation.job import Job

    trained = bool(params.OF_METHOD[method])
    if trained != bool(adapter):
        what = f"{method} is trained and needs its adapter" if trained else f"{method} has no adapter"
        fix = "name its folder with --adapter" if trained else "leave --adapter out, or name the method that it was trained with"
        raise UserError("E-ADAPTER", what, "option --adapter", shown(str(adapter or "")), fix, exit_code=Exit.PARAMS)
    with_model = method not in params.MODEL_FREE
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


def _with_cores(job: "Job") -> "Job":
    """Return the job, with this process's cores in use if it has a model."""
    if job.backbone:
        from metatoolagent.models.backbone import keep_few_kernels, use_cores

        use_cores()
        keep_few_kernels()
    return job
