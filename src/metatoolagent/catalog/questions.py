"""Questions: hand-written frames, expanded to rows and checked against the tools that answer them."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from metatoolagent.catalog.json_schema import argument_faults
from metatoolagent.catalog.rejection import LIST, MAPPING, TEXT, Row, Shape, nearest
from metatoolagent.catalog.schemas import KINDS
from metatoolagent.catalog.text import normalised
from metatoolagent.catalog.tool import canonical, check_hidden
from metatoolagent.strict_yaml import Document

SLOT = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
FIELDS = {
    "tool": TEXT,
    "kind": TEXT,
    "ask": TEXT,
    "fill": MAPPING,
    "arguments": Shape("a mapping, or a slot whose values are mappings", (dict, str), "{}"),
    "also": LIST,
}
REQUIRED = {"tool", "ask", "arguments"}

Tools = Mapping[str, tuple[str, Any]]
"""Domain and argument validator of each tool by name; the validator is None where the tool itself was rejected."""


def read_questions(document: Document, tools: Tools, unread: Collection[str] = (), *, homeless: bool = False) -> list[Row]:
    """Return the questions of one domain's file, each with what is wrong with it.

    A frame that cannot be expanded is one row.

    Args:
        document: the file.
        tools: what questions may be answered by.
        unread: the domains whose tools could not be read, or are not there.
        homeless: whether there is no file of tools of this domain, which is told once for all its questions.
    """
    rows: list[Row] = []
    frames: dict[str, Row] = {}
    for index in range(len(document.content)):
        frame = Row(document, index)
        if frame.has_shape(FIELDS, REQUIRED):
            _check_frame(frame, tools, unread, homeless)
            _check_id(frame, frames)
        rows += [frame] if frame.rejections else _expand(frame, tools)
    return rows


def frame_id(tool: str, ask: str) -> str:
    """Return the identity of a frame, which does not depend on the other frames."""
    return f"{tool}-{hashlib.sha256(ask.encode()).hexdigest()[:8]}"


def _check_frame(frame: Row, tools: Tools, unread: Collection[str], homeless: bool) -> None:
    check_hidden(frame, frame.content)
    check_ask(frame)
    _check_answers(frame, tools, unread, homeless)
    _check_fill(frame)


def check_ask(row: Row) -> None:
    """Note an empty question and an unknown kind."""
    content = row.content
    if not content["ask"].strip():
        row.reject("E-QA-EMPTY", "an empty question", "ask", fix="write the question")
    if "kind" in content and content["kind"] not in KINDS:
        fix = nearest(content["kind"], KINDS) or f"one of {', '.join(KINDS)}"
        row.reject("E-QA-KIND", "an unknown kind of question", "kind", value=content["kind"], fix=fix)


def _check_answers(frame: Row, tools: Tools, unread: Collection[str], homeless: bool) -> None:
    gold, domain = frame.content["tool"], frame.document.path.stem
    check_known(frame, tools, gold, "tool", unread=domain in unread)
    if gold in tools and tools[gold][0] != domain:
        what = f"the answer is a tool of the domain {tools[gold][0]}"
        code = "E-QA-TOOL-UNREAD" if homeless else "E-QA-ANSWER-UNKNOWN"
        frame.reject(code, what, "tool", value=gold, fix=f"move the frame to {tools[gold][0]}.yaml")
    for index, name in enumerate(frame.content.get("also", [])):
        check_known(frame, tools, name, "also", index, unread=bool(unread))
        if name == gold or name in frame.content["also"][:index]:
            frame.reject("E-QA-ANSWER-TWICE", "an answer stands twice", "also", index, value=name, fix="delete it")


def check_known(frame: Row, tools: Tools, name: object, *pointer: str | int, unread: bool) -> None:
    """Note an answer that is no tool of the catalog, or one that was rejected or, if `unread`, may stand in an unread file."""
    if unread and isinstance(name, str) and name not in tools:
        what = "the answer may be a tool of a file that could not be read or is not there"
        frame.reject("E-QA-TOOL-UNREAD", what, *pointer, value=name, fix="mend the files of tools first")
    elif not isinstance(name, str) or name not in tools:
        fix = nearest(str(name), list(tools)) or f"correct it, or add the tool to the tools of {frame.document.path.stem}"
        frame.reject("E-QA-ANSWER-UNKNOWN", "the answer is not a tool of the catalog", *pointer, value=name, fix=fix)
    elif tools[name][1] is None:
        what = "the answer is a tool that was rejected"
        frame.reject("E-QA-TOOL-REJECTED", what, *pointer, value=name, fix="mend the tool first")


def _check_fill(frame: Row) -> None:
    fill: dict[str, Any] = frame.content.get("fill", {})
    embedded = set(SLOT.findall(frame.content["ask"])) | set(_embedded_slots(frame.content["arguments"]))
    used = embedded | set(_whole_slots(frame.content["arguments"]))
    for slot in sorted(used - fill.keys()):
        frame.reject("E-QA-SLOT", "a slot has no fill", "ask", value=slot, fix="add a list for it under fill")
    for slot in sorted(fill.keys() - used):
        frame.reject("E-QA-SLOT", "a fill is not used", "fill", slot, value=slot, fix="delete it")
    for slot, values in fill.items():
        if not isinstance(values, list) or not values:
            frame.reject("E-QA-FILL", "a fill must be a list of values", "fill", slot, value=values, fix="write a list")
        elif slot in embedded:
            _check_text_values(frame, slot, values)
    lengths = {slot: len(values) for slot, values in fill.items() if isinstance(values, list)}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{slot} {length}" for slot, length in lengths.items())
        what = "the lists of a frame differ in length"
        frame.reject("E-QA-FILL", what, "fill", value=told, fix="row i takes value i of each list")


def _check_text_values(frame: Row, slot: str, values: list[Any]) -> None:
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            what = "only text and numbers can stand inside a text"
            frame.reject("E-QA-FILL", what, "fill", slot, index, value=value, fix="quote it if it is text")


def _check_id(frame: Row, frames: dict[str, Row]) -> None:
    first = frames.setdefault(frame_id(frame.content["tool"], frame.content["ask"]), frame)
    if first is not frame:
        what = f"the tool has the same frame in {first.where}"
        frame.reject("E-QA-DUP", what, "ask", value=frame.content["ask"], fix="put the values of both under one frame")


def _embedded_slots(content: Any) -> Iterator[str]:
    for text in _texts(content):
        yield from [] if SLOT.fullmatch(text) else SLOT.findall(text)


def _whole_slots(content: Any) -> Iterator[str]:
    for text in _texts(content):
        if whole := SLOT.fullmatch(text):
            yield whole[1]


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict | list):
        for item in content.values() if isinstance(content, dict) else content:
            yield from _texts(item)


def _expand(frame: Row, tools: Tools) -> list[Row]:
    content = frame.content
    fill: dict[str, list[Any]] = content.get("fill", {})
    identity = frame_id(content["tool"], content["ask"])
    rows = []
    for number in range(len(next(iter(fill.values()), [None]))):
        values = {slot: column[number] for slot, column in fill.items()}
        texts = {slot: _text(frame, slot, number) for slot in fill}
        arguments = filled(content["arguments"], values, texts)
        row = Row(frame.document, frame.index)
        for what, pointer, value in argument_faults(tools[content["tool"]][1], arguments):
            fix = "correct the arguments or the schema"
            row.reject("E-QA-ARGUMENTS", f"row {number + 1}: {what}", "arguments", *pointer, value=value, fix=fix)
        rows.append(row)
        question = " ".join(with_text(content["ask"], texts).split())
        if not question:
            slot = SLOT.findall(content["ask"])[0]  # an ask without a slot would be empty itself, and refused before
            row.reject("E-QA-EMPTY", f"row {number + 1}: an empty question", "fill", slot, number, fix="write the text")
            continue
        row.record = {
            "question_id": f"{identity}-{number + 1}",
            "frame_id": identity,
            "tool": content["tool"],
            "also": sorted(content.get("also", [])),
            "domain": frame.document.path.stem,
            "kind": content.get("kind"),
            "question": question,
            "arguments": canonical(arguments),
        }
    return rows


def _text(frame: Row, slot: str, number: int) -> str:
    """Return a value of a fill as it is written in the file, so that 12.50 is asked as 12.50 and not as 12.5."""
    return frame.document.written.get((frame.index, "fill", slot, number), str(frame.content["fill"][slot][number]))


def filled(content: Any, values: Mapping[str, Any], texts: Mapping[str, str]) -> Any:
    """Return `content` with its slots filled; a text that is one slot takes the value with its type, others its text."""
    if isinstance(content, dict):
        return {key: filled(value, values, texts) for key, value in content.items()}
    if isinstance(content, list):
        return [filled(value, values, texts) for value in content]
    if not isinstance(content, str):
        return content
    whole = SLOT.fullmatch(content)
    return values[whole[1]] if whole else with_text(content, texts)


def with_text(text: str, texts: Mapping[str, str]) -> str:
    """Return `text` with its slots filled by the text of their values."""
    return SLOT.sub(lambda slot: texts[slot[1]], text)


def reject_repeated(rows: list[Row]) -> None:
    """Note questions that stand twice, and those that stand under two tools; the first of equal ones stays."""
    same: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.record:
            same[normalised(row.record["question"])].append(row)
    for group in same.values():
        for row in group[1:] if len(group) > 1 else []:
            _reject_repeated(row, group[0])


def _reject_repeated(row: Row, first: Row) -> None:
    question, tool = row.record["question"], first.record["tool"]
    if row.record["tool"] == tool:
        row.reject("E-QA-DUP", f"the question stands twice, first in {first.where}", "ask", value=question, fix="delete one")
        return
    for one, other in ((row, first), (first, row)):
        what = f"the same question has the answer {other.record['tool']} in {other.where}"
        one.reject("E-QA-CONFLICT", what, "ask", value=question, fix="reword one, or delete one and list its tool under also")
