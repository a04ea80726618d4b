"""The data of the page's browser: every task once, and what each method chose, as short lists."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from metatoolagent import known
from metatoolagent.artifacts import verify
from metatoolagent.evaluation.breakdowns import UNSAID
from metatoolagent.evaluation.metrics import answers

Files = Mapping[str, Mapping[str, list[Path]]]
"""The predictions of each method on each split, a file a fold."""
REASONING = 400
"""Characters of a method's reasoning that are kept."""


def content(predictions: Files, catalogs: Mapping[str, Path]) -> dict[str, Any]:
    """Return the catalogs and the tasks of every split.

    Args:
        predictions: the files.
        catalogs: the folder of the catalog of each split.

    Returns:
        `catalogs`: by folder, a list of [name, domain, description]; `splits`: by split its catalog, its methods and its
        tasks. A task is [task_id, pool, question, kind, candidates, position, answers]; candidates are numbers into the
        catalog; an answer is [scored, free, outcome, text, shares, reasoning], selections as places among the candidates
        (-1 for none), shares the probability of each candidate in per cent among them (null for methods that select without
        naming).

    Raises:
        UserError: E-CORRUPT or E-MISSING for inputs, E-STALE if the tasks are of another catalog, and as `metrics.answers`.
    """
    found: dict[str, Any] = {"catalogs": {}, "splits": {}}
    for split, files in predictions.items():
        folder = catalogs[split]
        tools = pl.read_parquet(verify(folder / "tools.parquet"))
        questions = pl.read_parquet(verify(folder / "questions.parquet"), columns=["question_id", "question", "kind"])
        found["catalogs"][folder.as_posix()] = [list(row) for row in tools.select("name", "domain", "description").iter_rows()]
        number = {name: index for index, name in enumerate(tools["name"])}
        frames = answers(files)
        asked = next(iter(frames.values()))
        known.require(asked["candidates"].explode().unique(maintain_order=True), number, folder)
        known.require(asked["question_id"], set(questions["question_id"]), folder)
        tasks = _tasks([frame.to_dicts() for frame in frames.values()], number, questions)
        found["splits"][split] = {"catalog": folder.as_posix(), "methods": list(files), "tasks": tasks}
    return found


def _tasks(frames: list[list[dict[str, Any]]], number: Mapping[str, int], questions: pl.DataFrame) -> list[list[Any]]:
    asked = {row[0]: (row[1], row[2] or UNSAID) for row in questions.iter_rows()}
    return [
        [
            rows[0]["task_id"],
            rows[0]["pool"],
            *asked[rows[0]["question_id"]],
            [number[name] for name in rows[0]["candidates"]],
            rows[0]["position"],
            [_answer(row) for row in rows],
        ]
        for rows in zip(*frames, strict=True)
    ]


def _answer(row: Mapping[str, Any]) -> list[Any]:
    candidates = row["candidates"]
    free = candidates.index(row["free"]) if row["free"] in candidates else -1
    text = None if free >= 0 and row["free_text"] == row["free"] else row["free_text"]
    reasoning = row["reasoning"][:REASONING] if row["reasoning"] else None
    return [candidates.index(row["scored"]), free, row["outcome"], text, shares(row["log_probabilities"]), reasoning]


def shares(log_probabilities: list[float] | None) -> list[int] | None:
    """Return the candidates' probabilities in whole per cent of their sum; None for none."""
    if log_probabilities is None:
        return None
    values = np.exp(np.asarray(log_probabilities) - max(log_probabilities))
    return [round(value) for value in (100 * values / values.sum()).tolist()]
