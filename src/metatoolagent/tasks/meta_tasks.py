"""Materialization of what is trained on: a split becomes training meta-tasks."""

from functools import partial
from pathlib import Path

from metatoolagent import params
from metatoolagent.catalog import schemas
from metatoolagent.tasks import packs, pools
from metatoolagent.tasks.distractors import Beside, require
from metatoolagent.tasks.drawing import Source, publish
from metatoolagent.variants import IN_TRAINING, MAIN, Variant

FILE = "meta_tasks.parquet"


def materialize(
    split_folder: Path,
    catalog: Path,
    split: str,
    distractors: int,
    seed: int,
    meta: params.MetaTasks,
    out: Path,
    variant: Variant = MAIN,
) -> None:
    """Publish `meta_tasks.parquet`.

    Args:
        split_folder: the artifact of the split.
        catalog: the artifact of ingestion.
        split: `sd`, where the candidates of a task are of one domain, `cd` or `hd-<domain>`.
        distractors: wrong tools in each candidate set.
        seed: the experiment's seed.
        meta: number and sizes of meta-tasks.
        out: the folder of the artifact.
        variant: whose tasks they are; the errors name the keys of its sweep.

    Raises:
        UserError: E-DISTRACTORS, E-QUESTIONS, E-DISK-FULL, or an error of the inputs.
    """
    source = Source.read(split_folder, catalog, split)
    sampling = source.sampling(meta.distractor_kind, distractors, seed)
    training = packs.Training.of(source.choices, seed, meta, variant)
    available = packs.available(source.choices, training, sampling.by_domain, meta.tools, packs.left_out(meta))
    # Evaluation has this number too. Nothing is read of it: an edit would put what is trained on out of date.
    reach = f"for training and evaluation tasks of split {split}, if eval_tasks has the same distractor_kind"
    beside = Beside(partial(pools.available_to_any, source.choices, sampling.by_domain), reach)
    require(available, distractors, variant.named(IN_TRAINING), beside)
    tasks = meta.count * (meta.support_packs + meta.query_packs) * meta.tasks_per_pack
    rows = packs.meta_tasks(source.choices, training, sampling, meta)
    publish(rows, schemas.META_TASKS, out, FILE, "materialize", source, tasks * (distractors + 3))
