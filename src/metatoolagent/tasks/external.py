"""Evaluation tasks over a benchmark: its questions, with distractors of the gold tool's domain (sd) or of all (cd)."""

from collections import Counter, defaultdict
from pathlib import Path

import polars as pl

from metatoolagent import artifacts, params
from metatoolagent.catalog import schemas
from metatoolagent.errors import UserError
from metatoolagent.tasks.choices import Choices
from metatoolagent.tasks.distractors import Sampling, in_evaluation, similarity_ranks
from metatoolagent.tasks.pools import eval_tasks

OUTPUTS = ["eval_tasks.parquet", "unused.parquet"]
PART = "test"
"""Nothing was trained and no setting chosen on a benchmark, whatever part of our own tools is evaluated."""


def materialize(catalog: Path, split: str, distractors: int, seed: int, evaluation: params.EvalTasks, out: Path) -> None:
    """Publish `eval_tasks.parquet`, pool `all`, and `unused.parquet`: the questions that no candidate set can be made for.

    Every other question is a task, but at most `evaluation.count` of them, spread evenly over the tools.

    Args:
        catalog: the artifact of ingesting the benchmark.
        split: `sd`, where the candidates of a task are of one domain, or `cd`.
        distractors: wrong tools in each candidate set, unless `evaluation` has a number of its own.
        seed: the experiment's seed.
        evaluation: the number of tasks, how many share a candidate set, and the kind of distractors.
        out: the folder of the artifact.

    Raises:
        UserError: E-QUESTIONS if no question is left, or an error of the inputs.
    """
    sources = [catalog / "tools.parquet", catalog / "questions.parquet"]
    tools, questions = schemas.read(sources[0], schemas.TOOLS), schemas.read(sources[1], schemas.QUESTIONS)
    distractors, key = in_evaluation(evaluation, distractors)
    by_domain = split == "sd" or evaluation.distractor_kind == "same_domain"
    unused = too_few(tools, questions, distractors, by_domain)
    kept = questions.join(unused, on="question_id", how="anti")
    assert len(questions) == len(kept) + len(unused), f"{len(questions)} questions, {len(kept)} kept, {len(unused)} unused"
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
    evaluation = evaluation.model_copy(update={"part": PART, "count": min(evaluation.count, len(kept))})
    tasks = pl.concat(list(eval_tasks(choices, sampling, evaluation)))
    with artifacts.publishing(out, OUTPUTS, producer="materialize_external", inputs=sources) as paths:
        schemas.write(tasks, schemas.EVAL_TASKS, paths[OUTPUTS[0]])
        schemas.write(unused, schemas.UNUSED_QUESTIONS, paths[OUTPUTS[1]])


def too_few(tools: pl.DataFrame, questions: pl.DataFrame, distractors: int, by_domain: bool) -> pl.DataFrame:
    """Return the questions whose gold tool has too few tools beside it that do not answer them too, with the number.

    Args:
        tools: name and domain of each tool.
        questions: the benchmark's.
        distractors: how many are needed.
        by_domain: whether they must be of the gold tool's domain.
    """
    scope = dict(zip(tools["name"], tools["domain"] if by_domain else ["all"] * len(tools), strict=True))
    size = Counter(scope.values())
    answers: dict[str, set[str]] = defaultdict(set)
    # Questions of a tool may share a candidate set, so what answers one of them distracts from none.
    for tool, also in questions.select("tool", "also").iter_rows():
        answers[tool] |= {name for name in (tool, *also) if scope[name] == scope[tool]}
    left = {tool: size[scope[tool]] - len(names) for tool, names in answers.items()}
    small = questions.filter(pl.col("tool").is_in([tool for tool, number in left.items() if number < distractors]))
    numbers = pl.Series("distractors", [left[tool] for tool in small["tool"]], pl.Int32)
    return small.select("question_id", "tool", "domain").with_columns(numbers)
