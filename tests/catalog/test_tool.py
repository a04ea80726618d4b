from pathlib import Path

import pytest
import yaml

from metatoolagent.catalog.tool import canonical, read_tools, reject_twins
from metatoolagent.strict_yaml import Document

OBJECT = {"type": "object", "properties": {}}


def tool(name="alpha", description="Does it.", parameters=OBJECT, **more):
    return {"name": name, "description": description, "parameters": parameters, **more}


def read(*entries):
    rows = read_tools(Document(Path("tools/desk.yaml"), list(entries), {(index,): index + 1 for index in range(len(entries))}))
    reject_twins(rows)
    return rows


def codes(*entries):
    return [(row.index, rejection.code) for row in read(*entries) for rejection in row.rejections]


def test_a_valid_tool_becomes_a_record():
    (row,) = read(tool(description="Does\n it. ", parameters={"type": "object", "properties": {"b": {}, "a": {}}}))
    assert row.record == {
        "name": "alpha",
        "domain": "desk",
        "description": "Does it.",
        "parameters": '{"properties":{"a":{},"b":{}},"type":"object"}',
    }


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("text", ["E-FIELD"]),
        (tool(name=3), ["E-FIELD"]),
        (tool(descripton="x"), ["E-FIELD"]),
        ({"name": "alpha"}, ["E-FIELD", "E-FIELD"]),
        (tool(description=" "), ["E-DESC-EMPTY"]),
        (tool(description="a\u200bb"), ["E-INVISIBLE"]),
        (tool(parameters={"type": "object", "properties": {"a": {"description": "a\u202eb"}}}), ["E-BIDI"]),
        (tool(parameters={"type": "object", "properties": {"a\u200b": {}}}), ["E-INVISIBLE"]),
        (tool(name=""), ["E-NAME"]),
        (tool(name="a b"), ["E-NAME"]),
        (tool(name="a" * 129), ["E-NAME"]),
        (tool(name="-abc"), ["E-NAME"]),
        (tool(name="../etc"), ["E-NAME"]),
        (tool(name="\u0430lpha"), ["E-NAME-CONFUSABLE"]),
        (tool(parameters={"type": "array"}), ["E-SCHEMA"]),
    ],
)
def test_what_is_refused(entry, expected):
    assert [code for _, code in codes(entry)] == expected


@pytest.mark.parametrize("name", ["getWeather", "a.b-c_d", "1abc", "x", "a" * 128])
def test_names_that_interfaces_for_calling_functions_take_are_taken(name):
    assert codes(tool(name=name)) == []


def test_a_foreign_letter_is_shown_with_its_code_point():
    (row,) = read(tool(name="\u0430lpha"))
    assert "U+0430" in row.rejections[0].what


def test_an_entry_without_a_name_is_told_as_such_beside_others():
    assert codes(tool(), {"description": "d", "parameters": OBJECT}) == [(1, "E-FIELD")]


def test_a_tool_without_parameters_is_told_how_to_say_so():
    nothing = "{type: object, properties: {}}"
    for entry in ({"name": "alpha", "description": "d"}, tool(parameters={})):
        (row,) = read(entry)
        assert nothing in row.rejections[0].fix
    assert codes(tool(parameters=yaml.safe_load(nothing))) == []


def test_an_unknown_field_has_the_nearest_one_as_a_hint():
    (row,) = read(tool(descripton="x"))
    assert row.rejections[0].fix == "did you mean description?"


@pytest.mark.parametrize(
    ("second", "code"),
    [
        ("alpha_one", "E-TOOL-DUP"),
        ("alphaone", "E-TOOL-COLLISION"),
        ("Alpha-One", "E-TOOL-COLLISION"),
        ("ａlpha_one", "E-TOOL-COLLISION"),
        ("a1pha_one", "E-TOOL-COLLISION"),
    ],
)
def test_the_second_of_two_like_names_is_refused_and_both_places_are_told(second, code):
    rows = read(tool(name="alpha_one"), tool(name="beta"), tool(name=second))
    assert not rows[0].rejections
    assert not rows[1].rejections
    rejection = rows[2].rejections[-1]
    assert rejection.code == code
    assert rejection.line == 3
    assert "tools/desk.yaml:1" in rejection.what


def test_a_tool_that_stands_twice_is_told_as_such_also_beside_a_like_name():
    rows = read(tool(name="DIM_LIGHT"), tool(name="dim_light"), tool(name="dim_light"))
    assert [row.rejections[-1].code for row in rows[1:]] == ["E-TOOL-COLLISION", "E-TOOL-DUP"]
    assert "tools/desk.yaml:2" in rows[2].rejections[-1].what


def test_canonical_text_is_equal_for_equal_content():
    assert canonical({"b": [1, 2.5], "a": "é"}) == canonical({"a": "é", "b": [1, 2.5]}) == '{"a":"é","b":[1,2.5]}'
