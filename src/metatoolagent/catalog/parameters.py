"""The parameters that a tool's JSON Schema describes, wherever at its top it does so."""

from collections.abc import Iterator, Mapping
from typing import Any

from referencing import Registry
from referencing.jsonschema import DRAFT202012

Schema = Mapping[str, Any]

PARTS = {"allOf": True, "anyOf": False, "oneOf": False}
"""Keywords with schemas of the same value as the schema that they stand in, and whether all of those apply."""


def described(schema: Schema) -> dict[str, tuple[Any, bool]]:
    """Return what describes each parameter, and whether every call needs it, by name in the order of the schema.

    Parameters stand under `properties`, of the schema itself, of what its `$ref` leads to, and of the parts of `allOf`,
    `anyOf` and `oneOf`; of the last two no call needs all. The first description of a name counts.

    Args:
        schema: JSON Schema of a tool's arguments, without references that lead out of it, nowhere or in a circle, which
            `json_schema.schema_faults` finds.
    """
    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver("") if _has_parts(schema) else None
    parts = list(_parts(schema, resolver, applies=True))
    required = {name for part, applies in parts if applies for name in part.get("required", [])}
    found: dict[str, tuple[Any, bool]] = {}
    for part, _ in parts:
        for name, content in part.get("properties", {}).items():
            found.setdefault(name, (content, name in required))
    return found


def _has_parts(schema: Schema) -> bool:
    return "$ref" in schema or not PARTS.keys().isdisjoint(schema)


def _parts(schema: Any, resolver: Any, *, applies: bool) -> Iterator[tuple[Schema, bool]]:
    """Yield the schemas of the same value, each with whether it applies to every call."""
    if not isinstance(schema, Mapping):  # true and false are schemas too
        return
    yield schema, applies
    if "$ref" in schema:
        yield from _parts(resolver.lookup(schema["$ref"]).contents, resolver, applies=applies)
    for keyword, all_apply in PARTS.items():
        for part in schema.get(keyword, []):
            yield from _parts(part, resolver, applies=applies and all_apply)
