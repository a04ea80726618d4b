"""Commands for splits and for the tasks that are drawn on them."""

from pathlib import Path
from typing import Annotated

import typer

from metatoolagent import params
from metatoolagent.cli.options import INTERIM, Catalog, Log, Out, Parameters, Parts, Tasks, require_known
from metatoolagent.errors import Exit, UserError


def split(kind: str, catalog: Catalog, out: Out, parameters: Parameters = None, log: Log = None) -> None:
    """Part the tools, and with them the questions, into train, validation and test; KIND is sd, cd or hd-DOMAIN."""
    del log
    from metatoolagent.tasks import splits

    given = params.given(parameters)
    splits.split(catalog, kind, given.section(params.Split), given.seed, out)


def split_list(
    catalog: Catalog = INTERIM,
    out: Annotated[Path | None, typer.Option(help="The list; split.tools_list of params.yaml where left out.")] = None,
) -> None:
    """Draw the parts from the seed and the shares in params.yaml, and write them as the list that `split` reads.

    Raises:
        UserError: E-OPTION (exit code 64) if neither --out nor params.yaml names the list.
    """
    from metatoolagent.tasks import splits

    given = params.given(None)
    shares = given.section(params.Split)
    if out is None and not shares.tools_list:
        what, fix = "params.yaml names no list of parts", "name it with --out, and as split.tools_list for `split` to read it"
        raise UserError("E-OPTION", what, "option --out", fix=fix, exit_code=Exit.PARAMS)
    splits.write_list(catalog, shares, given.seed, out or Path(shares.tools_list))


def materialize(kind: str, catalog: Catalog, parts: Parts, out: Out, parameters: Parameters = None, log: Log = None) -> None:
    """Draw the training meta-tasks of a split; KIND is sd, cd or hd-DOMAIN."""
    del log
    _require_split(kind)
    from metatoolagent.tasks import meta_tasks
    from metatoolagent.variants import Variant

    given = params.given(parameters)
    meta = given.section(params.MetaTasks)
    meta_tasks.materialize(parts, catalog, kind, given.distractors, given.seed, meta, out, Variant.of(out.parent))


def materialize_evaluation(
    kind: str, catalog: Catalog, parts: Parts, out: Out, parameters: Parameters = None, log: Log = None
) -> None:
    """Draw the evaluation tasks of a split; KIND is sd, cd or hd-DOMAIN."""
    del log
    _require_split(kind)
    from metatoolagent.tasks import eval_tasks
    from metatoolagent.variants import Variant

    given = params.given(parameters)
    evaluation, variant = given.section(params.EvalTasks), Variant.of(out.parent)
    trained_on = given.part(params.TrainedOn, "meta_tasks")
    eval_tasks.materialize(parts, catalog, kind, given.distractors, given.seed, evaluation, trained_on, out, variant)


def _require_split(kind: str) -> None:
    if not kind.startswith("hd-"):
        require_known("kind", kind, ["sd", "cd", "hd-DOMAIN"])


def materialize_external(kind: str, catalog: Catalog, out: Out, parameters: Parameters = None, log: Log = None) -> None:
    """Draw the evaluation tasks of a benchmark; KIND is sd (distractors of the gold tool's domain) or cd (of all)."""
    del log
    require_known("kind", kind, ["sd", "cd"])
    from metatoolagent.tasks import external

    given = params.given(parameters)
    evaluation = given.part(params.EvalTasks, "eval_tasks", part=external.PART)
    external.materialize(catalog, kind, given.distractors, given.seed, evaluation, out)


def materialize_chains(
    chains: Annotated[Path, typer.Option(help="File of the ingested chains.")],
    catalog: Catalog,
    out: Out,
    parts: Annotated[Path | None, typer.Option(help="Folder of the parts; none where every tool is unseen.")] = None,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Draw the candidate sets of the unseen chains."""
    del log
    from metatoolagent.tasks import chain_tasks

    given = params.given(parameters)
    near = given.section(params.Split).near_duplicate
    chain_tasks.materialize(chains, catalog, parts, given.distractors, given.seed, near, out)


def materialize_overlap(
    kind: str, catalog: Catalog, tasks: Tasks, out: Out, parameters: Parameters = None, log: Log = None
) -> None:
    """Make descriptions overlap; KIND is the share of shared words in per cent, or siblings."""
    del log
    from metatoolagent.tasks import overlap

    overlap.materialize(kind, catalog, tasks, params.given(parameters).seed, out)


def materialize_probe(
    probe: str, catalog: Catalog, parts: Parts, out: Out, parameters: Parameters = None, log: Log = None
) -> None:
    """Draw the evaluation tasks of PROBE: abstention, rotation or injection."""
    del log
    require_known("probe", probe, list(params.PROBES[:-1]))
    from metatoolagent.tasks.probes import stage

    given = params.given(parameters)
    evaluation = given.part(params.EvalTasks, "eval_tasks", count=given.number("probes.count", params.Count))
    stage.materialize(probe, parts, catalog, given.distractors, given.seed, evaluation, out)


def materialize_adaptation(parts: Parts, out: Out, parameters: Parameters = None, log: Log = None) -> None:
    """Draw the tasks of the adaptation probe: those to adapt on, and those to answer afterwards."""
    del log
    from metatoolagent.tasks.probes import stage

    given = params.given(parameters)
    evaluation, sizes = given.part(params.Evaluated, "eval_tasks"), given.part(params.ProbeSizes, "probes")
    stage.materialize_adaptation(parts, given.distractors, given.seed, evaluation, sizes, out)
