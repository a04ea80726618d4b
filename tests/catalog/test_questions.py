import hashlib
import json
from pathlib import Path

import pytest

from metatoolagent.catalog.json_schema import validator
from metatoolagent.catalog.questions import filled, frame_id, read_questions, reject_repeated
from metatoolagent.strict_yaml import Document

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}, "what": {"type": "string"}, "many": {"type": "array"}}}
TOOLS = {
    "alpha": ("desk", validator(SCHEMA)),
    "beta": ("desk", validator(SCHEMA)),
    "gamma": ("shop", validator(SCHEMA)),
    "broken": ("desk", None),
}


def frame(ask="Take {n} of it.", arguments=None, **more):
    content = {"tool": "alpha", "ask": ask, "arguments": {} if arguments is None else arguments, **more}
    return {"fill": {"n": [1, 2]}, **content} if "{n}" in ask and "fill" not in more else content


def read(*entries):
    lines = {(index,): index + 1 for index in range(len(entries))}
    rows = read_questions(Document(Path("questions/desk.yaml"), list(entries), lines), TOOLS)
    reject_repeated(rows)
    return rows


def codes(*entries):
    return [rejection.code for row in read(*entries) for rejection in row.rejections]


def test_a_frame_expands_to_a_row_for_each_value():
    entry = frame(
        "Put {n} {what} on  it",
        {"n": "{n}", "what": "{what}, please", "many": ["{w}"]},
        fill={"n": [1, 2], "what": ["red hats", "shoes"], "w": [[True], {"deep": "x"}]},
        kind="terse",
        also=["gamma", "beta"],
    )
    rows = [row.record for row in read(entry)]
    identity = "alpha-" + hashlib.sha256(b"Put {n} {what} on  it").hexdigest()[:8]
    assert [row["question_id"] for row in rows] == [f"{identity}-1", f"{identity}-2"]
    assert [row["question"] for row in rows] == ["Put 1 red hats on it", "Put 2 shoes on it"]
    assert [json.loads(row["arguments"]) for row in rows] == [
        {"n": 1, "what": "red hats, please", "many": [[True]]},
        {"n": 2, "what": "shoes, please", "many": [{"deep": "x"}]},
    ]
    assert {(row["frame_id"], row["tool"], row["domain"], row["kind"]) for row in rows} == {(identity, "alpha", "desk", "terse")}
    assert rows[0]["also"] == ["beta", "gamma"]


def test_a_frame_without_slots_is_one_row_of_no_kind():
    (row,) = read(frame("Do it."))
    assert row.record["kind"] is None
    assert row.record["question_id"].endswith("-1")


def test_all_arguments_can_come_from_one_slot():
    rows = read(frame("Take {n}.", "{all}", fill={"n": [1, 2], "all": [{"n": 1}, {"n": 2, "what": "x"}]}))
    assert [row.record["arguments"] for row in rows] == ['{"n":1}', '{"n":2,"what":"x"}']
    assert codes(frame("Take {n}.", "{all}", fill={"n": [1], "all": ["x"]})) == ["E-QA-ARGUMENTS"]


