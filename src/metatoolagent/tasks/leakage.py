"""The leakage gate: nothing that is tested on may stand in training, nor where settings are chosen, under whatever writing."""

from collections.abc import Iterator
from functools import partial

import polars as pl

from metatoolagent import artifacts
from metatoolagent.catalog.chunks import Chunks
from metatoolagent.catalog.similar import similar
from metatoolagent.catalog.text import normalised
from metatoolagent.errors import Finding, raise_findings, shown

READ = ["question_id", "tool", "question", "part"]
"""The columns of questions that the gate looks at."""

HELD_OUT = pl.col("part") != "train"
COMPARED = [("training", ["train"], ["validation", "test"]), ("test", ["test"], ["validation"])]
"""What a finding calls some parts, these parts, and those that they are held against, whose classes of trigrams lie in memory."""
DOCUMENTED = ("E-UNSEEN-SEEN", "documentation")
FIX = "reword one of the two, or put both tools into the same part"


def check(tools: pl.DataFrame, questions: Chunks, near_duplicate: float) -> None:
    """Refuse a split in which training shares a tool or a text with validation or test, or these two with each other.

    Args:
        tools: name, domain, description and part of every tool.
        questions: the columns `READ` of every question.
        near_duplicate: texts whose character trigrams have at least this Jaccard similarity are the same one.

    Raises:
        UserError: E-SPLIT-LEAK or E-UNSEEN-SEEN; it names the first offenders and counts the rest.
    """
    raise_findings(leaks(tools, questions, near_duplicate), kept=artifacts.KEPT)


def leaks(tools: pl.DataFrame, questions: Chunks, near_duplicate: float) -> list[Finding]:
    """Return every leak; `check` says what is compared."""
    named = tools.select("part", id="name", text=pl.col("name") + " " + pl.col("description"))
    plain = tools.select("part", id="name", text="description")

    def asked() -> Iterator[pl.DataFrame]:
        return (chunk.select("part", id="question_id", text="question") for chunk in questions())

    # A description under another name is the same documentation; one that is short is told by the name beside it as well.
    nearly = _pairs(lambda: [plain], near_duplicate, *DOCUMENTED) + _pairs(lambda: [named], near_duplicate, *DOCUMENTED)
    twins = list({finding.where: finding for finding in nearly}.values())
    return (
        _tools_in_two_parts(tools)
        + _misplaced(tools, questions)
        + twins
        + _pairs(asked, near_duplicate, "E-SPLIT-LEAK", "question")
    )


def _tools_in_two_parts(tools: pl.DataFrame) -> list[Finding]:
    parts = tools.group_by("name", maintain_order=True).agg(pl.col("part").unique().sort())
    split = parts.filter(pl.col("part").list.len() > 1)
    return [
        Finding("E-SPLIT-LEAK", "a tool is in two parts", f"tool {name}", ", ".join(found), "keep one")
        for name, found in split.iter_rows()
    ]


def _misplaced(tools: pl.DataFrame, questions: Chunks) -> list[Finding]:
    seen = (pl.col("part") == "train") & pl.col("tool").is_in(set(tools.filter(HELD_OUT)["name"]))
    what = "a training question has the answer of a tool that is to be unseen"
    fix = "a question belongs to its tool's part"
    return [
        Finding("E-UNSEEN-SEEN", what, f"question {name}", shown(tool), fix)
        for chunk in questions()
        for name, tool in chunk.filter(seen).select("question_id", "tool").iter_rows()
    ]


def _pairs(texts: Chunks, near_duplicate: float, code: str, noun: str) -> list[Finding]:
    """Return the pairs of texts of parts that are `COMPARED` which are nearly the same; columns part, id and text."""
    findings = []
    for name, lefts, rights in COMPARED:
        pairs = similar(partial(_texts, texts, lefts), _texts(texts, rights), near_duplicate)
        ones, others = _rows(texts, lefts, {one for one, _ in pairs}), _rows(texts, rights, {other for _, other in pairs})
        for left, right in pairs:
            (_, one, text), (part, other, said) = ones[left], others[right]
            what = f"a {noun} of {name} {_likeness(text, said)} one of {part}"
            findings.append(Finding(code, what, f"{one} and {other}", f"{shown(text)}, {shown(said)}", FIX))
    return findings


def _of(texts: Chunks, parts: list[str]) -> Iterator[pl.DataFrame]:
    return (chunk.filter(pl.col("part").is_in(parts)) for chunk in texts())


def _texts(texts: Chunks, parts: list[str]) -> Iterator[list[str]]:
    return (chunk["text"].to_list() for chunk in _of(texts, parts))


def _rows(texts: Chunks, parts: list[str], wanted: set[int]) -> dict[int, tuple[str, str, str]]:
    """Return part, id and text of the rows of parts with some numbers, counted through the chunks."""
    found: dict[int, tuple[str, str, str]] = {}
    first = 0
    for chunk in _of(texts, parts) if wanted else []:
        rows = chunk.select("part", "id", "text").with_row_index("number", first).filter(pl.col("number").is_in(wanted))
        found |= {number: (part, name, text) for number, part, name, text in rows.iter_rows()}
        first += len(chunk)
    return found


def _likeness(one: str, other: str) -> str:
    if one == other:
        return "is also"
    return "is in other writing" if normalised(one) == normalised(other) else "is nearly"
