"""Questions on disk while they are checked, one file a domain, so that memory does not grow with their text.

In memory stay 8 bytes a question, to find repeated ones by, and all that is rejected.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoolagent.catalog import chunks, schemas
from metatoolagent.catalog.questions import reject_repeated
from metatoolagent.catalog.rejection import Rejection, Row
from metatoolagent.catalog.text import normalised
from metatoolagent.strict_yaml import Document

COLUMNS = {name: column.dtype.type for name, column in schemas.QUESTIONS.columns.items()}
PLACE = {"number": pl.Int64, "entry_line": pl.Int32, "ask_line": pl.Int32, "rejected": pl.Boolean}
"""Beside the columns of the table: the number among all questions, where it was read, and whether it is already rejected."""


class Part(NamedTuple):
    """The questions of one file that was read, sorted by question_id on disk."""

    source: Path
    path: Path
    first: int
    """The number of its first question."""


Run: TypeAlias = tuple[str, Part, int, int]
"""Questions of one tool that stand together in a part: the tool, the part, the first of them and how many."""


class Spool:
    """Takes the rows of one file after the other; then tells the repeated ones, and gives back what nothing is wrong with."""

    def __init__(self, folder: Path) -> None:
        """Take the folder to write to."""
        self.folder = folder
        self.parts: list[Part] = []
        self.hashes: list[NDArray[np.int64]] = []
        self.number = 0
        self.found: list[tuple[tuple[int, bool], Rejection]] = []
        self.repeated: list[int] = []
        self.rows = self.kept = self.rejected = 0

    @property
    def rejections(self) -> list[Rejection]:
        """Everything that is wrong, in the order of the rows."""
        return [rejection for _, rejection in sorted(self.found, key=lambda item: item[0])]

    def add(self, rows: Sequence[Row]) -> None:
        """Write the questions of one file; a row that could not be expanded to one is a rejection alone."""
        first = self.number
        recorded = [row for row in rows if row.record]
        self.rows += len(rows)
        self.rejected += sum(bool(row.rejections) for row in rows)
        for row in rows:
            self.found += [((self.number, bool(row.record)), rejection) for rejection in row.rejections]
            self.number += bool(row.record)
        if not recorded:
            return
        self.hashes.append(np.array([hash(normalised(row.record["question"])) for row in recorded], np.int64))
        place = {
            "number": range(first, self.number),
            "entry_line": [row.document.line(row.index) for row in recorded],
            "ask_line": [row.document.line(row.index, "ask") for row in recorded],
            "rejected": [bool(row.rejections) for row in recorded],
        }
        records = pl.DataFrame([row.record for row in recorded], schema=COLUMNS)
        frame = records.hstack(pl.DataFrame(place, schema=PLACE)).sort("question_id")
        part = Part(recorded[0].document.path, self.folder / f"{len(self.parts):05}.arrow", first)
        frame.write_ipc(part.path)
        self.parts.append(part)
        self.kept += len(frame) - int(frame["rejected"].sum())

    def reject_repeated(self) -> None:
        """Note questions that stand twice, in whatever files, as `questions.reject_repeated` does in memory."""
        again = self._look_alike()
        rows: list[Row] = []
        rejected: list[bool] = []
        ends = [*(part.first for part in self.parts), self.number][1:]
        for part, end in zip(self.parts, ends, strict=True):
            numbers = again[(again >= part.first) & (again < end)]
            if len(numbers):
                chosen = pl.scan_ipc(part.path).filter(pl.col("number").is_in(numbers.tolist())).sort("number").collect()
                rows += [_row(part, record) for record in chosen.iter_rows(named=True)]
                rejected += chosen["rejected"].to_list()
        reject_repeated(rows)
        for number, row, before in zip(again.tolist(), rows, rejected, strict=True):
            self.found += [((number, True), rejection) for rejection in row.rejections]
            if row.rejections:
                self.repeated.append(number)
                self.kept -= not before
                self.rejected += not before

    def _look_alike(self) -> NDArray[np.int64]:
        """Return the numbers of the questions that share a hash with another, in order: the texts decide."""
        hashes = np.concatenate([np.empty(0, np.int64), *self.hashes])
        order = np.argsort(hashes)
        same = hashes[order[1:]] == hashes[order[:-1]]
        return np.unique(np.r_[order[1:][same], order[:-1][same]])

    def write(self, path: Path) -> None:
        """Write the table of the questions that nothing is wrong with.

        Raises:
            UserError: E-SCHEMA.
        """
        chunks.write(self._chunks(), schemas.QUESTIONS, path, self.folder)
        written = pl.scan_parquet(path).select(pl.len()).collect().item()
        assert written == self.kept, f"{self.kept} questions kept, {written} written"

    def _chunks(self) -> Iterator[pl.DataFrame]:
        """Yield them sorted by question_id, of `chunks.CHUNK` that were read, or of one family of tools if they are more."""
        waiting: list[Run] = []
        count = 0
        for family in _families(sorted(chain.from_iterable(_tools(part) for part in self.parts))):
            waiting += family
            count += sum(length for *_, length in family)
            if count >= chunks.CHUNK:
                yield self._good(waiting)
                waiting, count = [], 0
        yield from [self._good(waiting)] if waiting else []

    def _good(self, runs: Iterable[Run]) -> pl.DataFrame:
        """Return the questions of whole families that nothing is wrong with, sorted by question_id.

        A part is sorted too, so what it has of families that follow one another stands together in it, and is read at once: to
        open the file for each tool took time that grew with the tools of a domain times its questions.
        """
        ranges: dict[Part, tuple[int, int]] = {}
        for _, part, start, length in runs:
            first, before = ranges.get(part, (start, 0))
            ranges[part] = (min(first, start), before + length)
        return pl.concat([self._read(part, *of_part) for part, of_part in ranges.items()]).sort("question_id")

    def _read(self, part: Part, start: int, length: int) -> pl.DataFrame:
        """Return those of a range of a part's questions that nothing is wrong with."""
        rows = pl.scan_ipc(part.path).slice(start, length).collect()
        wrong = rows["rejected"].to_numpy() | np.isin(rows["number"].to_numpy(), self.repeated)
        good = rows.filter(pl.Series(~wrong)).select(list(COLUMNS))
        # A copy, since a slice keeps the text of its whole file in memory.
        return pl.DataFrame(good.to_arrow(compat_level=pl.CompatLevel.oldest()))


def _row(part: Part, record: dict[str, Any]) -> Row:
    """Return a question with its place, as far as a rejection needs it."""
    document = Document(part.source, None, {(0,): record["entry_line"], (0, "ask"): record["ask_line"]})
    return Row(document, 0, record)


def _tools(part: Part) -> Iterator[Run]:
    """Yield of each tool of a part where its questions are: the first and how many."""
    start = 0
    for run in pl.scan_ipc(part.path).select(pl.col("tool").rle()).collect()["tool"]:
        yield run["value"], part, start, run["len"]
        start += run["len"]


def _families(runs: Iterable[Run]) -> Iterator[list[Run]]:
    """Part runs that are sorted by tool where all questions before sort before all behind.

    A question_id begins with its tool and a dash, which sorts before all characters of a name. So the questions of one tool after
    the other are in order, but where a name goes on with a dash: those of `list-all` sort among those of `list`.
    """
    family: list[Run] = []
    for run in runs:
        if family and not f"{run[0]}-".startswith(f"{family[0][0]}-"):
            yield family
            family = []
        family.append(run)
    yield from [family] if family else []
