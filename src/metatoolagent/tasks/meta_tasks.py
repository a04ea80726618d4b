"""Materialization: a split becomes training meta-tasks and evaluation tasks, written chunk by chunk."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import polars as pl
import pyarrow as pa
from pyarrow import parquet

from metatoolagent import artifacts, params
from metatoolagent.catalog import chunks, schemas
from metatoolagent.tasks import eval_tasks, packs
from metatoolagent.tasks.choices import Choices
from metatoolagent.tasks.distractors import Sampling, in_evaluation, require, similarity_ranks
from metatoolagent.variants import IN_TRAINING, TOOLS, Variant

OUTPUTS = ["meta_tasks.parquet", "eval_tasks.parquet"]
MAIN = Variant.parse("main")
BYTES_A_NAME = 32
"""Room on disk for one candidate of one task, generously."""


def materialize(
    split_folder: Path,
    catalog: Path,
    split: str,
    distractors: int,
    seed: int,
    meta: params.MetaTasks,
    evaluation: params.EvalTasks,
    out: Path,
    variant: Variant = MAIN,
) -> None:
    """Publish `meta_tasks.parquet` and `eval_tasks.parquet`.

    Args:
        split_folder: the artifact of the split.
        catalog: the artifact of ingestion.
        split: `sd`, where the candidates of a task are of one domain, `cd` or `hd-<domain>`.
        distractors: wrong tools in each candidate set, unless `evaluation` has a number of its own.
        seed: the experiment's seed.
        meta: number and sizes of training meta-tasks.
        evaluation: the part that is evaluated and the number of tasks.
        out: the folder of the artifact.
        variant: whose tasks they are; the errors name the keys of its sweep.

    Raises:
        UserError: E-DISTRACTORS, E-QUESTIONS, E-DISK-FULL, or an error of the inputs.
    """
    sources = [split_folder / "tools.parquet", split_folder / "questions.parquet", catalog / "tools.parquet"]
    choices = Choices.of(schemas.read(sources[0], schemas.TOOL_PARTS), chunks.read(sources[1], schemas.QUESTION_PARTS))
    documents = schemas.read(sources[2], schemas.TOOLS)
    assert documents["name"].equals(choices.names), "the split and the catalog must have the same tools"
    # One table of ranks serves both kinds of tasks.
    ranks_TT = similarity_ranks(documents) if "hard" in {meta.distractor_kind, evaluation.distractor_kind} else None

    def sampling(kind: params.DistractorKind, number: int) -> Sampling:
        return Sampling(number, split == "sd" or kind == "same_domain", ranks_TT if kind == "hard" else None, seed)

    training = sampling(meta.distractor_kind, distractors)
    number, key = in_evaluation(evaluation, distractors)
    evaluating = sampling(evaluation.distractor_kind, number)
    trained = packs.Training.of(choices, seed, meta, variant.named(TOOLS)).question_Q
    asked = choices.only(trained) if evaluation.part == "train" else choices
    scopes = {(variant.named(IN_TRAINING), distractors): packs.available(choices, training.by_domain, seed, meta)}
    evaluated = eval_tasks.available(asked, evaluating.by_domain, seed, evaluation)
    # All that is too small for one number is told at once.
    scopes.setdefault((variant.named(key), number), {}).update(evaluated)
    for (name, wanted), found in scopes.items():
        require(found, wanted, name)
    # Now that the numbers are possible ones: a slip of the pen is no want of room.
    tasks = meta.count * (meta.support_packs + meta.query_packs) * meta.tasks_per_pack + 2 * evaluation.count
    artifacts.require_space(out, tasks * (max(distractors, number) + 3) * BYTES_A_NAME)
    with artifacts.publishing(out, OUTPUTS, producer="materialize", inputs=sources) as paths:
        write_chunks(packs.meta_tasks(choices, training, meta), schemas.META_TASKS, paths[OUTPUTS[0]])
        write_chunks(eval_tasks.eval_tasks(asked, evaluating, evaluation), schemas.EVAL_TASKS, paths[OUTPUTS[1]])


def write_chunks(frames: Iterator[pl.DataFrame], schema: schemas.Table, path: Path) -> None:
    """Check chunks of a table and write them to one file, holding one at a time."""
    first = _arrow(next(frames), schema, path)
    with parquet.ParquetWriter(path, first.schema, compression="zstd", compression_level=3) as writer:
        for table in chain([first], (_arrow(frame, schema, path) for frame in frames)):
            writer.write_table(table)


def _arrow(frame: pl.DataFrame, schema: schemas.Table, path: Path) -> pa.Table:
    return schemas.checked(frame, schema, path.name).to_arrow(compat_level=pl.CompatLevel.oldest())
