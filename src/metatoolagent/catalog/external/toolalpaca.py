"""ToolAlpaca's test sets (arXiv 2306.05301): a list of APIs, each with its functions, instructions and golden answers.

A tool is a function, its domain is its API. The published name of a function stays, since all of them are unique in
the benchmark. A question is an instruction that a single call answers. One that calls of several functions answer, each
once, is a chain, its order the published one, though not every one of these orders is forced by what is asked.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metatoolagent.artifacts import KEPT
from metatoolagent.catalog.external.files import FIX, field, parse, read_list, same_length, typed
from metatoolagent.catalog.external.openapi import parameters
from metatoolagent.catalog.external.records import Benchmark, Place, slug, unique_names
from metatoolagent.catalog.json_schema import schema_faults
from metatoolagent.errors import UserError

FILES = ["toolalpaca/eval_real.json", "toolalpaca/eval_simulated.json"]
PSEUDO = "components"
"""An entry among the functions of every API that describes the types of the answers and is no function."""


@dataclass(frozen=True)
class Api:
    """One entry of a file."""

    file: str
    index: int
    content: Any

    def get(self, key: str, kind: type) -> Any:
        """Return a field, or raise E-FIELD."""
        return field(self.content, key, kind, f"{self.file}, entry {self.index}")

    def place(self, *path: str | int) -> Place:
        """Return the place of a part of the entry."""
        return Place(self.file, ".".join(map(str, (self.index, *path))))

    @property
    def name(self) -> str:
        """The API's published name."""
        return str(self.get("Name", str))


def read(paths: Mapping[str, Path]) -> Benchmark:
    """Return the tools, the single-call questions and the chains of both files.

    Args:
        paths: where each of `FILES` lies.

    Raises:
        UserError: E-PARSE or E-FIELD for a file that is not of this form.
    """
    apis = [Api(name, index, entry) for name in FILES for index, entry in enumerate(read_list(paths[name], name))]
    _refuse_twins(apis)
    benchmark = Benchmark()
    functions = {f"{api.name} {name}": name for api in apis for name in api.get("Function_Description", dict) if name != PSEUDO}
    names = unique_names(functions)
    for api in apis:
        _add_tools(api, names, benchmark)
    tools = {row["name"]: row for row in benchmark.tools}
    category = {slug(api.name): api.get("Category", str) for api in apis}
    for api in apis:
        # APIs of one category serve the same wishes, such as two of public holidays, so none distracts from another.
        rivals = {domain for domain, kind in category.items() if kind == api.get("Category", str)} - {slug(api.name)}
        also = [row["name"] for row in benchmark.tools if row["domain"] in rivals]
        _add_questions(api, {name: tools.get(names[f"{api.name} {name}"]) for name in _functions(api)}, also, benchmark)
    benchmark.check_counts()
    return benchmark


def _refuse_twins(apis: list[Api]) -> None:
    seen: dict[str, Api] = {}
    for api in apis:
        first = seen.setdefault(slug(api.name), api)
        if first is not api:
            what = f"an API has the name of entry {first.index} of {first.file}"
            raise UserError("E-FIELD", what, f"{api.file}, entry {api.index}", api.name, FIX, KEPT)


def _functions(api: Api) -> Iterator[str]:
    return (name for name in api.get("Function_Description", dict) if name != PSEUDO)


def _add_tools(api: Api, names: Mapping[str, str], benchmark: Benchmark) -> None:
    where = f"{api.file}, entry {api.index}"
    document = parse(api.get("Documentation", str), f"{where}, field Documentation")
    for name, text in api.get("Function_Description", dict).items():
        benchmark.read["tool"] += 1
        place = api.place("Function_Description", name)
        if name == PSEUDO:
            benchmark.exclude(place, "tool", "E-PSEUDO-FUNCTION", "it describes types of answers and is no function")
            continue
        path = field(api.get("Function_Projection", dict), name, list, f"{where}, field Function_Projection")
        schema = parameters(document, path, f"{where}, function {name}")
        if faults := schema_faults(schema):
            code, what, pointer, _ = faults[0]
            benchmark.exclude(place, "tool", code, f"its parameters are no JSON Schema: {what} at {'.'.join(map(str, pointer))}")
            continue
        # The text goes on with parameters and output; a function without a text of its own is described by its API.
        own = typed(text, str, f"{where}, function {name}").partition("Parameters:")[0].strip() or api.get("Description", str)
        identity = f"{api.name} {name}"
        benchmark.add_tool(place, names[identity], name, slug(api.name), f"{api.name}: {own}", schema)


def _add_questions(api: Api, tools: Mapping[str, Any], also: list[str], benchmark: Benchmark) -> None:
    questions, answers = api.get("Instructions", list), api.get("Golden_Answers", list)
    same_length(questions, answers, "Instructions and Golden_Answers", f"{api.file}, entry {api.index}")
    for index, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        benchmark.read["question"] += 1
        place = api.place("Instructions", index)
        where = f"{api.file}, entry {api.index}, row {index}"
        typed(question, str, f"{where} of Instructions")
        if (calls := len(typed(answer, list, f"{where} of Golden_Answers"))) != 1:
            benchmark.exclude(place, "question", "E-MULTI-TOOL", f"{calls} calls answer it, and a task has one gold tool")
            if calls > 1:
                actions = [str(field(call, "Action", str, f"{where} of Golden_Answers")) for call in answer]
                _add_chain(place, actions, tools, also, question, benchmark)
            continue
        action, given = (field(answer[0], key, str, f"{where} of Golden_Answers") for key in ("Action", "Action_Input"))
        if not (tool := tools.get(action)):
            benchmark.exclude(place, "question", "E-ANSWER-UNKNOWN", f"its answer {action} is not among the API's tools")
            continue
        benchmark.add_question(place, tool, also, question, _arguments(given))


def _add_chain(
    place: Place, actions: list[str], tools: Mapping[str, Any], also: list[str], question: str, benchmark: Benchmark
) -> None:
    benchmark.read["chain"] += 1
    if unknown := [action for action in actions if not tools.get(action)]:
        benchmark.exclude(place, "chain", "E-ANSWER-UNKNOWN", f"its answer {unknown[0]} is not among the API's tools")
    elif len(set(actions)) < len(actions):
        benchmark.exclude(place, "chain", "E-CHAIN-REPEAT", "it calls one function several times")
    else:
        benchmark.add_chain(place, [tools[action] for action in actions], also, question)


def _arguments(text: str) -> object:
    """Return the published arguments; a template such as `{"year": ${a year}}`, which is not JSON, stays one text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
