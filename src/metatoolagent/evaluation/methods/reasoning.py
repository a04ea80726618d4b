"""Answers after a piece of reasoning, in two stages: what `cot` and `react` share.

1. The model reasons, greedily, up to a budget of tokens, all questions in lockstep (`evaluation/generation.py`).
2. Its reasoning up to the first line that starts with the answer's marker goes back behind the question, then the
   marker itself, and what follows is scored and generated as a direct answer is (`evaluation/scoring.py`).

So a model that writes the line itself repeats it, since greedy decoding is deterministic, and one that runs over its
budget or forgets the line is asked for it all the same; which of these it did is kept.
docs/decisions/0007-what-each-method-sees.md says why.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from transformers import DynamicCache

from metatoolagent.evaluation.generation import Reading, generate, reading
from metatoolagent.evaluation.job import Answer, Job, Prediction, Tasks
from metatoolagent.evaluation.language import Language, load
from metatoolagent.evaluation.scoring import Asked, select
from metatoolagent.models.adapter import forward
from metatoolagent.tasks.packing import Pack, pack
from metatoolagent.tasks.rendering import Renderer


@dataclass(frozen=True)
class Style:
    """How a method reasons and answers."""

    instruction: str
    """Stands before the tool list."""
    opening: str
    """What the model's turn begins with."""
    marker: str
    """What the line of the answer begins with."""


def reasoned(job: Job, style: Style) -> Answer:
    """Load the model and return how it answers in a style."""
    assert job.reasoning, "cot and react need a budget"
    language, budget = load(job), job.reasoning.tokens

    def answer(sets: Sequence[Tasks]) -> list[list[Prediction]]:
        said = reason(language, style, sets, budget)
        limit = language.max_new_tokens
        asked = [
            Asked(
                after(language.renderer, style, rows, [turn(style, text) for text, _ in of_set], generated=limit, branch=True),
                list(rows[0]["candidates"]),
            )
            for rows, of_set in zip(sets, said, strict=True)
        ]
        template = language.renderer.template
        found = select(language.model, language.weights, template, template.turn_ends, asked, limit)
        return [
            [
                replace(item, reasoning=text, reasoning_end=ending(style, text, cut=cut))
                for item, (text, cut) in zip(of_set, of_said, strict=True)
            ]
            for of_set, of_said in zip(found, said, strict=True)
        ]

    return answer


def reason(language: Language, style: Style, sets: Sequence[Tasks], budget: int) -> list[list[tuple[str, bool]]]:
    """Return what the model says to each task of each candidate set before it ends its turn, and whether its budget was spent."""
    readings = [_begin(language, style, rows, budget) for rows in sets]
    template = language.renderer.template
    said = iter(generate(language.model, language.weights, readings, template, template.turn_ends, budget))
    return [[(text.strip(), cut) for text, cut in islice(said, len(rows))] for rows in sets]


@torch.no_grad()
def _begin(language: Language, style: Style, rows: Tasks, budget: int) -> Reading:
    openings = [style.opening] * len(rows)
    packed = after(language.renderer, style, rows, openings, generated=budget, branch=False)
    packed, cache = packed.to(next(language.model.parameters()).device), DynamicCache()
    options = {"logits_to_keep": packed.keep_K, "use_cache": True, "past_key_values": cache}
    out = forward(language.model, language.weights, packed, **options)
    return reading(packed, cache, out.logits[0], range(len(rows)))


def after(renderer: Renderer, style: Style, rows: Tasks, turns: Sequence[str], *, generated: int, branch: bool) -> Pack:
    """Return the pack of tasks whose answer goes on after what stands in the model's turn already.

    Args:
        renderer: of the catalog.
        style: of the method.
        rows: tasks that share a candidate set.
        turns: the beginning of the model's turn, for each task.
        generated: tokens that are generated next, at most.
        branch: whether each question branches into all candidates' names.
    """
    template, candidates = renderer.template, list(rows[0]["candidates"])
    # A space before the name: it follows the marker's colon, as a model would write it.
    answers = [[*template.content(f" {name}"), *template.marker(template.end)] for name in candidates]
    return pack(
        renderer.tools_turn(candidates, style.instruction),
        [[*template.question_turn(renderer.said(row)), *template.content(said)] for row, said in zip(rows, turns, strict=True)],
        answers if branch else [],
        [row["position"] for row in rows],
        [row["question_id"] for row in rows],
        context=renderer.context,
        generated=generated,
    )


def turn(style: Style, said: str) -> str:
    """Return the model's turn up to the name of the tool: its reasoning, and the marker on a line of its own."""
    line = _line(style, said)
    thought = f"{style.opening} {said[: line.start()] if line else said}".strip()
    return f"{thought}\n{style.marker}" if thought else style.marker


def ending(style: Style, said: str, *, cut: bool) -> str:
    """Return what ended the reasoning, as `Prediction.reasoning_end` has it; what follows the answer's line does not count."""
    if _line(style, said):
        return "line"
    return "cut" if cut else "turn"


def _line(style: Style, said: str) -> re.Match[str] | None:
    """Return where the line of the answer begins, if the model wrote one."""
    return re.search(rf"^[ \t]*{re.escape(style.marker)}", said, re.MULTILINE)
