"""Method icl: its demonstrations read once, against with every pack, in tasks a second.

`python benchmarks/demonstrations.py` needs models/backbone and data/interim (`snakemake --cores 8 backbone ingest` makes them).
There are as many demonstrations as params.yaml says, out of training tasks with as many distractors. The time of the one pass
that reads them is told and not counted: an evaluation has it once, however many tasks there are. It first checks that both
sides give the same scores and answers. Writes benchmarks/results/demonstrations.json. In small:
`python benchmarks/demonstrations.py --tasks 8 --distractors 5 --runs 1`.
"""

from pathlib import Path

import polars as pl
from torch import nn

from drawing import Bench, Groups, evaluation_parser, opened
from measuring import median_time, row, write
from metatoolagent.evaluation.job import Prediction
from metatoolagent.evaluation.methods.icl import chosen, demonstration
from metatoolagent.evaluation.opening import Opening, read
from metatoolagent.evaluation.scoring import predict
from metatoolagent.tasks.rendering import Renderer

RESULT = Path("benchmarks/results/demonstrations.json")
PEER = "the demonstrations read with every pack"
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.5}
"""Largest difference of a name's log-probability, a sum over its tokens, in nats."""


def shown(bench: Bench, renderer: Renderer, distractors: int) -> Renderer:
    """Return the renderer with the demonstrations before every candidate set."""
    tasks = bench.chosen.meta_tasks
    packs = bench.training_packs(distractors, tasks.tasks_per_pack, tasks.count)
    rows = chosen(pl.DataFrame([task for pack in packs for task in pack]), bench.chosen.icl.demonstrations)
    return renderer.opened([token for task in rows for token in demonstration(renderer, task)])


def answers(model: nn.Module, renderer: Renderer, groups: Groups, limit: int, opening: Opening | None = None) -> list[Prediction]:
    """Return the scores and free answers of all tasks."""
    return [item for of_set in predict(model, None, renderer, groups, limit, opening) for item in of_set]


def difference(found: list[Prediction], expected: list[Prediction]) -> float:
    """Return the largest difference of a name's log-probability, in nats; stop if a choice or an answer is another one."""
    largest = 0.0
    for one, other in zip(found, expected, strict=True):
        assert one.log_probabilities and other.log_probabilities
        assert (one.scored, one.free_text) == (other.scored, other.free_text), f"{one} and {other}"
        pairs = zip(one.log_probabilities, other.log_probabilities, strict=True)
        largest = max(largest, *(abs(first - second) for first, second in pairs))
    return largest


def compare(bench: Bench, model: nn.Module, distractors: int, tasks: int, runs: int) -> list[dict[str, object]]:
    """Return the rows for a number of distractors.

    Args:
        bench: what is measured on.
        model: the backbone.
        distractors: wrong tools in each candidate set.
        tasks: how many are measured.
        runs: how many the times are a median of.
    """
    renderer, limit = shown(bench, bench.renderer(model), distractors), bench.chosen.evaluate.max_new_tokens
    opening = read(model, None, renderer.opening, renderer.context)
    once = median_time(lambda: read(model, None, renderer.opening, renderer.context), runs)
    shots = f"{bench.chosen.icl.demonstrations} demonstrations of {opening.length} tokens, read once in {once:.2f} s"
    results = []
    for label, groups in bench.both_ways(distractors, tasks).items():
        error = difference(answers(model, renderer, groups, limit, opening), answers(model, renderer, groups, limit))
        assert error <= TOLERANCE[bench.chosen.backbone.dtype], f"the scores differ by {error:.1e}"
        ours = tasks / median_time(lambda groups=groups: answers(model, renderer, groups, limit, opening), runs)
        peer = tasks / median_time(lambda groups=groups: answers(model, renderer, groups, limit), runs)
        name = f"icl, {bench.chosen.backbone.dtype}, {shots}, {distractors} distractors, {label} (scores differ by {error:.0e})"
        results.append(row(name, "tasks/s", ours, peer, PEER, lower_is_better=False, runs=runs))
        print(results[-1], flush=True)
    return results


def main() -> None:
    """Measure both sides at each number of distractors."""
    given = evaluation_parser(__doc__, RESULT).parse_args()
    bench = opened(given)
    model = bench.load()
    rows = [compare(bench, model, distractors, given.tasks, given.runs) for distractors in given.distractors]
    write([result for part in rows for result in part], given.out)


if __name__ == "__main__":
    main()
