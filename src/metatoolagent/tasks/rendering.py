"""From rows of tasks to packs: documentation, questions and names become tokens once each."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from metatoolagent.artifacts import KEPT, verify
from metatoolagent.errors import Exit, Finding, UserError, raise_findings, shown
from metatoolagent.known import Known
from metatoolagent.tasks.abstention import NONE, NONE_TOOL
from metatoolagent.tasks.prompts import INSTRUCTION, Template, entry, leading_sentences

if TYPE_CHECKING:
    from metatoolagent.tasks.packing import Pack

Row = Mapping[str, Any]
SHARED = ("candidates", "attacked", "instruction")
"""What the tasks of a pack have in common, as far as they have it."""


class Renderer:
    """Renders tasks over one catalog with one template."""

    def __init__(self, catalog: Path, template: Template, context: int) -> None:
        """Read a catalog.

        Args:
            catalog: the folder with tools.parquet and questions.parquet.
            template: the backbone's.
            context: positions that the backbone has.

        Raises:
            UserError: E-MISSING or E-CORRUPT for the catalog; E-MARKER if a text of it holds what parts the turns of the
                backbone's template, and could forge one.
        """
        tools = pl.read_parquet(verify(catalog / "tools.parquet"))
        questions = pl.read_parquet(verify(catalog / "questions.parquet"), columns=["question_id", "question", "tool"])
        self.template = template
        self.context = context
        self.opening: list[int] = template.beginning
        catalogued = {tool["name"]: tool for tool in tools.iter_rows(named=True)}
        self.tools: dict[str, dict[str, str]] = {**catalogued, NONE: NONE_TOOL}
        self.entries: dict[str, str] = Known((name, entry(tool)) for name, tool in self.tools.items())
        self.answers: dict[str, list[int]] = Known((name, template.answer(name)) for name in self.entries)
        self.questions: dict[str, str] = Known(questions.select("question_id", "question").iter_rows())
        self.asked_for: dict[str, str] = Known(questions.select("question_id", "tool").iter_rows())
        self.require_no_marker({"tool": self.entries, "question": self.questions})
        self.sentences = leading_sentences({name: tool["description"] for name, tool in self.tools.items()})

    def opened(self, opening: Sequence[int]) -> "Renderer":
        """Return this renderer with tokens before every candidate set, such as demonstrations."""
        other = copy.copy(self)
        other.opening = [*self.opening, *opening]
        return other

    def masked(self, tools: Mapping[str, Mapping[str, str]]) -> "Renderer":
        """Return this renderer with other documentation and another answer for some tools, given by their names."""
        other = copy.copy(self)
        other.entries = Known({**self.entries, **{name: entry(tool) for name, tool in tools.items()}})
        other.answers = Known({**self.answers, **{name: self.template.answer(tool["name"]) for name, tool in tools.items()}})
        return other

    def require_no_marker(self, texts: Mapping[str, Mapping[str, str]]) -> None:
        """Refuse texts, by kind and name, that hold a marker of the template which is no special token.

        Raises:
            UserError: E-MARKER.
        """
        what = "a text holds what parts the turns of the backbone's template"
        fix = "reword the text, or choose a backbone whose template parts turns by special tokens"
        findings = [
            Finding("E-MARKER", what, f"{kind} {name}", shown(mark), fix)
            for mark in self.template.forgeable
            for kind, group in texts.items()
            for name, text in group.items()
            if mark in text
        ]
        raise_findings(findings, kept=KEPT)

    def lines(self, candidates: Sequence[str]) -> list[int]:
        """Return the tokens of a candidate set."""
        return self.template.lines([self.entries[name] for name in candidates])

    def prefix(self, candidates: Sequence[str]) -> list[int]:
        """Return the tokens of a candidate set, with what opens every prompt."""
        return [*self.opening, *self.lines(candidates)]

    def tools_turn(self, candidates: Sequence[str], instruction: str = INSTRUCTION) -> list[int]:
        """Return the tokens of a candidate set in a conversation."""
        return self.template.tools_turn([self.entries[name] for name in candidates], instruction)

    def line(self, question_id: str) -> list[int]:
        """Return the tokens of a question."""
        return self.template.line(self.questions[question_id])

    def said(self, row: Row) -> str:
        """Return the text of what a task asks: its question, or the documentation or the text that stands for it.

        Raises:
            UserError: E-MARKER for a text of the task's own; the catalog's were looked at before.
        """
        if "question" in row:
            self.require_no_marker({"question": {row["question_id"]: row["question"]}})
            return str(row["question"])
        if row.get("documentation"):
            return self.sentences[self.asked_for[row["question_id"]]]
        return self.questions[row["question_id"]]

    def asked(self, row: Row) -> list[int]:
        """Return the tokens of what a task asks."""
        return self.template.line(self.said(row))

    def pack(self, rows: Sequence[Row], *, generated: int = 0, gold_only: bool = False) -> "Pack":
        """Return the pack of tasks that share a candidate set, in its order.

        Args:
            rows: tasks, with question_id, candidates and position; with documentation where some ask with it, with question
                where what is asked does not stand in the catalog, and with attacked and instruction where the description
                of a candidate has an instruction at its end.
            generated: positions that tokens generated after a question may need.
            gold_only: whether each question branches into its right answer alone.

        Raises:
            UserError: E-CTX if a task is longer than the context; E-TASK if the rows do not share a candidate set.
        """
        from metatoolagent.tasks.packing import pack  # with torch, which reading rows alone does without

        candidates = list(rows[0]["candidates"])
        if any(row.get(name) != rows[0].get(name) for row in rows for name in SHARED):
            raise UserError("E-TASK", "tasks of one pack have different candidates", str(rows[0]), exit_code=Exit.BUG)
        return pack(
            self.injected(rows[0]).prefix(candidates),
            [self.asked(row) for row in rows],
            [self.answers[name] for name in candidates],
            [row["position"] for row in rows],
            [row["question_id"] for row in rows],
            context=self.context,
            generated=generated,
            gold_only=gold_only,
        )

    def injected(self, row: Row) -> "Renderer":
        """Return the renderer of a task, whose attacked candidate has the instruction at the end of its description."""
        if row.get("instruction") is None:
            return self
        tool = self.tools[row["attacked"]]
        self.require_no_marker({"instruction for": {tool["name"]: row["instruction"]}})
        return self.masked({tool["name"]: {**tool, "description": f"{tool['description']} {row['instruction']}"}})
