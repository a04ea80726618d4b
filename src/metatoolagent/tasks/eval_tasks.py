"""Materialization of what is evaluated: a split becomes evaluation tasks."""

from pathlib import Path

from metatoolagent import params
from metatoolagent.catalog import schemas
from metatoolagent.tasks import pools
from metatoolagent.tasks.distractors import in_evaluation, require
from metatoolagent.tasks.drawing import Source, publish
from metatoolagent.tasks.packs import Training
from metatoolagent.variants import MAIN, Variant

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
    asked = source.choices
    if evaluation.part == "train":
        asked = asked.only(Training.of(asked, seed, trained_on, variant).question_Q)
    require(pools.available(asked, sampling.by_domain, seed, evaluation), number, variant.named(key))
    rows = pools.eval_tasks(asked, sampling, evaluation)
    publish(rows, schemas.EVAL_TASKS, out, FILE, "materialize_evaluation", source, 2 * evaluation.count * (number + 3))
