"""YAML that means one thing: no aliases, tags, duplicate keys or surprising types, and every value knows its line.

Scalars follow JSON (YAML 1.2's JSON schema): `true`, `false`, `null`, integers and decimal numbers; all else is
text, so that `no`, `010`, `12:30` and `2024-05-01` stay as they were written. Size, depth and number of values are
limited before anything is built, since a few hundred bytes of aliases can expand to gigabytes.
"""

import codecs
import math
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from metatoolagent.errors import UserError, shown

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 64
MAX_NODES = 200_000
MAX_DIGITS = 400

INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
CONSTANTS = {"true": True, "false": False, "null": None, "": None, "~": None}
FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""Of the encodings that a file's first bytes give away."""

Pointer = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A parsed file: its content, and the line of every value by its path from the top."""

    path: Path
    content: Any
    lines: dict[Pointer, int]
    written: dict[Pointer, str] = field(default_factory=dict)
    """Numbers that their value does not write again, such as 12.50 and 1e3."""

    def where(self, *pointer: str | int) -> str:
        """Return `file:line` of a value, or of its nearest parent that stands in the file."""
        while pointer and pointer not in self.lines:
            pointer = pointer[:-1]
        return f"{self.path}:{self.lines.get(pointer, 1)}"

    def line(self, *pointer: str | int) -> int:
        """Return the line of a value, from 1."""
        return int(self.where(*pointer).rpartition(":")[2])


def load(path: Path) -> Document:
    """Read one YAML document.

    Args:
        path: a regular file, UTF-8, a byte order mark allowed, any line ends.

    Raises:
        UserError: E-MISSING, E-NOT-A-FILE, E-SIZE, E-ENCODING, E-CONTROL-CHAR, E-PARSE, E-EMPTY, E-YAML-ALIAS,
            E-YAML-TAG, E-YAML-MULTIDOC, E-DUP-KEY, E-DEPTH, E-LIMIT or E-NUMBER, with file and line.
    """
    text = read_text(path)
    lines: dict[Pointer, int] = {}
    written: dict[Pointer, str] = {}
    try:
        builder = Builder(path, lines, written, yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        content = builder.document()
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        excerpt = text.splitlines()[line - 1] if 0 < line <= len(text.splitlines()) else ""
        what = f"not YAML: {error.problem or error.context}"
        raise UserError("E-PARSE", what, f"{path}:{line}:{column}", shown(excerpt), "correct this line") from None
    except yaml.YAMLError as error:
        raise UserError("E-PARSE", f"not YAML: {error}".splitlines()[0], str(path), fix="correct the file") from None
    return Document(path, content, lines, written)


def read_text(path: Path) -> str:
    """Return a text file's content with line ends as newlines and without a byte order mark.

    Raises:
        UserError: as `load`, for all that is wrong before the parser sees it.
    """
    if not path.exists():
        raise UserError("E-MISSING", "a file is not there", str(path), fix="create it, or correct the path")
    if not path.is_file():
        raise UserError("E-NOT-A-FILE", "expected a regular file", str(path), fix="put a YAML file there")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise UserError("E-SIZE", f"a file has {size} bytes, at most {MAX_BYTES} are read", str(path), fix="split it")
    text = decoded(path.read_bytes(), path)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if found := FORBIDDEN.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        raise UserError(
            "E-CONTROL-CHAR", "a control character", f"{path}:{line}:{column}", f"U+{ord(found[0]):04X}", "delete the character"
        )
    return text


def decoded(raw: bytes, path: Path) -> str:
    """Return the bytes of a UTF-8 file as text, without a byte order mark.

    Args:
        raw: the whole file.
        path: where it lies, for the error.

    Raises:
        UserError: E-ENCODING.
    """
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")  # utf-8-sig would count the place of a fault without the mark
    except UnicodeDecodeError as error:
        raise _encoding_error(raw, path, error.start) from None


def _encoding_error(raw: bytes, path: Path, place: int) -> UserError:
    """Return what to tell of a byte that is no UTF-8: the encoding where a byte order mark says it, else how to go about it."""
    line = raw.count(b"\n", 0, place) + 1
    marked = next(((mark, name) for mark, name in BYTE_ORDER_MARKS.items() if raw.startswith(mark)), None)
    if marked:
        mark, name = marked
        what, got = f"not UTF-8 but {name}", f"byte order mark {mark.hex(' ')}"
        fix = f"save it as UTF-8, for instance with: {_conversion(name, path)}"
    else:
        what, got = "not UTF-8", f"0x{raw[place]:02x}"
        fix = (
            f"correct this byte, or save the file as UTF-8, for instance with: {_conversion('ENCODING', path)}"
            " (ENCODING being what it was saved in, such as WINDOWS-1252 or GB18030; iconv -l lists them)"
        )
    return UserError("E-ENCODING", what, f"{path}:{line}, byte {place}", got, fix)


def _conversion(encoding: str, path: Path) -> str:
    return f"iconv -f {encoding} -t UTF-8 {shlex.quote(str(path))} > utf8{path.suffix}"


class Builder:
    """Builds the content from the parser's events, so that a limit stops the work where it is passed."""

    def __init__(self, path: Path, lines: dict[Pointer, int], written: dict[Pointer, str], events: Iterator[Any]) -> None:
        """Take the parser's events, and the dictionaries for the lines and for the text of numbers."""
        self.path = path
        self.lines = lines
        self.written = written
        self.events = events
        self.nodes = 0

    def fail(self, code: str, what: str, event: Any, got: str = "", fix: str = "") -> UserError:
        """Return the error for an event, with its place."""
        mark = event.start_mark
        return UserError(code, what, f"{self.path}:{mark.line + 1}:{mark.column + 1}", got, fix)

    def document(self) -> Any:
        """Return the only document's content."""
        next(self.events)  # the stream begins
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            raise UserError("E-EMPTY", "nothing is in the file", str(self.path), fix="add content, or restore or delete the file")
        content = self.value(next(self.events), ())
        next(self.events)  # the document ends
        if not isinstance(event := next(self.events), yaml.StreamEndEvent):
            raise self.fail("E-YAML-MULTIDOC", "a second document in one file", event, fix="put it into a file of its own")
        return content

    def value(self, event: Any, pointer: Pointer) -> Any:
        """Return the value that begins with `event`."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.fail("E-LIMIT", f"more than {MAX_NODES} values", event, fix="split the file")
        if len(pointer) > MAX_DEPTH:
            raise self.fail("E-DEPTH", f"nested more than {MAX_DEPTH} levels deep", event, fix="flatten it")
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise self.fail("E-YAML-ALIAS", "anchors and aliases are not read", event, fix="write the value out")
        if event.tag and not event.tag == "!":
            raise self.fail("E-YAML-TAG", "tags are not read", event, shown(event.tag), "delete the tag")
        self.lines[pointer] = event.start_mark.line + 1
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(pointer)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(pointer)
        scalar = self.scalar(event)
        if isinstance(scalar, int | float) and not isinstance(scalar, bool) and str(scalar) != event.value:
            self.written[pointer] = event.value
        return scalar

    def mapping(self, pointer: Pointer) -> dict[str, Any]:
        """Return the mapping whose start was read."""
        content: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self.fail("E-PARSE", "a key must be text", event, fix="name the key")
            key = event.value
            if FORBIDDEN.search(key):
                raise self.fail("E-CONTROL-CHAR", "a control character in a key", event, shown(key), "delete the escape")
            if key in content:
                first = self.lines[(*pointer, key)]
                raise self.fail("E-DUP-KEY", f"a key stands twice, first in line {first}", event, shown(key), "keep one")
            mark: Any = event.start_mark
            content[key] = self.value(next(self.events), (*pointer, key))
            self.lines[(*pointer, key)] = mark.line + 1
        return content

    def sequence(self, pointer: Pointer) -> list[Any]:
        """Return the sequence whose start was read."""
        content: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            content.append(self.value(event, (*pointer, len(content))))
        return content

    def scalar(self, event: Any) -> Any:
        """Return a scalar: text if it is quoted, else as JSON would read it."""
        text: str = event.value
        if found := FORBIDDEN.search(text):  # written as an escape, such as "\0"
            raise self.fail("E-CONTROL-CHAR", "a control character", event, f"U+{ord(found[0]):04X}", "delete the escape")
        if not event.implicit[0]:  # quoted, or a block of text
            return text
        if text in CONSTANTS:
            return CONSTANTS[text]
        if text.lower() in {".nan", ".inf", "-.inf", "+.inf"} or (len(text) > MAX_DIGITS and INTEGER.fullmatch(text)):
            raise self.fail("E-NUMBER", "not a number that JSON can hold", event, shown(text), "quote it if it is text")
        if INTEGER.fullmatch(text):
            return int(text)
        if NUMBER.fullmatch(text):
            number = float(text)
            if not math.isfinite(number):
                raise self.fail("E-NUMBER", "a number is too large", event, shown(text), "use a smaller one")
            return number
        return text
