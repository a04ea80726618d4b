"""Materialization of what is evaluated: a split becomes evaluation tasks."""

from functools import partial
from pathlib import Path

from metatoolagent import params
from metatoolagent.catalog import schemas
from metatoolagent.tasks import packs, pools
from metatoolagent.tasks.distractors import ALONE, Beside, in_evaluation, require
from metatoolagent.tasks.drawing import Source, publish
from metatoolagent.variants import IN_EVALUATION, MAIN, Variant

FILE = "eval_tasks.parquet"


def materialize(
    split_folder: Path,
    catalog: Path,
    split: str,
    distractors: int,
    seed: int,
    evaluation: params.EvalTasks,
    trained_on: params.TrainedOn,
    out: Path,
    variant: Variant = MAIN,
) -> None:
    """Publish `eval_tasks.parquet`.

    Args:
        split_folder: the artifact of the split.
        catalog: the artifact of ingestion.
        split: `sd`, where the candidates of a task are of one domain, `cd` or `hd-<domain>`.
        distractors: wrong tools in each candidate set, unless `evaluation` has a number of its own.
        seed: the experiment's seed.
        evaluation: the part that is evaluated and the number of tasks.
        trained_on: the tools and questions that are trained on; part `train` asks those.
        out: the folder of the artifact.
        variant: whose tasks they are; the errors name the keys of its sweep.

    Raises:
        UserError: E-DISTRACTORS, E-QUESTIONS, E-DISK-FULL, or an error of the inputs.
    """
    source = Source.read(split_folder, catalog, split)
    number, key = in_evaluation(evaluation, distractors)
    sampling = source.sampling(evaluation.distractor_kind, number, seed)
    trains = partial(packs.Training.of, source.choices, seed, trained_on, variant)
    asked = source.choices.only(trains().question_Q) if evaluation.part == "train" else source.choices

    def in_training() -> dict[str, int]:
        return packs.available(source.choices, trains(), sampling.by_domain, trained_on.tools, left_out=0)

    # Training has this number too, unless evaluation has its own. Nothing is read of training but what part `train` asks.
    reach = f"for training and evaluation tasks of split {split}, if meta_tasks has the same distractor_kind and no abstention"
    beside = ALONE if variant.named(key) == IN_EVALUATION else Beside(in_training, reach)
    require(pools.available(asked, sampling.by_domain, seed, evaluation), number, variant.named(key), beside)
    rows = pools.eval_tasks(asked, sampling, evaluation)
    publish(rows, schemas.EVAL_TASKS, out, FILE, "materialize_evaluation", source, 2 * evaluation.count * (number + 3))
