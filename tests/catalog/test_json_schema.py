import socket
import time

import pytest

from metatoolagent.catalog.json_schema import argument_faults, schema_faults, validator


def of(**properties):
    return {"type": "object", "properties": properties}


def codes(schema):
    return [fault[0] for fault in schema_faults(schema)]


@pytest.mark.parametrize(
    "schema",
    [
        of(),
        of(a={"type": "string", "pattern": "^(a+)+$"}),
        of(a={"$ref": "#/$defs/b"}) | {"$defs": {"b": {"type": "integer"}}},
        {"type": "object", "properties": {"child": {"$ref": "#"}}},
        of(**{"$ref": {"type": "string"}}),
        of(a={"examples": [{"$ref": "#/$defs/none", "$id": "a"}], "default": {"$ref": "https://example.org/a.json"}}),
        of(a={"const": {"$schema": "b"}}, b={"enum": [{"$ref": "none"}]}),
    ],
)
def test_valid_schemas_pass(schema):
    assert schema_faults(schema) == []


@pytest.mark.parametrize(
    ("schema", "code"),
    [
        ({"type": "string"}, "E-SCHEMA"),
        ({}, "E-SCHEMA"),
        (of(a={"type": "text"}), "E-SCHEMA"),
        (of(a={"minimum": "3"}), "E-SCHEMA"),
        ({"type": "object", "required": "a"}, "E-SCHEMA"),
        (of(a={"$ref": "https://example.org/a.json"}), "E-REF-EXTERNAL"),
        (of(a={"$ref": "file:///etc/passwd"}), "E-REF-EXTERNAL"),
        (of(a={"$ref": "../other.json"}), "E-REF-EXTERNAL"),
        (of(a={"$ref": "#/$defs/none"}), "E-REF-MISSING"),
        (of(a={"$ref": "#/type/x"}), "E-REF-MISSING"),
        (of(default={"$ref": "#/$defs/none"}), "E-REF-MISSING"),
        (of(a={"items": {"anyOf": [{"$ref": "#/$defs/none"}]}}), "E-REF-MISSING"),
        (of(examples={"properties": {"a": {"$id": "b"}}}), "E-SCHEMA"),
        (of(a={"$ref": "#/properties/a"}), "E-REF-LOOP"),
        (of(a={"$ref": "#/$defs/b"}) | {"$defs": {"b": {"anyOf": [{"$ref": "#/properties/a"}]}}}, "E-REF-LOOP"),
    ],
)
def test_what_is_refused(schema, code):
    assert codes(schema)[0] == code


def test_references_that_multiply_are_refused_at_once():
    levels = {f"l{i}": {"allOf": [{"$ref": f"#/$defs/l{i + 1}"}] * 2} for i in range(60)}
    start = time.process_time()
    assert codes(of(a={"$ref": "#/$defs/l0"}) | {"$defs": levels | {"l60": {}}}) == ["E-LIMIT"]
    assert time.process_time() - start < 1


def faults(schema, arguments):
    return [(what, pointer) for what, pointer, _ in argument_faults(validator(schema), arguments)]


@pytest.mark.parametrize(
    ("schema", "arguments", "pointer"),
    [
        (of(n={"type": "integer"}), {"n": "3"}, ("n",)),
        (of(n={"type": "integer"}) | {"required": ["n"]}, {}, ()),
        (of(d={"format": "date"}), {"d": "tomorrow"}, ("d",)),
        (of(d={"enum": ["a"]}), {"d": "b"}, ("d",)),
        (of(a={"type": "array", "items": {"type": "string"}}), {"a": ["x", 1]}, ("a", 1)),
        (of(a={}), {"b": 1}, ("b",)),
        (of(a={}) | {"additionalProperties": False}, {"b": 1}, ()),
        (of(a={"type": "number", "multipleOf": 0.01}), {"a": 19.995}, ("a",)),
    ],
)
def test_wrong_arguments_are_found(schema, arguments, pointer):
    assert [place for _, place in faults(schema, arguments)] == [pointer]


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (of(n={"type": "integer"}), {"n": 3}),
        (of(a={"type": "number", "multipleOf": 0.01}), {"a": 19.99}),
        (of(a={"type": "number", "multipleOf": 0.5}), {"a": 10**399 + 1}),
        (of(a={}) | {"additionalProperties": True}, {"b": 1}),
        ({"type": "object", "patternProperties": {"^x": {}}, "additionalProperties": False}, {"b": 1}),
        (of(a={"$ref": "#/$defs/b"}) | {"$defs": {"b": {"type": "integer"}}}, {"a": 1}),
    ],
)
def test_right_arguments_pass(schema, arguments):
    assert faults(schema, arguments) == []


def test_patterns_never_run():
    start = time.process_time()
    assert faults(of(a={"pattern": "^(a+)+$"}), {"a": "a" * 40 + "!"}) == []
    assert time.process_time() - start < 1


def test_patterns_do_not_run_where_a_schema_names_the_rules_that_it_is_read_by():
    dialect = "https://json-schema.org/draft/2020-12/schema"
    below = {"$schema": dialect, "pattern": "^(a+)+$"}
    for name in ("a", "properties"):
        assert [fault[0] for fault in schema_faults(of(**{name: below}))] == ["E-SCHEMA"]
    around = {"$schema": dialect, **of(a={"anyOf": [{"pattern": "^(a+)+$"}, {"$ref": "#"}]})}
    start = time.process_time()
    assert faults(around, {"a": "a" * 40 + "!"}) == []
    assert time.process_time() - start < 1
    assert schema_faults(of(**{"$schema": {"type": "string"}, "$id": {"type": "string"}})) == []


def test_nothing_is_fetched(monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    schema = {"$schema": "http://127.0.0.1:1/schema", **of(a={"type": "string"})}
    assert schema_faults(schema) == []
    assert faults(schema, {"a": "x"}) == []
