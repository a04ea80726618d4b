"""What makes a tool's documentation valid."""

import json
import re
from typing import Any

from metatoolagent.catalog import json_schema
from metatoolagent.catalog.rejection import TEXT, Row, Shape
from metatoolagent.catalog.text import folded_names, hidden, strings
from metatoolagent.strict_yaml import Document

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
"""What the common interfaces for calling functions take as a name, Model Context Protocol the most of them."""
NO_PARAMETERS = "{type: object, properties: {}}"
FIELDS = {"name": TEXT, "description": TEXT, "parameters": Shape("a mapping", (dict,), NO_PARAMETERS)}
FIXES = {
    "E-SCHEMA": f"correct it: JSON Schema 2020-12, type object ({NO_PARAMETERS} for no parameters)",
    "E-REF-EXTERNAL": "copy the schema that it leads to under $defs",
    "E-REF-MISSING": "add what it leads to under $defs",
    "E-REF-LOOP": "write one of the schemas out",
    "E-LIMIT": "write the schema out with fewer references",
}


def canonical(content: object) -> str:
    """Return JSON text on one line, with one form for equal content."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def read_tools(document: Document) -> list[Row]:
    """Return the tools of one domain's file, each with what is wrong with it."""
    rows = [Row(document, index) for index in range(len(document.content))]
    for row in rows:
        if row.has_shape(FIELDS, required=set(FIELDS)):
            _check(row)
        if not row.rejections:
            row.record = {
                "name": row.content["name"],
                "domain": document.path.stem,
                "description": " ".join(row.content["description"].split()),
                "parameters": canonical(row.content["parameters"]),
            }
    return rows


def _check(row: Row) -> None:
    check_hidden(row, row.content)
    _check_name(row, row.content["name"])
    if not row.content["description"].strip():
        row.reject("E-DESC-EMPTY", "a tool needs a description", "description", fix="say what the tool does")
    for code, what, pointer, value in json_schema.schema_faults(row.content["parameters"]):
        row.reject(code, what, "parameters", *pointer, value=value, fix=FIXES[code])


def check_hidden(row: Row, content: Any) -> None:
    """Note characters that a reader cannot see, anywhere in an entry."""
    for pointer, text in strings(content):
        for code, what, point in hidden(text):
            row.reject(code, what, *pointer, value=point, fix="delete the character")


def _check_name(row: Row, name: str) -> None:
    foreign = [f"{letter} (U+{ord(letter):04X})" for letter in name if not letter.isascii() and letter.isalpha()]
    if foreign:
        fix = "write the name in the letters a to z"
        what = f"a name with letters other than a to z, some of which look like those: {', '.join(foreign)}"
        row.reject("E-NAME-CONFUSABLE", what, "name", value=name, fix=fix)
    elif not NAME.fullmatch(name):
        row.reject("E-NAME", "not a tool's name", "name", value=name, fix=f"a name must match ^{NAME.pattern}$")


def reject_twins(rows: list[Row]) -> None:
    """Note each tool whose name another one before it has, or all but has."""
    first: dict[tuple[int, str], Row] = {}
    for row in rows:
        name = row.content.get("name") if isinstance(row.content, dict) else None
        if not isinstance(name, str):
            continue
        likes = [first.setdefault(key, row) for key in enumerate((name, *folded_names(name)))]
        other = next((like for like in likes if like is not row), row)  # the very name first
        if other is row:
            continue
        if other.content["name"] == name:
            what = f"a tool stands twice, first in {other.where}"
            row.reject("E-TOOL-DUP", what, "name", value=name, fix="delete or rename one")
        else:
            what = (
                f"a name differs in case, separators or confusable characters alone from {other.content['name']} in {other.where}"
            )
            row.reject("E-TOOL-COLLISION", what, "name", value=name, fix="rename one")
