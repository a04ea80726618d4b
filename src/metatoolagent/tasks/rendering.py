"""From rows of tasks to packs: documentation, questions and names become tokens once each."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from metatoolagent.artifacts import verify
from metatoolagent.errors import Exit, UserError
from metatoolagent.tasks.packing import Pack, pack
from metatoolagent.tasks.prompts import INSTRUCTION, Template, entry, first_sentence

Row = Mapping[str, Any]


class Renderer:
    """Renders tasks over one catalog with one template."""

    def __init__(self, catalog: Path, template: Template, context: int) -> None:
        """Read a catalog.

        Args:
            catalog: the folder with tools.parquet and questions.parquet.
            template: the backbone's.
            context: positions that the backbone has.
        """
        tools = pl.read_parquet(verify(catalog / "tools.parquet"))
        questions = pl.read_parquet(verify(catalog / "questions.parquet"), columns=["question_id", "question"])
        self.template = template
        self.context = context
        self.opening: list[int] = []
        self.tools: dict[str, dict[str, str]] = {tool["name"]: tool for tool in tools.iter_rows(named=True)}
        self.entries = {name: entry(tool) for name, tool in self.tools.items()}
        self.answers = {name: template.answer(name) for name in self.entries}
        self.questions: dict[str, str] = dict(questions.iter_rows())
        self.sentences = {name: first_sentence(tool["description"]) for name, tool in self.tools.items()}

    def opened(self, opening: Sequence[int]) -> "Renderer":
        """Return this renderer with tokens before every candidate set, such as demonstrations."""
        other = copy.copy(self)
        other.opening = list(opening)
        return other

    def masked(self, tools: Mapping[str, Mapping[str, str]]) -> "Renderer":
        """Return this renderer with other documentation and another answer for some tools, given by their names."""
        other = copy.copy(self)
        other.entries = self.entries | {name: entry(tool) for name, tool in tools.items()}
        other.answers = self.answers | {name: self.template.answer(tool["name"]) for name, tool in tools.items()}
        return other

    def prefix(self, candidates: Sequence[str], instruction: str = INSTRUCTION) -> list[int]:
        """Return the tokens of a candidate set."""
        return [*self.opening, *self.template.prefix([self.entries[name] for name in candidates], instruction)]

    def segment(self, question_id: str) -> list[int]:
        """Return the tokens of a question."""
        return self.template.segment(self.questions[question_id])

    def asked(self, row: Row) -> list[int]:
        """Return the tokens of what a task asks: its question, or the documentation or the text that stands for it."""
        if "question" in row:
            return self.template.segment(row["question"])
        return (
            self.template.segment(self.sentences[row["gold"]]) if row.get("documentation") else self.segment(row["question_id"])
        )

    def pack(self, rows: Sequence[Row], *, gold_only: bool = False) -> Pack:
        """Return the pack of tasks that share a candidate set, in its order.

        Args:
            rows: tasks, with question_id, candidates and position; with gold and documentation where some ask with it, and
                with question where what is asked does not stand in the catalog.
            gold_only: whether each question branches into its right answer alone.

        Raises:
            UserError: E-CTX if a task is longer than the context; E-TASK if the rows do not share a candidate set.
        """
        candidates = list(rows[0]["candidates"])
        if any(list(row["candidates"]) != candidates for row in rows):
            raise UserError("E-TASK", "tasks of one pack have different candidates", str(rows[0]), exit_code=Exit.BUG)
        return pack(
            self.prefix(candidates),
            [self.asked(row) for row in rows],
            [self.answers[name] for name in candidates],
            [row["position"] for row in rows],
            [row["question_id"] for row in rows],
            context=self.context,
            gold_only=gold_only,
        )
