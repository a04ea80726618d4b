"""Adaptation: a few questions of unseen tools to adapt on, and others of the same tools to answer afterwards.

The unseen tools are parted into episodes, each a candidate set of its own. Fillings of one sentence frame are nearly the
same question, so the frames that are adapted on and those that are answered are disjoint.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from metatoolagent import artifacts, params
from metatoolagent.catalog import schemas
from metatoolagent.errors import Finding, raise_findings
from metatoolagent.tasks.distractors import generator_of, require

POOL = "unseen"
Row = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """The questions of one tool, as identifiers."""

    shots: list[str]
    """To adapt on."""
    answered: list[str]
    """To answer afterwards, of other frames."""


def tasks(
    questions: pl.DataFrame, distractors: int, key: str, seed: int, part: str, sizes: params.ProbeSizes
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the support tasks, an episode's as the one support pack of a meta-task, and the evaluation tasks.

    A tool is answered in one episode. If the tools do not part evenly, the last episode's candidates are filled up
    with tools of others, which are adapted on there too but not answered again.

    Args:
        questions: of the split, with their part.
        distractors: wrong tools in each candidate set.
        key: where in params.yaml their number stands.
        seed: of all draws.
        part: whose tools are evaluated.
        sizes: how many questions are answered, and how many of each tool are adapted on.

    Raises:
        UserError: E-DISTRACTORS if the part has too few tools; E-QUESTIONS if a tool has too few sentence frames.
    """
    # A question with a second answer could have both among the candidates.
    usable = questions.filter((pl.col("part") == part) & (pl.col("also").list.len() == 0))
    generator = generator_of(seed, "probes", "adaptation")
    names = sorted(set(usable["tool"]))
    require({f"tools of part {part}": len(names) - 1}, distractors, key)
    _require_frames(usable, sizes.shots)
    order = [names[index] for index in generator.permutation(len(names))]
    quota = {name: sizes.count // len(order) + (rank < sizes.count % len(order)) for rank, name in enumerate(order)}
    asked = {name: _asked(usable.filter(tool=name), quota[name], sizes.shots, generator) for name in order}
    support: list[Row] = []
    answered: list[Row] = []
    for number, (tools, new) in enumerate(_episodes(order, distractors + 1)):
        if not any(asked[name].answered for name in new):
            continue  # fewer questions than tools: nobody would ask what was learned there
        support += _support(number, tools, asked, generator)
        answered += [row for name in new for row in _rows(name, asked[name].answered, _shuffled(tools, generator))]
    numbered = [{"task_id": f"{POOL}-{index:06}", "pool": POOL, "part": part, **row} for index, row in enumerate(answered)]
    return _frame(support, schemas.META_TASKS), _frame(numbered, schemas.EVAL_TASKS)


def _asked(questions: pl.DataFrame, count: int, shots: int, generator: np.random.Generator) -> Asked:
    """Return what is asked of one tool: a question of each of the first frames, and up to `count` of the others."""
    frames = _shuffled(sorted(set(questions["frame_id"])), generator)
    first = [sorted(questions.filter(frame_id=frame)["question_id"]) for frame in frames[:shots]]
    others = sorted(questions.filter(pl.col("frame_id").is_in(frames[shots:]))["question_id"])
    return Asked([ids[int(generator.integers(len(ids)))] for ids in first], _shuffled(others, generator)[:count])


def _require_frames(questions: pl.DataFrame, shots: int) -> None:
    what = f"a tool needs {shots} sentence frames to adapt on, and one more to answer"
    fix = "add questions, or lower probes.shots"
    counts = questions.group_by("tool").agg(pl.col("frame_id").n_unique()).sort("tool")
    few = [(name, count) for name, count in counts.iter_rows() if count <= shots]
    findings = [Finding("E-QUESTIONS", what, f"tool {name}", f"{count} with one answer", fix) for name, count in few]
    raise_findings(findings, kept=artifacts.KEPT)


def _episodes(order: list[str], size: int) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the candidates of each episode, and those of them that are answered in it."""
    for start in range(0, len(order), size):
        new = order[start : start + size]
        yield [*new, *order[: size - len(new)]], new


def _support(number: int, tools: list[str], asked: dict[str, Asked], generator: np.random.Generator) -> list[Row]:
    candidates = _shuffled(tools, generator)
    rows = _shuffled([row for name in tools for row in _rows(name, asked[name].shots, candidates)], generator)
    place = {"meta_task": number, "role": "support", "pack": 0, "documentation": False}
    return [place | {"task": index} | row for index, row in enumerate(rows)]


def _rows(gold: str, questions: Sequence[str], candidates: list[str]) -> list[Row]:
    shared = {"candidates": candidates, "gold": gold, "position": candidates.index(gold)}
    return [{"question_id": question} | shared for question in questions]


def _shuffled(values: list[Any], generator: np.random.Generator) -> list[Any]:
    return [values[index] for index in generator.permutation(len(values))]


def _frame(rows: list[Row], schema: schemas.Table) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={name: column.dtype.type for name, column in schema.columns.items()})
