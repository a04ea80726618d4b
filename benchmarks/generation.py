"""Free answers: ours, in lockstep after one packed pass, against transformers' `generate`, one task after another.

`python benchmarks/generation.py` needs models/backbone and data/interim (`snakemake --cores 8 backbone ingest` makes them).
The backbone is not trained, so that its answers are no candidates' names and every token has to be generated: the
harder case for us. Ours gives every candidate's score besides. Both decode greedily with a cache, up to the same limit. It first
checks that both say the same. Writes benchmarks/results/generation.json.
"""

from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from drawing import Groups, evaluation_parser, opened
from measuring import median_time, row, write
from metatoolagent.evaluation.predicting import SETS
from metatoolagent.evaluation.scoring import predict
from metatoolagent.models import backbone
from metatoolagent.tasks.rendering import Renderer

RESULT = Path("benchmarks/results/generation.json")
PEER = "transformers' generate, one task at a time"


def ours(model: nn.Module, renderer: Renderer, groups: Groups, limit: int) -> list[str]:
    """Return the free answers, and work out the scores besides."""
    together = (groups[start : start + SETS] for start in range(0, len(groups), SETS))
    found = (of_set for sets in together for of_set in predict(model, None, renderer, sets, limit))
    return [item.free_text for of_set in found for item in of_set]


@torch.no_grad()
def theirs(model: nn.Module, renderer: Renderer, groups: Groups, limit: int) -> list[str]:
    """Return the free answers from `generate`."""
    template = renderer.template
    ends = template.line_ends
    answers = []
    for task in (task for rows in groups for task in rows):
        prompt = torch.tensor([[*renderer.prefix(task["candidates"]), *renderer.line(task["question_id"])]], device=model.device)
        generated = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=limit,
            do_sample=False,
            eos_token_id=list(ends),
            pad_token_id=ends[0],
        )
        tokens = generated[0, prompt.shape[1] :].tolist()
        end = next((index for index, token in enumerate(tokens) if token in ends), None)
        answers.append(template.tokenizer.decode(tokens[:end]).partition("\n")[0].strip())
    return answers


def main() -> None:
    """Measure both sides."""
    given = evaluation_parser(__doc__, RESULT).parse_args()
    bench = opened(given)
    model, limit = bench.load(), bench.chosen.evaluate.max_new_tokens
    dtype = bench.chosen.backbone.dtype
    plain = AutoModelForCausalLM.from_pretrained(given.model, dtype=getattr(torch, dtype)).eval().to(backbone.device())
    renderer = bench.renderer(model)
    results = []
    for distractors in given.distractors:
        sizes = bench.both_ways(distractors, given.tasks)
        shared = next(iter(sizes.values()))
        expected = theirs(plain, renderer, shared, limit)
        for groups in sizes.values():
            found = ours(model, renderer, groups, limit)
            different = [pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1]]
            assert not different, f"{len(different)} of {given.tasks} answers differ, the first: {different[0]}"
        peer = given.tasks / median_time(lambda groups=shared: theirs(plain, renderer, groups, limit), given.runs, warm=True)
        for label, groups in sizes.items():
            rate = given.tasks / median_time(lambda groups=groups: ours(model, renderer, groups, limit), given.runs)
            name = f"free answers of at most {limit} tokens, {dtype}, {distractors} distractors, {label}"
            results.append(row(name, "tasks/s", rate, peer, PEER, lower_is_better=False, runs=given.runs))
            print(results[-1], flush=True)
    write(results, given.out)


if __name__ == "__main__":
    main()
