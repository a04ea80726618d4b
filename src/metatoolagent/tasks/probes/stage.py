"""Materialization of a probe: our own unseen tools, split cd, as evaluation tasks that rule `evaluate` takes."""

from pathlib import Path

import polars as pl

from metatoolagent import artifacts, params
from metatoolagent.catalog import schemas
from metatoolagent.tasks import pools
from metatoolagent.tasks.distractors import in_evaluation, require
from metatoolagent.tasks.drawing import Source
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
    out: Path,
) -> None:
    """Publish `eval_tasks.parquet` of probe `abstention`, `rotation` or `injection`.

    Args:
        probe: which one.
        parts: the artifact of the split.
        catalog: the artifact of ingestion.
        distractors: wrong tools in each candidate set, unless `evaluation` has a number of its own.
        seed: the experiment's seed.
        evaluation: the part that is evaluated, how many questions, how many share a candidate set, and the kind of distractors.
        out: the folder of the artifact.

    Raises:
        UserError: E-DISTRACTORS, E-QUESTIONS, E-INJECTION, or an error of the inputs.
    """
    source = Source.read(parts, catalog, "cd")
    attacks = injection.read() if probe == "injection" else {}
    # What stands in the place of a gold tool that is left out is a distractor too.
    extra = 1 if probe == "abstention" else 0
    number, key = in_evaluation(evaluation, distractors)
    base = _base(source, number, key, extra, seed, evaluation)
    if probe == "abstention":
        tasks, schema = abstention.tasks(base, seed), schemas.EVAL_TASKS
    elif probe == "rotation":
        tasks, schema = rotation.tasks(base), schemas.EVAL_TASKS
    else:
        tasks, schema = injection.tasks(base, seed, attacks), schemas.INJECTED_TASKS
    inputs = [*source.files, injection.TABLE] if attacks else source.files
    with artifacts.publishing(out, (TASKS,), producer="materialize_probe", inputs=inputs) as paths:
        schemas.write(tasks, schema, paths[TASKS])


def _base(source: Source, distractors: int, key: str, extra: int, seed: int, evaluation: params.EvalTasks) -> pl.DataFrame:
    """Return the evaluation tasks, pool `all`, that a probe makes its own from, with some more distractors than asked for."""
    choices = source.choices
    questions = int((choices.part_T[choices.tool_Q] == evaluation.part).sum())
    chosen = evaluation.model_copy(update={"count": min(evaluation.count, questions)})
    sampling = source.sampling(evaluation.distractor_kind, distractors + extra, seed)
    scopes = pools.available(choices, sampling.by_domain, seed, chosen)
    require({scope: number - extra for scope, number in scopes.items()}, distractors, key)
    return pl.concat(list(pools.eval_tasks(choices, sampling, chosen))).filter(pool=POOL)


def materialize_adaptation(
    parts: Path, distractors: int, seed: int, evaluation: params.Evaluated, sizes: params.ProbeSizes, out: Path
) -> None:
    """Publish `eval_tasks.parquet` and `support.parquet` of probe `adaptation`; arguments as `materialize`, and the sizes.

    Raises:
        UserError: E-DISTRACTORS, E-QUESTIONS, or an error of the inputs.
    """
    source = parts / "questions.parquet"
    questions = schemas.read(source, schemas.QUESTION_PARTS)
    number, key = in_evaluation(evaluation, distractors)
    support, answered = adaptation.tasks(questions, number, key, seed, evaluation.part, sizes)
    with artifacts.publishing(out, (TASKS, SUPPORT), producer="materialize_adaptation", inputs=[source]) as paths:
        schemas.write(answered, schemas.EVAL_TASKS, paths[TASKS])
        schemas.write(support, schemas.META_TASKS, paths[SUPPORT])
