"""The arguments of an operation of an OpenAPI 3 document, as one JSON Schema."""

from collections.abc import Mapping, Sequence
from typing import Any

from metatoolagent.artifacts import KEPT
from metatoolagent.catalog.external.files import FIX, field, typed
from metatoolagent.errors import UserError, shown

COPIED = ("type", "description", "enum", "format", "default")
"""What is taken over of a parameter's schema; OpenAPI 3.0 has keywords that mean something else in JSON Schema."""


def parameters(document: Any, operation: Sequence[str], where: str) -> dict[str, Any]:
    """Return the JSON Schema of an operation's arguments: parameters of the call and fields of its body.

    Args:
        document: the OpenAPI document.
        operation: the path and the method.
        where: the place of the operation, for the error.

    Raises:
        UserError: E-FIELD if the document has no such operation.
    """
    try:
        path, method = operation
        content = typed(document["paths"][path][method], dict, where)
    except (KeyError, TypeError, ValueError):
        what = "the function's operation is not in the API's documentation"
        raise UserError("E-FIELD", what, where, shown(operation), FIX, KEPT) from None
    properties: dict[str, Any] = {}
    required: list[str] = []
    for item in content.get("parameters", []):
        given = resolved(document, item)
        name = field(given, "name", str, f"{where}, parameters of {path}")
        schema = resolved(document, given.get("schema", {}))
        properties[name] = copied({"description": given.get("description"), **schema})
        required += [name] if given.get("required") else []
    for body in content.get("requestBody", {}).get("content", {}).values():
        schema = resolved(document, body.get("schema", {}))
        for name, part in schema.get("properties", {}).items():
            properties.setdefault(name, copied(resolved(document, part)))
        required += [name for name in schema.get("required", []) if name not in required]
    return {"type": "object", "properties": properties, "required": sorted(required)}


def copied(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is taken over of a schema."""
    return {key: schema[key] for key in COPIED if schema.get(key) is not None}


def resolved(document: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema, or what its reference into the document leads to; an empty one where that is nothing."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    found = document
    for key in reference.removeprefix("#/").split("/"):
        found = found.get(key, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) and "$ref" not in found else {}
