import pytest

from metatoolagent.catalog.json_schema import schema_faults
from metatoolagent.catalog.parameters import described

DEFINED = {"$defs": {"place": {"properties": {"city": {"type": "string"}, "zip~/": {}}, "required": ["city"]}}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, {}),
        ({"properties": {"b": {}, "a": {}}, "required": ["a"]}, {"b": False, "a": True}),
        ({"$ref": "#/$defs/place", **DEFINED}, {"city": True, "zip~/": False}),
        (
            {"properties": {"a": {}}, "allOf": [{"$ref": "#/$defs/place"}, True], **DEFINED},
            {"a": False, "city": True, "zip~/": False},
        ),
        ({"properties": {"a": {}}, "allOf": [{"required": ["a"]}]}, {"a": True}),
        (
            {"anyOf": [{"$ref": "#/$defs/place"}, {"properties": {"b": {}}, "required": ["b"]}], **DEFINED},
            {"city": False, "zip~/": False, "b": False},
        ),
        ({"oneOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}], "required": ["b"]}, {"a": False, "b": True}),
        ({"allOf": [{"allOf": [{"properties": {"a": {}}, "required": ["a"]}]}]}, {"a": True}),
        ({"properties": {"a": {}}, "required": ["nowhere"]}, {"a": False}),
    ],
)
def test_parameters_are_found_wherever_a_schema_describes_them(schema, expected):
    assert schema_faults({"type": "object", **schema}) == []
    assert {name: needed for name, (_, needed) in described(schema).items()} == expected


def test_the_first_description_of_a_name_counts():
    schema = {"properties": {"a": {"description": "Ours."}}, "allOf": [{"properties": {"a": {"description": "Theirs."}}}]}
    assert described(schema) == {"a": ({"description": "Ours."}, False)}
