"""Answers after a piece of reasoning, in two stages: what `cot` and `react` share.

1. The model reasons, greedily, all questions of a candidate set in lockstep over one cache, up to a budget of tokens.
2. Its reasoning up to the first line that starts with the answer's marker goes back behind the question, then the
   marker itself, and what follows is scored and generated as a direct answer is (`evaluation/scoring.py`).

So a model that writes the line itself repeats it, since greedy decoding is deterministic, and one that runs over its
budget or forgets the line is asked for it all the same. docs/decisions/0007-what-each-method-sees.md says why.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from transformers import DynamicCache

from metatoolagent.evaluation.job import Answer, Job, Prediction
from metatoolagent.evaluation.language import Language, load
from metatoolagent.evaluation.scoring import Step, generate, select
from metatoolagent.models.adapter import cast, forward
from metatoolagent.tasks.packing import Pack, pack
from metatoolagent.tasks.rendering import Row


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

    def answer(rows: Sequence[Row]) -> list[Prediction]:
        candidates = list(rows[0]["candidates"])
        texts = reason(language, style, rows, budget)
        turns = [turn(style, text) for text in texts]
        limit = language.max_new_tokens
        packed = after(language, style, rows, turns, generated=limit, branch=True)
        found = select(language.model, language.weights, language.renderer.template, packed, candidates, limit)
        return [replace(read(item, candidates), reasoning=text) for item, text in zip(found, texts, strict=True)]

    return answer


@torch.no_grad()
def reason(language: Language, style: Style, rows: Sequence[Row], budget: int) -> list[str]:
    """Return what the model says to each task of a candidate set before it ends its turn or its budget is spent."""
    model, weights = language.model, language.weights
    openings = [style.opening] * len(rows)
    packed = after(language, style, rows, openings, generated=budget, branch=False).to(next(model.parameters()).device)
    cache = DynamicCache()
    out = forward(model, weights, packed, logits_to_keep=packed.keep_K, use_cache=True, past_key_values=cache)
    step = Step(model, cast(weights, next(model.parameters()).dtype), cache)
    said = generate(step, packed, out.logits[0].float(), language.renderer.template, budget)
    return [text for text, _ in said]


def after(language: Language, style: Style, rows: Sequence[Row], turns: Sequence[str], *, generated: int, branch: bool) -> Pack:
    """Return the pack of tasks whose answer goes on after what stands in the model's turn already.

    Args:
        language: the model.
        style: of the method.
        rows: tasks that share a candidate set.
        turns: the beginning of the model's turn, for each task.
        generated: tokens that are generated next, at most.
        branch: whether each question branches into all candidates' names.
    """
    renderer, candidates = language.renderer, list(rows[0]["candidates"])
    template = renderer.template
    # A space before the name: it follows the marker's colon, as a model would write it.
    answers = [[*template.content(f" {name}"), *template.marker(template.end)] for name in candidates]
    return pack(
        renderer.prefix(candidates, style.instruction),
        [[*renderer.segment(row["question_id"]), *template.content(said)] for row, said in zip(rows, turns, strict=True)],
        answers if branch else [],
        [row["position"] for row in rows],
        [row["question_id"] for row in rows],
        context=renderer.context,
        generated=generated,
    )


def turn(style: Style, said: str) -> str:
    """Return the model's turn up to the name of the tool: its reasoning, and the marker on a line of its own."""
    line = re.search(rf"^[ \t]*{re.escape(style.marker)}", said, re.MULTILINE)
    thought = f"{style.opening} {said[: line.start()] if line else said}".strip()
    return f"{thought}\n{style.marker}" if thought else style.marker


def read(prediction: Prediction, candidates: Sequence[str]) -> Prediction:
    """Return the prediction with its free answer read as a line: whatever stands on later lines is no part of it."""
    line, newline, _ = prediction.free_text.partition("\n")
    name, cut = line.strip(), prediction.cut and not newline
    return replace(prediction, free_text=name, free=name if name in candidates and not cut else None, cut=cut)
