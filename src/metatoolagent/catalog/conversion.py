"""Tools as programs have them, in JSON, to a file of a catalog.

Forms that are read, alone or mixed: `{"type": "function", "function": {...}}` and `{"type": "function", "name": ...}` (OpenAI),
`input_schema` (Anthropic), `inputSchema` (Model Context Protocol), and `name`, `description` and `parameters` as they are. The
file is a list of them, or holds one as `tools`, or as `result.tools` as the answer of a server does.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from metatoolagent.artifacts import KEPT, atomic_path
from metatoolagent.catalog.ingest import DOMAIN
from metatoolagent.catalog.rejection import Row
from metatoolagent.catalog.tool import read_tools, reject_twins
from metatoolagent.errors import Exit, Finding, UserError, raise_findings, shown
from metatoolagent.strict_yaml import Document, load, read_text

SCHEMAS = ("parameters", "input_schema", "inputSchema")
"""Fields that hold the JSON Schema of a tool's arguments, one of them in each tool."""
NOTHING = {"type": "object", "properties": {}}
"""The schema of a tool that takes no arguments and does not say so."""
WIDTH = 128
"""Columns of the file."""


def convert(source: Path, out: Path) -> tuple[int, list[str]]:
    """Write the tools of a JSON file as `<domain>.yaml`, once ingestion would take all of them.

    Args:
        source: UTF-8 JSON.
        out: the file; its stem is the domain.

    Returns:
        How many tools there are, and the names of the fields that were left out, such as `strict` and `annotations`.

    Raises:
        UserError: E-FILE-NAME or E-EXISTS for `out`; E-PARSE, E-DUP-KEY, E-FIELD or E-EMPTY for the file; for its tools the
            first rejection, as ingestion tells it, with the number of the others.
    """
    if out.suffix != ".yaml" or not DOMAIN.fullmatch(out.stem):
        fix = f"name it <domain>.yaml, where a domain matches ^{DOMAIN.pattern}$"
        raise UserError("E-FILE-NAME", "not the name of a domain's file", str(out), out.name, fix, exit_code=Exit.PARAMS)
    if out.exists():
        fix = "name another file, or remove this one first"
        raise UserError(
            "E-EXISTS", "the file is there, and may hold what somebody wrote", str(out), fix=fix, exit_code=Exit.CREATE
        )
    given = entries(source)
    tools = [_plain(item) for item in given]
    rows = read_tools(Document(source, tools, {}))
    reject_twins(rows)
    raise_findings([found for row in rows for found in _findings(source, row)], kept=KEPT)
    with atomic_path(out) as path:
        path.write_text(yaml.safe_dump(tools, sort_keys=False, allow_unicode=True, width=WIDTH), encoding="utf-8")
        _require_same(path, tools, source)
    return len(tools), _left_out(given)


def entries(source: Path) -> list[Any]:
    """Return the entries of the list of tools that a file has.

    Raises:
        UserError: as `convert`.
    """
    text = read_text(source)
    try:
        content = json.loads(text, object_pairs_hook=partial(_unique, source), parse_constant=partial(_no_number, source))
    except json.JSONDecodeError as error:
        where = f"{source}:{error.lineno}:{error.colno}"
        raise UserError("E-PARSE", f"not JSON: {error.msg}", where, fix="correct this line") from None
    except RecursionError:
        raise UserError("E-DEPTH", "nested too deeply", str(source), fix="write the schemas with fewer levels") from None
    for key in ("result", "tools"):
        if isinstance(content, dict) and key in content:
            content = content[key]
    if not isinstance(content, list):
        fix = 'give a list of tools, or an object that has one as "tools"'
        raise UserError("E-FIELD", "no list of tools", str(source), fix=fix)
    if not content:
        raise UserError("E-EMPTY", "the list of tools is empty", str(source), fix="give tools")
    return content


def _unique(source: Path, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UserError("E-DUP-KEY", "an object has a key twice", str(source), shown(key), "delete one")
        found[key] = value
    return found


def _no_number(source: Path, constant: str) -> None:
    raise UserError("E-NUMBER", "not a number that JSON has", str(source), shown(constant), "write a finite number")


def _require_same(path: Path, tools: list[Any], source: Path) -> None:
    """Make sure that ingestion reads from the new file what the JSON has."""
    try:
        document = load(path)
    except UserError as error:
        raise UserError(error.code, error.what, str(source), error.got, error.fix, KEPT) from None
    assert document.content == tools, f"{source} reads otherwise as YAML"


def _function(item: Any) -> Any:
    """Return the description of a function, which some forms have one level down."""
    return item["function"] if isinstance(item, dict) and "function" in item else item


def _plain(item: Any) -> Any:
    """Return an entry with the fields of this project; what is no object stays as it is, for ingestion to refuse."""
    function = _function(item)
    if not isinstance(function, dict):
        return function
    plain = {name: function[name] for name in ("name", "description") if name in function}
    return plain | {"parameters": next((function[name] for name in SCHEMAS if name in function), copy.deepcopy(NOTHING))}


def _left_out(given: Iterable[Any]) -> list[str]:
    known = {"name", "description", "type", "function", *SCHEMAS}
    fields: list[Mapping[str, Any]] = [part for item in given for part in (item, _function(item))]
    return sorted({name for part in fields for name in part} - known)


def _findings(source: Path, row: Row) -> Iterable[Finding]:
    name = row.content.get("name") if isinstance(row.content, dict) else None
    where = f"{source}, tool {row.index + 1}" + (f" ({name})" if isinstance(name, str) else "")
    for one in row.rejections:
        field = f", field {one.field}" if one.field else ""
        yield Finding(one.code, one.what, where + field, shown(one.value) if one.value else "", one.fix)
