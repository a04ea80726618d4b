"""Rows under check, and what was found wrong with them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple

from metatoolagent.errors import Finding, UserError, shown
from metatoolagent.strict_yaml import Document

STORED = 200
"""Characters of an offending value that are stored."""


class Shape(NamedTuple):
    """What a field must be: in words, and as types; and what to write where there is nothing to say, if that can be."""

    words: str
    types: tuple[type, ...]
    nothing: str = ""


TEXT = Shape("text", (str,))
MAPPING = Shape("a mapping", (dict,))
LIST = Shape("a list", (list,))


@dataclass(frozen=True, order=True)
class Rejection:
    """Why a row, or a whole file, is not taken into the catalog."""

    file: str
    line: int
    field: str
    code: str
    what: str
    value: str = ""
    fix: str = ""

    def finding(self) -> Finding:
        """Return it as the user is told."""
        where = f"{self.file}:{self.line}" + (f", field {self.field}" if self.field else "")
        return Finding(self.code, self.what, where, shown(self.value) if self.value else "", self.fix)

    def record(self) -> dict[str, object]:
        """Return its row of the table of rejected rows."""
        reason = f"{self.what}; {self.fix}" if self.fix else self.what
        # A lone surrogate has no UTF-8 form; the name of a file may have one too.
        file, value = (text.encode("utf-8", "backslashreplace").decode("utf-8") for text in (self.file, self.value[:STORED]))
        return {"file": file, "line": self.line, "field": self.field, "value": value, "code": self.code, "reason": reason}


@dataclass(frozen=True)
class Tally:
    """What became of the rows of the files that could be read: each is kept or rejected, however many findings it has."""

    read: int
    rejected: int
    kept: Mapping[str, int]
    """Of each table."""

    def __post_init__(self) -> None:
        """Hold the numbers against each other."""
        kept = sum(self.kept.values())
        assert self.read == kept + self.rejected, f"{self.read} rows in, {kept} kept, {self.rejected} rejected"

    def __str__(self) -> str:
        """Return it in words."""
        tables = " and ".join(f"{number} {table}" for table, number in self.kept.items())
        return f"{self.read} rows read, {sum(self.kept.values())} kept ({tables}), {self.rejected} left out"


def of_file(file: str, error: UserError) -> Rejection:
    """Return the rejection of a whole file; the error's place gives the line."""
    line = re.match(r":(\d+)", error.where.removeprefix(file))
    return Rejection(file, int(line[1]) if line else 1, "", error.code, error.what, error.got.strip('"'), error.fix)


@dataclass
class Row:
    """One tool, or one question, under check."""

    document: Document
    index: int
    record: dict[str, Any] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)

    @property
    def content(self) -> Any:
        """The entry of the file that the row is made from."""
        return self.document.content[self.index]

    @property
    def where(self) -> str:
        """The entry's `file:line`."""
        return self.document.where(self.index)

    def reject(self, code: str, what: str, *pointer: str | int, value: object = "", fix: str = "") -> None:
        """Note that a field of the entry is wrong."""
        place = self.document.line(self.index, *pointer)
        name = ".".join(map(str, pointer))
        self.rejections.append(Rejection(str(self.document.path), place, name, code, what, str(value), fix))

    def has_shape(self, shapes: dict[str, Shape], required: set[str]) -> bool:
        """Say whether the entry is a mapping with fields of these shapes; note what is not so."""
        if not isinstance(self.content, dict):
            self.reject("E-FIELD", f"an entry must be a mapping with the fields {', '.join(shapes)}", value=self.content)
            return False
        for name in self.content:
            if name not in shapes:
                self.reject("E-FIELD", "unknown field", name, value=name, fix=nearest(name, list(shapes)) or "delete it")
            elif not isinstance(self.content[name], shapes[name].types):
                fix = "quote it" if shapes[name] is TEXT else "correct it"
                self.reject("E-FIELD", f"must be {shapes[name].words}", name, value=self.content[name], fix=fix)
        for name in sorted(required - self.content.keys()):
            fix = f"add it, {shapes[name].nothing} if there are none" if shapes[name].nothing else "add it"
            self.reject("E-FIELD", f"the field {name} is missing", fix=fix)
        return not self.rejections


def nearest(name: str, known: list[str]) -> str:
    """Return the hint `did you mean …?` if a known name is near, else nothing."""
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else ""
