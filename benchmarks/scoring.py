"""Selection by score: our packed pass against the hf backend of lm-evaluation-harness, in tasks a second.

`python benchmarks/scoring.py` needs models/backbone and data/interim (`snakemake --cores 8 backbone ingest` makes them), and
the harness (`pip install -e '.[peers]'`). The prompts are those of `mta export lm-eval`, token for token; both sides tokenize in
the time that is measured. The harness gets its requests at once, and may sort and batch them as it likes. It first checks
that both choose the same. Writes benchmarks/results/scoring.json.
"""

import statistics
from argparse import Namespace
from pathlib import Path

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from torch import nn

from drawing import Bench, Groups, evaluation_parser, opened
from measuring import median_time, row, write
from metatoolagent.evaluation.harness import differs, document
from metatoolagent.meta.losses import by_branch, log_probabilities
from metatoolagent.models import backbone
from metatoolagent.models.adapter import logits
from metatoolagent.tasks.rendering import Renderer

RESULT = Path("benchmarks/results/scoring.json")
SAME = 0.995
"""Share of the tasks that both sides must choose alike: sums in another order may turn a tie."""


@torch.no_grad()
def ours(model: nn.Module, renderer: Renderer, groups: Groups) -> list[int]:
    """Return the index of the chosen candidate of each task, from one packed pass a group."""
    chosen: list[int] = []
    for rows in groups:
        pack = renderer.pack(rows).to(backbone.device())
        scores_QC = by_branch(log_probabilities(logits(model, None, pack), pack)[0], pack)
        chosen += scores_QC.argmax(1).tolist()
    return chosen


def requests(renderer: Renderer, groups: Groups) -> list[Instance]:
    """Return what the harness makes of the tasks: a request for each candidate."""
    documents = [document(renderer, row) for rows in groups for row in rows]
    assert not any(differs(renderer, task) for task in documents), "the harness would read other tokens"
    return [
        Instance("loglikelihood", task, (task["prompt"], answer), index)
        for task in documents
        for index, answer in enumerate(task["answers"])
    ]


def theirs(harness: HFLM, asked: list[Instance]) -> list[int]:
    """Return the index of the chosen candidate of each task, as the harness's multiple_choice takes it."""
    scores = [score for score, _ in harness.loglikelihood(asked, disable_tqdm=True)]
    starts = [number for number, instance in enumerate(asked) if instance.idx == 0]
    groups = [scores[first:last] for first, last in zip(starts, [*starts[1:], len(scores)], strict=True)]
    return [group.index(max(group)) for group in groups]


def agreement(bench: Bench, model: nn.Module, harness: HFLM, distractors: int, tasks: int) -> float:
    """Return the share of so many tasks in which both choose the same.

    Raises:
        AssertionError: if it is below SAME, or if our choice depends on which tasks share a pack.
    """
    renderer = bench.renderer(model)
    shared, alone = bench.both_ways(distractors, tasks).values()
    chosen, expected = ours(model, renderer, shared), theirs(harness, requests(renderer, shared))
    same = statistics.mean(one == other for one, other in zip(chosen, expected, strict=True))
    assert same >= SAME, f"only {same:.1%} of the choices are the same at {distractors} distractors"
    assert ours(model, renderer, alone) == chosen, "choices depend on which tasks share a pack"
    return same


def compare(bench: Bench, model: nn.Module, harness: HFLM, distractors: int, given: Namespace) -> list[dict[str, object]]:
    """Return the rows for a number of distractors.

    Args:
        bench: what is measured on.
        model: the backbone, as we load it.
        harness: the backbone, as the harness loads it.
        distractors: wrong tools in each candidate set.
        given: how many tasks are measured, how many are compared, and how many runs the times are a median of.
    """
    checked = max(given.tasks, given.checked)
    same = agreement(bench, model, harness, distractors, checked)
    renderer = bench.renderer(model)
    sizes = bench.both_ways(distractors, given.tasks)
    asked = requests(renderer, next(iter(sizes.values())))
    packages = ["torch", "transformers", "lm_eval"]
    peer_name = f"lm-evaluation-harness, hf backend, {harness.batch_size} sequences a batch"
    peer = given.tasks / median_time(lambda: theirs(harness, asked), given.runs, warm=True)
    results = []
    for label, groups in sizes.items():
        found = given.tasks / median_time(lambda groups=groups: ours(model, renderer, groups), given.runs)
        name = f"selection by score, {bench.chosen.backbone.dtype}, {distractors} distractors, {label}"
        results.append(row(name, "tasks/s", found, peer, peer_name, lower_is_better=False, runs=given.runs, packages=packages))
        print(results[-1], flush=True)
    name = f"same choices, {distractors} distractors, {checked} tasks"
    results.append(row(name, "%", 100 * same, 100, peer_name, lower_is_better=False, runs=1, packages=packages))
    return results


def main() -> None:
    """Measure both sides at each number of distractors."""
    parser = evaluation_parser(__doc__, RESULT)
    parser.add_argument("--batch", type=int, default=8, help="sequences that the harness runs at once")
    parser.add_argument(
        "--checked", type=int, default=0, help="tasks whose choices are compared, at least those that are measured"
    )
    given = parser.parse_args()
    bench = opened(given)
    model = bench.load()
    device = str(backbone.device())
    harness = HFLM(pretrained=str(given.model), dtype=bench.chosen.backbone.dtype, device=device, batch_size=given.batch)
    rows = [compare(bench, model, harness, distractors, given) for distractors in given.distractors]
    write([result for part in rows for result in part], given.out)


if __name__ == "__main__":
    main()
