"""The leakage gate: nothing that is tested on may stand in training, under whatever writing."""

from collections.abc import Iterable, Iterator

import polars as pl

from metatoolagent import artifacts
from metatoolagent.catalog.chunks import Chunks
from metatoolagent.catalog.similar import similar
from metatoolagent.catalog.text import normalised
from metatoolagent.errors import Finding, raise_findings, shown

READ = ["question_id", "tool", "question", "part"]
"""The columns of questions that the gate looks at."""

HELD_OUT = pl.col("part") != "train"
DOCUMENTED = ("E-UNSEEN-SEEN", "documentation")
FIX = "reword one of the two, or put both tools into the same part"


def check(tools: pl.DataFrame, questions: Chunks, near_duplicate: float) -> None:
    """Refuse a split in which training shares a tool or a text with validation or test.

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
    """Return the pairs of a training text and a held-out one that are nearly the same; columns part, id and text."""

    def training() -> Iterator[pl.DataFrame]:
        return (chunk.filter(~HELD_OUT) for chunk in texts())

    def held_out() -> Iterator[pl.DataFrame]:
        return (chunk.filter(HELD_OUT) for chunk in texts())

    pairs = similar(lambda: _texts(training()), _texts(held_out()), near_duplicate)
    ones, others = _rows(training(), {one for one, _ in pairs}), _rows(held_out(), {other for _, other in pairs})
    findings = []
    for left, right in pairs:
        (_, one, text), (part, other, said) = ones[left], others[right]
        what = f"a {noun} of training {_likeness(text, said)} one of {part}"
        findings.append(Finding(code, what, f"{one} and {other}", f"{shown(text)}, {shown(said)}", FIX))
    return findings


def _texts(chunks: Iterable[pl.DataFrame]) -> Iterator[list[str]]:
    return (chunk["text"].to_list() for chunk in chunks)


def _rows(chunks: Iterable[pl.DataFrame], wanted: set[int]) -> dict[int, tuple[str, str, str]]:
    """Return part, id and text of the rows with some numbers, counted through the chunks."""
    found: dict[int, tuple[str, str, str]] = {}
    first = 0
    for chunk in chunks if wanted else []:
        rows = chunk.select("part", "id", "text").with_row_index("number", first).filter(pl.col("number").is_in(wanted))
        found |= {number: (part, name, text) for number, part, name, text in rows.iter_rows()}
        first += len(chunk)
    return found


def _likeness(one: str, other: str) -> str:
    if one == other:
        return "is also"
    return "is in other writing" if normalised(one) == normalised(other) else "is nearly"