def test_ids_do_not_depend_on_other_frames():
    alone = [row.record["question_id"] for row in read(frame())]
    among = [row.record["question_id"] for row in read(frame("Before."), frame(), frame("After."))]
    assert among[1:3] == alone


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (["list"], ["E-FIELD"]),
        ({"ask": "a"}, ["E-FIELD", "E-FIELD"]),
        (frame(asks="x"), ["E-FIELD"]),
        (frame("  "), ["E-QA-EMPTY"]),
        (frame("a\u200bb"), ["E-INVISIBLE"]),
        (frame("x", {"what": "a\u202eb"}), ["E-BIDI"]),
        (frame(kind="funny"), ["E-QA-KIND"]),
        (frame(tool="alpa"), ["E-QA-ANSWER-UNKNOWN"]),
        (frame(tool="gamma"), ["E-QA-ANSWER-UNKNOWN"]),
        (frame(tool="broken"), ["E-QA-TOOL-REJECTED"]),
        (frame(also=["delta"]), ["E-QA-ANSWER-UNKNOWN"]),
        (frame(also=[3]), ["E-QA-ANSWER-UNKNOWN"]),
        (frame(also=["alpha"]), ["E-QA-ANSWER-TWICE"]),
        (frame(also=["beta", "beta"]), ["E-QA-ANSWER-TWICE"]),
        (frame("Take {n} {m}", fill={"n": [1]}), ["E-QA-SLOT"]),
        (frame("Take", {"what": "{m}"}), ["E-QA-SLOT"]),
        (frame("Take {n}", fill={"n": [1], "m": [2]}), ["E-QA-SLOT"]),
        (frame("Take {n} {m}", fill={"n": [1, 2], "m": [3]}), ["E-QA-FILL"]),
        (frame(fill={"n": []}), ["E-QA-FILL"]),
        (frame(fill={"n": 3}), ["E-QA-FILL"]),
        (frame(fill={"n": [True, 2]}), ["E-QA-FILL"]),
        (frame(fill={"n": [None, 2]}), ["E-QA-FILL"]),
        (frame(fill={"n": [[1], 2]}), ["E-QA-FILL"]),
        (frame("Take {n}", {"n": "{n}"}, fill={"n": ["x", 2]}), ["E-QA-ARGUMENTS"]),
        (frame("Take {n}", {"m": 1}), ["E-QA-ARGUMENTS", "E-QA-ARGUMENTS"]),
    ],
)
def test_what_is_refused(entry, expected):
    assert codes(entry) == expected


def test_an_unknown_answer_has_the_nearest_tool_as_a_hint():
    (row,) = read(frame(tool="alpa"))
    assert row.rejections[0].fix == "did you mean alpha?"
    assert row.rejections[0].value == "alpa"


def test_only_the_row_with_wrong_arguments_is_refused():
    first, second = read(frame("Take {n}", {"n": "{n}"}, fill={"n": [1, "x"]}))
    assert not first.rejections
    assert second.rejections[0].field == "arguments.n"


def test_only_the_blank_one_of_filled_questions_is_refused():
    first, *blank = read(frame("{q}", fill={"q": ["hello there friend", " ", ""]}))
    assert first.record["question"] == "hello there friend" and not first.rejections
    assert [(rejection.code, rejection.field) for row in blank for rejection in row.rejections] == [
        ("E-QA-EMPTY", "fill.q.1"),
        ("E-QA-EMPTY", "fill.q.2"),
    ]


def test_the_same_frame_twice_is_refused():
    assert codes(frame(), frame(fill={"n": [7, 8]})) == ["E-QA-DUP"]


def test_the_second_of_two_equal_questions_is_refused():
    first, second = read(frame("Do it."), frame("do IT"))
    assert not first.rejections
    assert [rejection.code for rejection in second.rejections] == ["E-QA-DUP"]
    assert "questions/desk.yaml:1" in second.rejections[0].what


def test_both_of_two_equal_questions_with_two_answers_are_refused():
    rows = read(frame("Do it."), frame("Do it!", tool="beta"))
    assert [[rejection.code for rejection in row.rejections] for row in rows] == [["E-QA-CONFLICT"], ["E-QA-CONFLICT"]]
    assert "beta in questions/desk.yaml:2" in rows[0].rejections[0].what


def test_filled_keeps_types_only_for_whole_slots():
    assert filled({"a": "{n}", "b": "{n}!", "c": [1, "{n}"], "d": None}, {"n": 2.5}, {"n": "2.50"}) == {
        "a": 2.5,
        "b": "2.50!",
        "c": [1, 2.5],
        "d": None,
    }


def test_frame_ids_are_the_tool_and_a_hash():
    assert frame_id("alpha", "x") == "alpha-2d711642"
