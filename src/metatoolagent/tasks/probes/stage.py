"""Materialization of a probe: our own unseen tools, split cd, as evaluation tasks that rule `evaluate` takes."""

from pathlib import Path

import polars as pl

from metatoolagent import artifacts, params
from metatoolagent.catalog import chunks, schemas
from metatoolagent.tasks import eval_tasks
from metatoolagent.tasks.choices import Choices
from metatoolagent.tasks.distractors import Sampling, in_evaluation, require, similarity_ranks
from metatoolagent.tasks.probes import abstention, adaptation, injection, rotation

TASKS = "eval_tasks.parquet"
SUPPORT = "support.parquet"
POOL = "all"


def materialize(
    probe: str,
    parts: Path,
    catalog: Path,
    distractors: int,
    seed: int,
    evaluation: params.EvalTasks,
    probes: params.Probes,
    out: Path,
) -> None:
    """Publish `eval_tasks.parquet` of probe `abstention`, `rotation` or `injection`.

    Args:
        probe: which one.
        parts: the artifact of the split.
        catalog: the artifact of ingestion.
        distractors: wrong tools in each candidate set, unless `evaluation` has a number of its own.
        seed: the experiment's seed.
        evaluation: the part that is evaluated, how many questions share a candidate set, and the kind of distractors.
        probes: how many questions.
        out: the folder of the artifact.

    Raises:
        UserError: E-DISTRACTORS, E-QUESTIONS, E-INJECTION, or an error of the inputs.
    """
    sources = [parts / "tools.parquet", parts / "questions.parquet", catalog / "tools.parquet"]
    attacks = injection.read() if probe == "injection" else {}
    # What stands in the place of a gold tool that is left out is a distractor too.
    extra = 1 if probe == "abstention" else 0
    number, key = in_evaluation(evaluation, distractors)
    base = _base(sources, number, key, extra, seed, evaluation, probes.count)
    if probe == "abstention":
        tasks, schema = abstention.tasks(base, seed), schemas.EVAL_TASKS
    elif probe == "rotation":
        tasks, schema = rotation.tasks(base), schemas.EVAL_TASKS
    else:
        tasks, schema = injection.tasks(base, seed, attacks), schemas.INJECTED_TASKS
    inputs = [*sources, injection.TABLE] if attacks else sources
    with artifacts.publishing(out, (TASKS,), producer="materialize_probe", inputs=inputs) as paths:
        schemas.write(tasks, schema, paths[TASKS])


def _base(
    sources: list[Path], distractors: int, key: str, extra: int, seed: int, evaluation: params.EvalTasks, count: int
) -> pl.DataFrame:
    """Return the evaluation tasks, pool `all`, that a probe makes its own from, with some more distractors than asked for."""
    choices = Choices.of(schemas.read(sources[0], schemas.TOOL_PARTS), chunks.read(sources[1], schemas.QUESTION_PARTS))
    documents = schemas.read(sources[2], schemas.TOOLS)
    questions = int((choices.part_T[choices.tool_Q] == evaluation.part).sum())
    chosen = evaluation.model_copy(update={"count": min(count, questions)})
    ranks_TT = similarity_ranks(documents) if evaluation.distractor_kind == "hard" else None
    sampling = Sampling(distractors + extra, evaluation.distractor_kind == "same_domain", ranks_TT, seed)
    scopes = eval_tasks.available(choices, sampling.by_domain, seed, chosen)
    require({scope: number - extra for scope, number in scopes.items()}, distractors, key)
    return pl.concat(list(eval_tasks.eval_tasks(choices, sampling, chosen))).filter(pool=POOL)


def materialize_adaptation(
    parts: Path, distractors: int, seed: int, evaluation: params.EvalTasks, probes: params.Probes, out: Path
) -> None:
    """Publish `eval_tasks.parquet` and `support.parquet` of probe `adaptation`; arguments as `materialize`.

    Raises:
        UserError: E-DISTRACTORS, E-QUESTIONS, or an error of the inputs.
    """
    source = parts / "questions.parquet"
    questions = schemas.read(source, schemas.QUESTION_PARTS)
    number, key = in_evaluation(evaluation, distractors)
    support, answered = adaptation.tasks(questions, number, key, seed, evaluation.part, probes)
    with artifacts.publishing(out, (TASKS, SUPPORT), producer="materialize_adaptation", inputs=[source]) as paths:
        schemas.write(answered, schemas.EVAL_TASKS, paths[TASKS])
        schemas.write(support, schemas.META_TASKS, paths[SUPPORT])
