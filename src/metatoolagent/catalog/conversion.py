"""Tools as programs have them, in JSON, to a file of a catalog.

Forms that are read, alone or mixed: `{"type": "function", "function": {...}}` and `{"type": "function", "name": ...}` (OpenAI),
`input_schema` (Anthropic), `inputSchema` (Model Context Protocol), and `name`, `description` and `parameters` as they are. The
file is a list of them, or holds one as `tools`, or as `result.tools` as the answer of a server does.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from metatoolagent import strict_json, strict_yaml
from metatoolagent.artifacts import KEPT, atomic_path
from metatoolagent.catalog.ingest import DOMAIN
from metatoolagent.catalog.rejection import Row
from metatoolagent.catalog.tool import read_tools, reject_twins
from metatoolagent.errors import Exit, Finding, UserError, raise_findings, shown
from metatoolagent.strict_yaml import Document

SCHEMAS = ("parameters", "input_schema", "inputSchema")
"""Fields that hold the JSON Schema of a tool's arguments, one of them in each tool."""
OWN_TYPES = ("function", "custom")
"""Types of a tool that its user has written; all others are the provider's own, such as a search of the web."""
NOTHING = {"type": "object", "properties": {}}
"""The schema of a tool that takes no arguments and does not say so."""
WIDTH = 128
"""Columns of the file."""


class Dumper(yaml.SafeDumper):
    """Writes YAML that `strict_yaml` reads as it was given."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal parts out."""
        del data
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        """Quote a text that would be read as a number: PyYAML leaves `1e5` as it is, by the older YAML."""
        number = strict_yaml.NUMBER.fullmatch(data)
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if number else None)


Dumper.add_representer(str, Dumper.text)


def convert(source: Path, out: Path) -> tuple[int, list[str]]:
    """Write the tools of a JSON file as `<domain>.yaml`, once ingestion would take all of them.

    Args:
        source: UTF-8 JSON.
        out: the file; its stem is the domain.

    Returns:
        How many tools there are, and the names of the fields that were left out, such as `strict` and `annotations`.

    Raises:
        UserError: E-FILE-NAME or E-EXISTS for `out`; E-FIELD, E-EMPTY or E-MCP-PARTIAL for the file, and those of
            `strict_json.load`; for its tools E-TOOL-TYPE, or the first rejection as ingestion tells it, with
            the number of the others.
    """
    if out.suffix != ".yaml" or not DOMAIN.fullmatch(out.stem):
        fix = f"name it <domain>.yaml, where a domain matches ^{DOMAIN.pattern}$"
        raise UserError("E-FILE-NAME", "not the name of a domain's file", str(out), out.name, fix, exit_code=Exit.PARAMS)
    if out.exists():
        what, fix = "the file is there, and may hold what somebody wrote", "name another file, or remove this one first"
        raise UserError("E-EXISTS", what, str(out), fix=fix, exit_code=Exit.CREATE)
    given = entries(source)
    raise_findings(list(_of_providers(source, given)), kept=KEPT)
    tools = [_plain(item) for item in given]
    rows = read_tools(Document(source, tools, {}))
    reject_twins(rows)
    raise_findings([found for row in rows for found in _findings(source, row)], kept=KEPT)
    with atomic_path(out) as path:
        path.write_text(yaml.dump(tools, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=WIDTH), encoding="utf-8")
        _require_same(path, tools, source)
    return len(tools), _left_out(given)


def entries(source: Path) -> list[Any]:
    """Return the entries of the list of tools that a file has.

    Raises:
        UserError: as `convert`.
    """
    content = strict_json.load(source)
    for key in ("result", "tools"):
        if isinstance(content, dict) and key in content:
            if cursor := content.get("nextCursor"):
                what, fix = "the server's list goes on after these tools", "ask it for the rest, and join the lists"
                raise UserError("E-MCP-PARTIAL", what, f"{source}, field nextCursor", shown(cursor), fix, KEPT)
            content = content[key]
    if not isinstance(content, list):
        fix = 'give a list of tools, or an object that has one as "tools"'
        raise UserError("E-FIELD", "no list of tools", str(source), fix=fix)
    if not content:
        raise UserError("E-EMPTY", "the list of tools is empty", str(source), fix="give tools")
    return content


def _function(item: Any) -> Any:
    """Return what describes a tool, which some forms have one level down, under the name of their type."""
    return next((item[kind] for kind in OWN_TYPES if kind in item), item) if isinstance(item, dict) else item


def _plain(item: Any) -> Any:
    """Return an entry with the fields of this project; what is no object stays as it is, for ingestion to refuse."""
    function = _function(item)
    if not isinstance(function, dict):
        return function
    plain = {name: function[name] for name in ("name", "description") if function.get(name) is not None}
    schema = next((function[name] for name in _schemas(function)), copy.deepcopy(NOTHING))
    if isinstance(schema, dict) and "type" not in schema and "properties" in schema:
        schema = {"type": "object", **schema}
    return _with_line_feeds(plain | {"parameters": schema})


def _schemas(function: Any) -> list[str]:
    """Return the fields with a schema; the first is taken."""
    return [name for name in SCHEMAS if isinstance(function, dict) and function.get(name)]


def _with_line_feeds(value: Any) -> Any:
    """Return what JSON holds with lines that end as in the files of a catalog, whose reader takes both kinds."""
    if isinstance(value, dict):
        return {key: _with_line_feeds(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_line_feeds(part) for part in value]
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


def _left_out(given: Sequence[Any]) -> list[str]:
    known = {"name", "description", "type", *OWN_TYPES, *SCHEMAS}
    fields: list[Mapping[str, Any]] = [part for item in given for part in (item, _function(item))]
    unread = {name for item in given for name in _schemas(_function(item))[1:]}
    return sorted({name for part in fields for name in part} - known | unread)


def _of_providers(source: Path, given: Sequence[Any]) -> Iterator[Finding]:
    for index, item in enumerate(given):
        if isinstance(item, dict) and (kind := item.get("type") or OWN_TYPES[0]) not in OWN_TYPES:
            what, fix = "a tool of the provider's own, which has no documentation", "delete it from the list"
            yield Finding("E-TOOL-TYPE", what, f"{source}, tool {index + 1}, field type", shown(kind), fix)


def _findings(source: Path, row: Row) -> Iterable[Finding]:
    name = row.content.get("name") if isinstance(row.content, dict) else None
    where = f"{source}, tool {row.index + 1}" + (f" ({name})" if isinstance(name, str) else "")
    for one in row.rejections:
        field = f", field {one.field}" if one.field else ""
        yield Finding(one.code, one.what, where + field, shown(one.value) if one.value else "", one.fix)


def _require_same(path: Path, tools: list[Any], source: Path) -> None:
    """Make sure that ingestion reads from the new file what the JSON has."""
    try:
        document = strict_yaml.load(path)
    except UserError as error:
        raise UserError(error.code, error.what, str(source), error.got, error.fix, KEPT) from None
    assert document.content == tools, f"{source} reads otherwise as YAML"
