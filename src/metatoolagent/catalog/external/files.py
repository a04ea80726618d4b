"""Published files as Python content, each fault with its file and place."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metatoolagent.artifacts import KEPT
from metatoolagent.errors import UserError, shown

FIX = "compare the file with the version that data/sources.tsv pins, and correct its row"


def read_list(path: Path, name: str) -> list[Any]:
    """Return the entries of a file that is one JSON list.

    Raises:
        UserError: E-PARSE if it is not JSON, E-FIELD if it is not a list.
    """
    content = parse(path.read_bytes(), name)
    if not isinstance(content, list):
        raise UserError("E-FIELD", "the file must be a list", f"{name}:1", shown(content), FIX, KEPT)
    return content


def read_lines(path: Path, name: str) -> list[tuple[int, Any]]:
    """Return the entries of a file of JSON lines with their lines, from 1; blank lines are none.

    Raises:
        UserError: E-PARSE.
    """
    # Not str.splitlines, which also breaks at separators that JSON allows inside a text.
    numbered = enumerate(path.read_bytes().split(b"\n"), start=1)
    return [(number, parse(line, name, number)) for number, line in numbered if line.strip()]


def parse(raw: bytes | str, name: str, line: int = 1) -> Any:
    """Return JSON as Python content.

    Args:
        raw: the text.
        name: the file, and the place in it, for the error.
        line: the line that the text begins in.

    Raises:
        UserError: E-PARSE.
    """
    try:
        return json.loads(raw)
    except json.JSONDecodeError as error:
        place = f"{name}:{line + error.lineno - 1}"
        raise UserError("E-PARSE", f"not JSON: {error.msg} at column {error.colno}", place, fix=FIX, kept=KEPT) from None
    except UnicodeDecodeError as error:
        raise UserError("E-PARSE", f"not UTF-8: {error.reason}", f"{name}:{line}", fix=FIX, kept=KEPT) from None


def field(entry: Any, key: str, kind: type, where: str) -> Any:
    """Return a field of an entry.

    Raises:
        UserError: E-FIELD if the entry has no such field, or one of another kind.
    """
    if not isinstance(entry, Mapping) or key not in entry:
        found = ", ".join(map(str, entry)) if isinstance(entry, Mapping) else entry
        raise UserError("E-FIELD", f"the field {key} is missing", where, shown(found), FIX, KEPT)
    return typed(entry[key], kind, f"{where}, field {key}")


def typed(value: Any, kind: type, where: str) -> Any:
    """Return a value of a kind.

    Raises:
        UserError: E-FIELD if it is of another kind.
    """
    if not isinstance(value, kind):
        raise UserError("E-FIELD", f"a value must be of type {kind.__name__}", where, shown(value), FIX, KEPT)
    return value


def same_length(one: Sequence[Any], other: Sequence[Any], names: str, where: str) -> None:
    """Refuse two lists that belong together and differ in length.

    Raises:
        UserError: E-FIELD.
    """
    if len(one) != len(other):
        raise UserError("E-FIELD", f"{names} must be equally long", where, f"{len(one)} and {len(other)}", FIX, KEPT)
