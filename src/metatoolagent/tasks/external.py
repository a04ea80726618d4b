"""Evaluation tasks over a benchmark: its questions, with distractors of the gold tool's domain (sd) or of all (cd)."""

from collections import Counter, defaultdict
from pathlib import Path

import pandera.polars as pa
import polars as pl

from metatoolagent import artifacts, params
from metatoolagent.catalog import schemas
from metatoolagent.errors import UserError
from metatoolagent.tasks.choices import Choices
from metatoolagent.tasks.distractors import Sampling, in_evaluation, similarity_ranks
from metatoolagent.tasks.pools import eval_tasks

OUTPUTS = ["eval_tasks.parquet", "unused.parquet"]
TOO_FEW, BEYOND = "too few distractors", "beyond eval_tasks.count"
"""Why a question is no task."""
UNUSED = schemas.Table(
    {
        **schemas.UNUSED_QUESTIONS.columns,
        "distractors": pa.Column(pl.Int32, pa.Check.ge(0), description="how many distractors there are for it"),
        "reason": pa.Column(pl.String, pa.Check.isin([TOO_FEW, BEYOND]), description="why it is no task"),
    },
    strict=True,
    ordered=True,
    metadata={"sorted_by": ["question_id"]},
)
PART = "test"
"""Nothing was trained and no setting chosen on a benchmark, whatever part of our own tools is evaluated."""


def materialize(catalog: Path, split: str, distractors: int, seed: int, evaluation: params.EvalTasks, out: Path) -> None:
    """Publish `eval_tasks.parquet`, pool `all`, and `unused.parquet`, every other question with the reason why it is no task.

    Of the questions that a candidate set can be made for, at most `evaluation.count` are tasks, spread evenly over the tools.

    Args:
        catalog: the artifact of ingesting the benchmark.
        split: `sd`, where the candidates of a task are of one domain, or `cd`.
        distractors: wrong tools in each candidate set, unless `evaluation` has a number of its own.
        seed: the experiment's seed.
        evaluation: the number of tasks, of part `PART`, how many share a candidate set, and the kind of distractors.
        out: the folder of the artifact.

    Raises:
        UserError: E-QUESTIONS if no question is left, or an error of the inputs.
    """
    sources = [catalog / "tools.parquet", catalog / "questions.parquet"]
    tools, questions = schemas.read(sources[0], schemas.TOOLS), schemas.read(sources[1], schemas.QUESTIONS)
    distractors, key = in_evaluation(evaluation, distractors)
    by_domain = split == "sd" or evaluation.distractor_kind == "same_domain"
    counted = counts(tools, questions, by_domain)
    small = counted.filter(pl.col("distractors") < distractors)
    kept = questions.join(small, on="question_id", how="anti")
    if kept.is_empty():
        raise UserError(
            "E-QUESTIONS",
            f"no question of the benchmark has {distractors} distractors",
            str(sources[1]),
            fix=f"lower {key} in params.yaml",
            kept=artifacts.KEPT,
        )
    part = pl.lit(PART).alias("part")
    choices = Choices.of(tools.select("name", "domain", part), [kept.with_columns(part)])
    sampling = Sampling(distractors, by_domain, similarity_ranks(tools) if evaluation.distractor_kind == "hard" else None, seed)
    evaluation = evaluation.model_copy(update={"count": min(evaluation.count, len(kept))})
    tasks = pl.concat(list(eval_tasks(choices, sampling, evaluation)))
    unused = counted.join(tasks, on="question_id", how="anti", maintain_order="left").with_columns(
        pl.when(pl.col("distractors") < distractors).then(pl.lit(TOO_FEW)).otherwise(pl.lit(BEYOND)).alias("reason")
    )
    assert len(questions) == len(tasks) + len(unused), f"{len(questions)} questions, {len(tasks)} tasks, {len(unused)} unused"
    with artifacts.publishing(out, OUTPUTS, producer="materialize_external", inputs=sources) as paths:
        schemas.write(tasks, schemas.EVAL_TASKS, paths[OUTPUTS[0]])
        schemas.write(unused, UNUSED, paths[OUTPUTS[1]])


def counts(tools: pl.DataFrame, questions: pl.DataFrame, by_domain: bool) -> pl.DataFrame:
    """Return each question with the number of tools beside its gold tool that answer none of that tool's questions.

    Args:
        tools: name and domain of each tool.
        questions: the benchmark's.
        by_domain: whether tools of the gold tool's domain alone are counted.
    """
    scope = dict(zip(tools["name"], tools["domain"] if by_domain else ["all"] * len(tools), strict=True))
    size = Counter(scope.values())
    answers: dict[str, set[str]] = defaultdict(set)
    # Questions of a tool may share a candidate set, so what answers one of them distracts from none.
    for tool, also in questions.select("tool", "also").iter_rows():
        answers[tool] |= {name for name in (tool, *also) if scope[name] == scope[tool]}
    left = {tool: size[scope[tool]] - len(names) for tool, names in answers.items()}
    numbers = pl.Series("distractors", [left[tool] for tool in questions["tool"]], pl.Int32)
    return questions.select("question_id", "tool", "domain").with_columns(numbers)
