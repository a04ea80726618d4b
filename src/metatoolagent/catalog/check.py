"""The authoring check: all that ingestion refuses, and what makes a dataset hard and fair, each fault with file and line.

Codes that begin with E must be mended, for ingestion refuses such rows. Those that begin with D are rules that this project's own
dataset is held to, and advice for another; those that begin with W are advice, for a person may have a reason.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import polars as pl
from rich.console import Console

from metatoolagent.catalog import wording
from metatoolagent.catalog.chains import read_chains, reject_repeated_chains
from metatoolagent.catalog.difficulty import difficulty
from metatoolagent.catalog.ingest import UNJUDGED, Sources, answers_of, causes_first, frame_of, read_folder, read_sources
from metatoolagent.catalog.limits import Limits
from metatoolagent.catalog.parameters import described
from metatoolagent.catalog.rejection import Rejection, Row
from metatoolagent.catalog.schemas import KINDS, QUESTIONS, TOOLS
from metatoolagent.catalog.similar import similar_pairs
from metatoolagent.catalog.text import normalised
from metatoolagent.errors import UserError, escaped, shown

STYLE = re.compile(r"[a-z][a-z0-9_]{2,63}")


@dataclass(frozen=True)
class Dataset:
    """The rows that ingestion takes."""

    tools: list[Row]
    questions: list[Row]
    chains: list[Row]

    @property
    def frames(self) -> dict[str, list[Row]]:
        """The questions of each frame, by the frame's id."""
        return _grouped(self.questions, lambda row: row.record["frame_id"])

    def tables(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the records of the tools and of the questions, as ingestion sorts them."""
        return frame_of([row.record for row in self.tools], TOOLS), frame_of([row.record for row in self.questions], QUESTIONS)


def run(folder: Path, limits: Limits | None = None, *, strict: bool = False) -> None:
    """Print every finding of a dataset's folder and a summary.

    Args:
        folder: holds the folders `tools` and `questions`, and `chains` where there are some.
        limits: what to keep to; the project's own limits where left out.
        strict: hold the folder to the rules of the project's own dataset too.

    Raises:
        UserError: E-CHECK if anything must be mended, or those of `require_folders`.
    """
    require_folders(folder)
    sources = read_sources(folder / "tools", folder / "questions")
    if (folder / "chains").exists():
        add_chains(sources, folder / "chains")
    found = check(sources, limits or Limits())
    findings = [finding for finding in found if finding.code not in UNJUDGED]
    console = Console(soft_wrap=True, markup=False, highlight=False)
    for finding in findings:
        console.print(told(finding))
    if unjudged := len(found) - len(findings):
        console.print(f"{unjudged} answers are, or may be, tools that must be mended first; check again when those are")
    to_mend = ("E-", "D-") if strict else ("E-",)
    codes = Counter(finding.code for finding in findings)
    faults = sum(number for code, number in codes.items() if code.startswith(to_mend))
    counts = f"{len(sources.tools)} tools, {len(sources.questions)} questions, {len(sources.chains)} chains"
    each = ", ".join(f"{number} {code}" for code, number in codes.most_common())
    console.print(f"{counts}: {faults} to mend, {len(findings) - faults} to consider" + (f" ({each})" if each else ""))
    if faults:
        fix = f"mend those above that begin with {' or '.join(to_mend)}"
        raise UserError("E-CHECK", f"{faults} findings must be mended", str(folder), fix=fix)


def require_folders(folder: Path) -> None:
    """Refuse a folder of the command line that cannot be that of a dataset.

    Raises:
        UserError: E-MISSING or E-NOT-A-FOLDER.
    """
    where = f"{folder} (argument FOLDER)"
    fix = "name the folder that holds tools/ and questions/, each with files <domain>.yaml, such as this repository's data"
    for path in (folder, *(folder / name for name in ("tools", "questions", "chains"))):
        if path.exists() and not path.is_dir():
            raise UserError("E-NOT-A-FOLDER", f"{path} is a file, and a folder is expected there", where, fix=fix)
    if not folder.exists():
        raise UserError("E-MISSING", "there is no such folder", where, fix=fix)
    if missing := [f"no {name}/" for name in ("tools", "questions") if not (folder / name).exists()]:
        raise UserError("E-MISSING", f"the folder has {' and '.join(missing)}", where, fix=fix)


def add_chains(sources: Sources, folder: Path) -> None:
    """Read and check the chains of a folder; what is wrong stands in `sources`."""
    answers = answers_of(sources.tools)
    sources.chains = read_folder(folder, sources, lambda document: read_chains(document, answers, sources.unread))
    asked = {normalised(row.record["question"]): row.where for row in reversed(sources.questions) if row.record}
    reject_repeated_chains(sources.chains, asked)


def told(finding: Rejection) -> str:
    """Return a finding as one line: file and line, code, what was found, what stands there, how to mend it."""
    value = f": {shown(finding.value)}" if finding.value else ""
    fix = f"; {finding.fix}" if finding.fix else ""
    return escaped(f"{finding.file}:{finding.line}: {finding.code} {finding.what}{value}{fix}")


def check(sources: Sources, limits: Limits) -> list[Rejection]:
    """Return every finding: causes before what follows from them, files that cannot be read first, tools before questions.

    Rows that ingestion refuses are looked at no further.
    """
    dataset = kept(sources)
    for tool in dataset.tools:
        _check_documentation(tool, limits)
    _check_siblings(dataset, limits)
    _check_amounts(dataset, limits)
    _check_frames(dataset, limits)
    _check_words(dataset, limits)
    _check_near(dataset, limits)
    _check_chains(dataset, limits)
    _check_difficulty(dataset, limits)
    return causes_first(_in_order(sources))


def _in_order(sources: Sources) -> Iterator[Rejection]:
    """Yield every finding once, in the order of reading, then of files and lines."""
    yield from dict.fromkeys(sources.failed)
    for rows in (sources.tools, sources.questions, sources.chains):
        yield from sorted({rejection for row in rows for rejection in row.rejections})


def kept(sources: Sources) -> Dataset:
    """Return the rows that nothing is wrong with."""
    return Dataset(*([row for row in rows if not row.rejections] for rows in (sources.tools, sources.questions, sources.chains)))


def _grouped(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[str(key(row))].append(row)
    return groups


def _check_documentation(tool: Row, limits: Limits) -> None:
    if not STYLE.fullmatch(tool.record["name"]):
        what, fix = "a name of another style than this dataset's", f"one that matches ^{STYLE.pattern}$"
        tool.reject("W-NAME-STYLE", what, "name", value=tool.record["name"], fix=fix)
    number = len(tool.record["description"].split())
    if not limits.description[0] <= number <= limits.description[1]:
        fix = f"say in {limits.description[0]} to {limits.description[1]} words what it does, and what it does not"
        tool.reject("W-DESCRIPTION", f"a description of {number} words", "description", fix=fix)
    parameters = described(tool.content["parameters"])
    if not limits.parameters[0] <= len(parameters) <= limits.parameters[1]:
        fix = f"{limits.parameters[0]} to {limits.parameters[1]} read like a real interface"
        tool.reject("W-PARAMETERS", f"{len(parameters)} parameters", "parameters", fix=fix)
    for name, (schema, _) in parameters.items():
        if not isinstance(schema, dict) or "description" not in schema:
            what = "a parameter without a description"
            tool.reject("W-PARAMETERS", what, "parameters", "properties", name, value=name, fix="say what it is for")


def _check_siblings(dataset: Dataset, limits: Limits) -> None:
    for tools in _grouped(dataset.tools, lambda row: row.record["domain"]).values():
        for one, other in alike([set(wording.content_words(tool.record["description"])) for tool in tools], limits.siblings):
            what = f"the documentation is nearly that of {tools[one].record['name']} in {tools[one].where}"
            tools[other].reject("W-SIBLINGS", what, "description", fix="say what sets it apart, and what it does not do")


def alike(sets: Sequence[set[str]], threshold: float) -> Iterator[tuple[int, int]]:
    """Yield the pairs of sets, the earlier one first, whose Jaccard similarity is above a threshold.

    Each has more than its share `threshold` in common with the other, so both have a word that is among the rarest of each, as
    many as the rest of it and one. Only sets with such a word are compared: all pairs of thousands would take minutes.
    """
    times = Counter(chain.from_iterable(sets))
    having: dict[str, list[int]] = defaultdict(list)
    for place, words in enumerate(sets):
        rarest = sorted(words, key=lambda word: (times[word], word))[: len(words) - int(threshold * len(words))]
        for other in sorted({other for word in rarest for other in having[word]}):
            if len(words & sets[other]) > threshold * len(words | sets[other]):
                yield other, place
        for word in rarest:
            having[word].append(place)


def _check_amounts(dataset: Dataset, limits: Limits) -> None:
    questions = _grouped(dataset.questions, lambda row: row.record["tool"])
    for tool in dataset.tools:
        rows = questions.get(tool.record["name"], [])
        kinds = Counter({row.record["frame_id"]: row.record["kind"] for row in rows}.values())
        frames = kinds.total()
        if frames < limits.frames:
            tool.reject("W-FRAMES", f"{frames} frames", value=tool.record["name"], fix=f"write {limits.frames} at least")
        if not limits.rows[0] <= len(rows) <= limits.rows[1]:
            fix = f"{limits.rows[0]} to {limits.rows[1]} keep the tools balanced"
            tool.reject("W-ROWS", f"{len(rows)} questions", value=tool.record["name"], fix=fix)
        fewest, most = frames // len(KINDS), -(-frames // len(KINDS))
        if uneven := [f"{kind} {kinds[kind]}" for kind in KINDS if not fewest <= kinds[kind] <= most]:
            fix = f"{fewest} to {most} frames of each kind"
            tool.reject("W-KINDS", f"the kinds of {frames} frames are uneven", value=", ".join(uneven), fix=fix)


def _check_frames(dataset: Dataset, limits: Limits) -> None:
    for rows in dataset.frames.values():
        if len(rows) > limits.rows_of_frame:
            fix = f"{limits.rows_of_frame} at most; write another frame"
            rows[0].reject("D-FRAME-ROWS", f"a frame of {len(rows)} questions", "ask", fix=fix)
        if rows[0].record["kind"] is None:
            rows[0].reject("D-FRAME-KIND", "a frame without a kind", "ask", fix=f"one of {', '.join(KINDS)}")
    firsts = [rows[0] for rows in dataset.frames.values()]
    for frames in _grouped(firsts, lambda row: row.record["tool"]).values():
        _reject_alike(frames, wording.opening, "D-FRAME-OPENING", "begins with the four words")
        _reject_alike(frames, wording.skeleton, "D-FRAME-SKELETON", "is the sentence, with other words filled in,")


def _reject_alike(frames: list[Row], form: Callable[[str], wording.Shape], code: str, what: str) -> None:
    first: dict[wording.Shape, Row] = {}
    for row in frames:
        shape = form(row.content["ask"])
        if shape and first.setdefault(shape, row) is not row:
            row.reject(code, f"the frame {what} of {first[shape].where}", "ask", value=row.content["ask"], fix="say it otherwise")


def _check_words(dataset: Dataset, limits: Limits) -> None:
    documents = {tool.record["name"]: f"{tool.record['name']} {tool.record['description']}" for tool in dataset.tools}
    for row in dataset.questions:
        _check_wording(row, [row.record["tool"]], documents, limits)
    for row in dataset.chains:
        _check_wording(row, row.record["tools"], documents, limits)


def _check_wording(row: Row, tools: list[str], documents: Mapping[str, str], limits: Limits) -> None:
    question = row.record["question"]
    for tool in tools:
        if wording.names(question, tool):
            row.reject("D-NAMED", f"the question holds its tool's name, {tool}", "ask", value=question, fix="paraphrase it")
    shared, words = wording.shared_words(question, " ".join(documents[tool] for tool in tools))
    if len(shared) > limits.overlap * words:
        what = f"{len(shared)} of {words} content words are the documentation's ({', '.join(shared)})"
        row.reject("W-OVERLAP", what, "ask", value=question, fix="say it as somebody who never read the documentation")


def _check_near(dataset: Dataset, limits: Limits) -> None:
    for one, other in near_duplicates(dataset, limits.near_duplicate):
        what = f"nearly the question of {one.where}, which {one.record['tool']} answers"
        other.reject("D-NEAR", what, "ask", value=other.record["question"], fix="reword one of the two")


def _check_chains(dataset: Dataset, limits: Limits) -> None:
    """Note chains that are nearly a question of a single tool, or nearly another chain."""
    rows, chains = dataset.questions, dataset.chains
    texts = [row.record["question"] for row in rows + chains]
    of_chains = texts[len(rows) :]
    for one, other in similar_pairs(texts, of_chains, limits.near_duplicate):
        if one < len(rows) + other:  # not itself, and two chains once
            first, chain = (rows + chains)[one], chains[other]
            chain.reject(
                "D-NEAR", f"nearly the question of {first.where}", "ask", value=of_chains[other], fix="reword one of the two"
            )


def near_duplicates(dataset: Dataset, threshold: float) -> list[tuple[Row, Row]]:
    """Return the pairs of questions of different frames that are nearly the same."""
    rows = dataset.questions
    texts = [row.record["question"] for row in rows]
    pairs = [(rows[one], rows[other]) for one, other in similar_pairs(texts, texts, threshold) if one < other]
    return [(one, other) for one, other in pairs if one.record["frame_id"] != other.record["frame_id"]]


def _check_difficulty(dataset: Dataset, limits: Limits) -> None:
    if not dataset.questions:
        return
    chances = difficulty(*dataset.tables(), limits.distractors)
    means = {row["tool"]: row for row in chances.group_by("tool").agg(pl.col(list(limits.chances)).mean()).to_dicts()}
    for tool in dataset.tools:
        found = means.get(tool.record["name"], dict.fromkeys(limits.chances, 0.0))
        if easy := [f"{key} {found[key]:.2f} (at most {most:.2f})" for key, most in limits.chances.items() if found[key] > most]:
            what = "word matching finds the tool too often"
            tool.reject("W-EASY", what, "description", value=", ".join(easy), fix="reword its questions or its documentation")
