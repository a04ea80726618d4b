"""JSON Schema (2020-12) from strangers: is it one, and are arguments valid against it; without network and without regexes.

A schema's regular expressions are documentation here and never run: a pattern of 28 characters can take seconds.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from metatoolagent.strict_yaml import Pointer

MAX_EXPANSIONS = 10_000
"""Schemas that apply to one value, references followed; a few lines can ask for millions."""

IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")
"""Keywords whose schemas apply to the same value as the schema that they stand in."""

NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
"""Keywords with schemas by names, which may be any, those of keywords too."""

DATA = ("default", "examples", "const", "enum")
"""Keywords with values as a call may hold them, in which nothing is a schema."""

REFERENCES = ("$ref", "$dynamicRef")

Fault = tuple[str, str, Pointer, str]
"""Code, what is wrong, the path of the place in the schema or the arguments, what stands there."""


META = Draft202012Validator(Draft202012Validator.META_SCHEMA)


def _unchecked(*_: object) -> None:
    """Take any value."""


def _additional_properties(checker: Any, additional: Any, instance: Any, schema: dict[str, Any]) -> Iterator[ValidationError]:
    # Which properties are additional depends on the patterns, which are not run.
    if "patternProperties" not in schema:
        yield from Draft202012Validator.VALIDATORS["additionalProperties"](checker, additional, instance, schema)


def _multiple_of(checker: Any, step: Any, instance: Any, schema: dict[str, Any]) -> Iterator[ValidationError]:
    # As they are written: 19.99 / 0.01 is no whole number among floats.
    del schema
    if checker.is_type(instance, "number") and Fraction(str(instance)) % Fraction(str(step)):
        yield ValidationError(f"{instance!r} is not a multiple of {step!r}")


Validator: Any = validators.extend(
    Draft202012Validator,
    {
        "pattern": _unchecked,
        "patternProperties": _unchecked,
        "additionalProperties": _additional_properties,
        "unevaluatedProperties": _unchecked,
        "multipleOf": _multiple_of,
    },
)


def validator(schema: dict[str, Any]) -> Any:
    """Return a validator that checks formats, fetches nothing and runs no pattern."""
    # At a $schema jsonschema would go over to the stock class, which runs patterns; format regex compiles one.
    plain = {key: value for key, value in schema.items() if key != "$schema"}
    formats = FormatChecker(sorted(set(FormatChecker.checkers) - {"regex"}))
    return Validator(plain, registry=Registry(), format_checker=formats)


def schema_faults(schema: dict[str, Any]) -> list[Fault]:
    """Return what keeps `schema` from describing a tool's arguments."""
    if external := [_external(pointer, ref) for pointer, ref in _references(schema) if not ref.startswith("#")]:
        return external
    if invalid := dict.fromkeys(_fault(error) for error in META.iter_errors(schema)):
        return [("E-SCHEMA", *fault) for fault in invalid]
    if schema.get("type") != "object":
        return [("E-SCHEMA", "the parameters must be of type object", ("type",), str(schema.get("type", "")))]
    if nested := [*_nested(schema)]:
        return nested
    return _reference_faults(schema)


def argument_faults(checker: Any, arguments: Any) -> list[tuple[str, Pointer, str]]:
    """Return what makes `arguments` invalid against the schema of `checker`: what, its path, and what stands there.

    A name that the schema does not list is a fault unless the schema says what becomes of such names.
    """
    faults = [_fault(error) for error in checker.iter_errors(arguments)]
    schema = checker.schema
    open_to_names = {"additionalProperties", "patternProperties", "$ref", *IN_PLACE}
    if isinstance(arguments, dict) and not open_to_names & schema.keys():
        unknown = sorted(arguments.keys() - schema.get("properties", {}).keys())
        faults += [("the tool has no such parameter", (name,), name) for name in unknown]
    return faults


def _fault(error: ValidationError) -> tuple[str, Pointer, str]:
    message = f"{error.message[:120]}…" if len(error.message) > 120 else error.message
    return message, tuple(error.absolute_path), str(error.instance)


def _schemas(content: object, pointer: Pointer = ()) -> Iterator[tuple[Pointer, dict[str, Any]]]:
    """Yield each schema that a schema holds, itself first, with its path; what stands there as data is none."""
    if isinstance(content, dict):
        yield pointer, content
        for key, value in content.items():
            if key in NAMED and isinstance(value, dict):
                for name, part in value.items():
                    yield from _schemas(part, (*pointer, key, name))
            elif key not in DATA:
                yield from _schemas(value, (*pointer, key))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from _schemas(value, (*pointer, index))


def _nested(schema: dict[str, Any]) -> Iterator[Fault]:
    """Yield each keyword below the top that would have its schema read by other rules, or from another base."""
    for pointer, part in _schemas(schema):
        for name in ("$schema", "$id"):
            if pointer and isinstance(part.get(name), str):
                yield "E-SCHEMA", f"{name} below the top changes how the schema is read", (*pointer, name), part[name]


def _external(pointer: Pointer, ref: str) -> Fault:
    return "E-REF-EXTERNAL", "a reference leads out of the schema, and nothing is fetched", pointer, ref


def _references(schema: dict[str, Any]) -> Iterator[tuple[Pointer, str]]:
    for pointer, part in _schemas(schema):
        for key in REFERENCES:
            if isinstance(part.get(key), str):
                yield (*pointer, key), part[key]


def _reference_faults(schema: dict[str, Any]) -> list[Fault]:
    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver("")
    targets: dict[str, Any] = {}
    faults: list[Fault] = []
    for pointer, ref in _references(schema):
        try:
            targets[ref] = resolver.lookup(ref).contents
        except (Unresolvable, ValueError, TypeError, LookupError):
            faults.append(("E-REF-MISSING", "a reference leads nowhere", pointer, ref))
    if faults:
        return faults
    sizes: dict[int, int] = {}
    for pointer, ref in _references(schema):
        try:
            size = _expansions(targets[ref], targets, sizes, ())
        except RecursionError:
            return [("E-REF-LOOP", "a reference leads back to itself before it says anything", pointer, ref)]
        if size > MAX_EXPANSIONS:
            return [("E-LIMIT", f"references expand to more than {MAX_EXPANSIONS} schemas", pointer, ref)]
    return []


def _expansions(schema: Any, targets: Mapping[str, Any], sizes: dict[int, int], open_: tuple[int, ...]) -> int:
    """Return how many schemas apply to one value; RecursionError if they never end."""
    if not isinstance(schema, dict):
        return 1
    if id(schema) in open_:
        raise RecursionError
    if id(schema) not in sizes:
        inner = [*_in_place(schema, targets)]
        sizes[id(schema)] = 1 + sum(_expansions(item, targets, sizes, (*open_, id(schema))) for item in inner)
    return sizes[id(schema)]


def _in_place(schema: dict[str, Any], targets: Mapping[str, Any]) -> Iterator[Any]:
    for keyword in REFERENCES:
        if isinstance(schema.get(keyword), str):
            yield targets[schema[keyword]]
    for keyword in IN_PLACE:
        value = schema.get(keyword, [])
        yield from value.values() if keyword == "dependentSchemas" and isinstance(value, dict) else []
        yield from value if isinstance(value, list) else [value]
