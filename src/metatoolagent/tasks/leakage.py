"""The leakage gate: nothing that is tested on may stand in training, under whatever writing."""

import polars as pl

from metatoolagent import artifacts
from metatoolagent.catalog.similar import similar_pairs
from metatoolagent.catalog.text import normalised
from metatoolagent.errors import Finding, raise_findings, shown

HELD_OUT = pl.col("part") != "train"
FIX = "reword one of the two, or put both tools into the same part"


def check(tools: pl.DataFrame, questions: pl.DataFrame, near_duplicate: float) -> None:
    """Refuse a split in which training shares a tool or a text with validation or test.

    Args:
        tools: name, domain, description and part of every tool.
        questions: question_id, tool, question and part of every question.
        near_duplicate: texts whose character trigrams have at least this Jaccard similarity are the same one.

    Raises:
        UserError: E-SPLIT-LEAK or E-UNSEEN-SEEN; it names the first offenders and counts the rest.
    """
    raise_findings(leaks(tools, questions, near_duplicate), kept=artifacts.KEPT)


def leaks(tools: pl.DataFrame, questions: pl.DataFrame, near_duplicate: float) -> list[Finding]:
    """Return every leak; `check` says what is compared."""
    documents = tools.select("part", id="name", text=pl.col("name") + " " + pl.col("description"))
    asked = questions.select("part", id="question_id", text="question")
    twins = _pairs(documents, near_duplicate, "E-UNSEEN-SEEN", "documentation")
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


def _misplaced(tools: pl.DataFrame, questions: pl.DataFrame) -> list[Finding]:
    held_out = set(tools.filter(HELD_OUT)["name"])
    seen = questions.filter((pl.col("part") == "train") & pl.col("tool").is_in(held_out)).select("question_id", "tool")
    what = "a training question has the answer of a tool that is to be unseen"
    fix = "a question belongs to its tool's part"
    return [Finding("E-UNSEEN-SEEN", what, f"question {name}", shown(tool), fix) for name, tool in seen.iter_rows()]


def _pairs(texts: pl.DataFrame, near_duplicate: float, code: str, noun: str) -> list[Finding]:
    training, held_out = texts.filter(~HELD_OUT), texts.filter(HELD_OUT)
    findings = []
    for left, right in similar_pairs(training["text"].to_list(), held_out["text"].to_list(), near_duplicate):
        one, other = training.row(left, named=True), held_out.row(right, named=True)
        what = f"a {noun} of training {_likeness(one['text'], other['text'])} one of {other['part']}"
        findings.append(
            Finding(code, what, f"{one['id']} and {other['id']}", f"{shown(one['text'])}, {shown(other['text'])}", FIX)
        )
    return findings


def _likeness(one: str, other: str) -> str:
    if one == other:
        return "is also"
    return "is in other writing" if normalised(one) == normalised(other) else "is nearly"
