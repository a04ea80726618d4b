"""API-Bench (Gorilla, arXiv 2305.15334): catalogs of models on three hubs, and questions that one of them answers.

A tool is a call, with white space brought to one form, and its domain is the hub. A catalog has up to 220 rows for one
call; the first gives the description. A right answer is a set, and wider than the published one: the benchmark's own
scorer takes every call of the gold call's published domain for right, so none of them is a distractor, and neither
is a call of another hub that does the same (`TASKS`; docs/decisions/0009-what-distracts-in-a-benchmark.md).

A question is what stands between `###Instruction:` and `###Output:`. `###Input:`, which in some parts the request from what it
is about, is a mark of that format too and is left out; what it is about stays.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metatoolagent import strict_tsv
from metatoolagent.artifacts import KEPT
from metatoolagent.catalog.external import files
from metatoolagent.catalog.external.records import Benchmark, Place, Record, slug, unique_names
from metatoolagent.errors import UserError

HUBS = {
    "hugging_face": ("apibench/huggingface_api.jsonl", "apibench/huggingface_eval.json"),
    "tensorflow_hub": ("apibench/tensorflowhub_api.jsonl", "apibench/tensorflow_eval.json"),
    "torch_hub": ("apibench/torchhub_api.jsonl", "apibench/torchhub_eval.json"),
}
"""The catalog and the questions of each hub."""

FILES = [name for pair in HUBS.values() for name in pair]
TASKS = Path("data/apibench_tasks.tsv")
"""What each published domain of each hub does, by our judgement; one row for each thing, `framework` being the hub."""

QUESTION = re.compile(r"###\s*Instruction:(.*?)###\s*Output:", re.DOTALL)
MARK = re.compile(r"(?:###\s*|\*\*)Input:\s*(?:<noinput>[\s*]*\Z)?")
"""Parts a request from what it is about, such as the text to be translated, in the format that the questions were written in."""
QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
ARGUMENT = re.compile(r"[A-Za-z_]\w*")


@dataclass
class Call:
    """The rows of a catalog that have one call."""

    hub: str
    call: str
    place: Place
    first: Mapping[str, Any]
    domains: list[str] = field(default_factory=list)


def read(paths: Mapping[str, Path]) -> Benchmark:
    """Return the tools and questions of all hubs.

    Args:
        paths: where each of `FILES` lies.

    Raises:
        UserError: E-PARSE or E-FIELD for a file that is not of this form, or a domain that `TASKS` does not have.
    """
    benchmark = Benchmark()
    calls: dict[str, Call] = {}
    for hub, (catalog, _) in HUBS.items():
        _read_catalog(hub, catalog, paths[catalog], calls, benchmark)
    names = unique_names({key: wished_name(item.call) for key, item in calls.items()})
    for key, item in calls.items():
        text = f"{' / '.join(item.domains)}: {item.first['description']}"
        benchmark.add_tool(item.place, names[key], item.call, item.hub, text, arguments_schema(item.first.get("api_arguments")))
    tools = dict(zip(calls, benchmark.tools, strict=True))
    rivals = _rivals(calls, tools)
    for hub, (_, questions) in HUBS.items():
        _read_questions(hub, questions, paths[questions], tools, rivals, benchmark)
    benchmark.check_counts()
    return benchmark


def normalised(call: str) -> str:
    """Return a call with its white space brought to one form."""
    return " ".join(call.split())


def _read_catalog(hub: str, name: str, path: Path, calls: dict[str, Call], benchmark: Benchmark) -> None:
    for line, row in files.read_lines(path, name):
        benchmark.read["tool"] += 1
        place = Place(name, str(line))
        call, domain, _ = (files.field(row, key, str, f"{name}:{line}") for key in ("api_call", "domain", "description"))
        key = f"{hub} {normalised(call)}"
        first = calls.setdefault(key, Call(hub, normalised(call), place, row))
        if domain not in first.domains:
            first.domains.append(domain)
        if first.place != place:
            reason = f"it repeats the call of line {first.place.row}; one tool stands for both"
            benchmark.exclude(place, "tool", "E-CALL-REPEATED", reason)


def wished_name(call: str) -> str:
    """Return the name that a call would like: what it quotes, which is the model, or else the whole call."""
    quoted = [one or other for one, other in QUOTED.findall(call)]
    return slug(" ".join(text.removeprefix("https://tfhub.dev/") for text in quoted) or call)


def arguments_schema(published: Any) -> dict[str, Any]:
    """Return the JSON Schema of a call's arguments, of which a catalog has at most the names: as keys or as a list."""
    names = [name for name in published if isinstance(name, str)] if isinstance(published, dict | list) else []
    return {"type": "object", "properties": {name: {} for name in names if ARGUMENT.fullmatch(name)}}


def _rivals(calls: Mapping[str, Call], tools: Mapping[str, Record]) -> dict[str, set[str]]:
    """Return the tools that answer what a tool answers, by the tool's name."""
    table = tasks_of_domains()
    of_tool: dict[str, set[str]] = {}
    by_task: dict[str, set[str]] = defaultdict(set)
    for key, item in calls.items():
        of_tool[tools[key]["name"]] = tasks = {task for domain in item.domains for task in _tasks(table, item, domain)}
        for task in tasks:
            by_task[task].add(tools[key]["name"])
    return {name: set[str]().union(*(by_task[task] for task in tasks)) for name, tasks in of_tool.items()}


def _tasks(table: Mapping[tuple[str, str], Iterable[str]], item: Call, domain: str) -> list[str]:
    if (item.hub, domain) not in table:
        what = f"the domain {domain} of {item.hub} is not in {TASKS}"
        raise UserError("E-FIELD", what, f"{item.place.file}:{item.place.row}", fix="add a row for it", kept=KEPT)
    # The published domain itself is one, so that two calls of one domain are rivals whatever the table says.
    return [f"{item.hub} {domain}", *table[item.hub, domain]]


def tasks_of_domains(path: Path = TASKS) -> dict[tuple[str, str], list[str]]:
    """Return what each published domain of each hub does.

    Raises:
        UserError: those of `strict_tsv.rows`.
    """
    table: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in strict_tsv.rows(path, ("framework", "published_domain", "task")):
        table[row["framework"], row["published_domain"]].append(row["task"])
    return dict(table)


def _read_questions(
    hub: str, name: str, path: Path, tools: Mapping[str, Record], rivals: Mapping[str, set[str]], benchmark: Benchmark
) -> None:
    for line, row in files.read_lines(path, name):
        benchmark.read["question"] += 1
        place = Place(name, str(line))
        text, call = (files.field(row, key, str, f"{name}:{line}") for key in ("code", "api_call"))
        question = QUESTION.search(text)
        if not question or not question[1].strip():
            reason = "no question stands between ###Instruction: and ###Output:"
            benchmark.exclude(place, "question", "E-QA-EMPTY", reason)
        elif not (tool := tools.get(f"{hub} {normalised(call)}")):
            benchmark.exclude(place, "question", "E-ANSWER-UNKNOWN", f"its answer {normalised(call)} is not in the hub's catalog")
        else:
            # The id is that of the published text, so that the same questions are drawn as with the marks.
            asked, marks = MARK.subn(" ", question[1])
            benchmark.unmarked += marks > 0
            benchmark.add_question(place, tool, rivals[tool["name"]], question[1], {}, asked)
