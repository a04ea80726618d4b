"""Tools and questions as numbers, and tasks as the rows of a table.

Legend: N tasks, T tools, Q questions, C candidates, A second answers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoolagent.tasks.distractors import Bools, Ints

KEYS = 2**22
"""Random keys (tasks times tools) that are held at once, which bounds the memory of a chunk."""


@dataclass(frozen=True)
class Choices:
    """The tools and questions of a split; a tool or question is the number of its row."""

    names: pl.Series
    domains: list[str]
    domain_T: Ints
    part_T: NDArray[np.str_]
    question_ids: pl.Series
    tool_Q: Ints
    second_2A: Ints
    """Question and tool of every answer beside the gold one, sorted by question."""

    @classmethod
    def of(cls, tools: pl.DataFrame, questions: Iterable[pl.DataFrame]) -> "Choices":
        """Return the tables of a split, numbered.

        Args:
            tools: its tools.
            questions: the chunks of its questions, one at least. Of each question its id and some 8 bytes are kept, not its text.
        """
        number = {name: index for index, name in enumerate(tools["name"])}
        domains = sorted(set(tools["domain"]))
        place = {domain: index for index, domain in enumerate(domains)}
        ids, tool, second, first = [], [], [], 0
        for chunk in questions:
            also = chunk.select("also").with_row_index("question", first)
            answers = also.explode("also", empty_as_null=True).drop_nulls()
            second.append(np.stack([answers["question"].to_numpy().astype(np.int64), _numbers(answers["also"], number)]))
            ids.append(chunk["question_id"])
            tool.append(_numbers(chunk["tool"], number))
            first += len(chunk)
        return cls(
            names=tools["name"],
            domains=domains,
            domain_T=np.array([place[domain] for domain in tools["domain"]], np.int64),
            part_T=np.array(tools["part"].to_list(), np.str_),
            question_ids=pl.concat(ids, rechunk=True),
            tool_Q=np.concatenate(tool),
            second_2A=np.concatenate(second, axis=1),
        )

    def only(self, question_Q: Ints) -> "Choices":
        """Return the same tools with some of the questions."""
        number_Q = np.full(len(self.tool_Q), -1)
        number_Q[question_Q] = np.arange(len(question_Q))
        second_2A = np.stack([number_Q[self.second_2A[0]], self.second_2A[1]])
        return replace(
            self,
            question_ids=self.question_ids.gather(question_Q),
            tool_Q=self.tool_Q[question_Q],
            second_2A=second_2A[:, second_2A[0] >= 0],
        )

    def unambiguous(self) -> Bools:
        """Return which questions have one answer alone."""
        single_Q = np.ones(len(self.tool_Q), np.bool_)
        single_Q[self.second_2A[0]] = False
        return single_Q

    def rows(self, question_N: Ints, gold_N: Ints, candidates_NC: Ints) -> pl.DataFrame:
        """Return the columns that training and evaluation tasks share."""
        is_gold_NC = candidates_NC == gold_N[:, None]
        assert (is_gold_NC.sum(axis=1) == 1).all(), "the gold tool must be among the candidates once"
        names = self.names.gather(candidates_NC.ravel())
        return pl.DataFrame(
            {
                "question_id": self.question_ids.gather(question_N),
                "candidates": names.reshape((len(gold_N), -1)).arr.to_list(),
                "gold": self.names.gather(gold_N),
                "position": is_gold_NC.argmax(axis=1).astype(np.int16),
            }
        )


def _numbers(names: pl.Series, number: dict[str, int]) -> Ints:
    return names.replace_strict(number, return_dtype=pl.Int64).to_numpy().astype(np.int64)
