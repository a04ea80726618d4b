"""The leakage gate: nothing that is tested on may stand in training, under whatever writing.

Comparing every training text with every held-out one grows with the square of the questions. Two sets x and y whose Jaccard
similarity is at least t share at least t |x| members, so with the members of all sets in one order, the first
|x| - ceil(t |x|) + n members of x and as many of y have n in common (prefix filtering: Chaudhuri, Ganti and Kaushik, A primitive
operator for similarity joins in data cleaning, ICDE 2006; with n above 1: Wang, Li and Feng, Can we beat the prefix filtering?,
SIGMOD 2012). With the rarest trigrams first, few pairs of texts do, and those alone are compared in full. What is left of
the square is the count of rare trigrams in common.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from metatoolagent import artifacts
from metatoolagent.catalog.text import normalised
from metatoolagent.errors import Finding, raise_findings, shown

CHUNK = 2**12
"""Texts that are handled at once, which bounds the memory beside the trigrams themselves."""

PAIRS = 2**24
"""Pairs of texts whose prefixes are compared at once."""

SHARED = 8
"""Trigrams that the prefixes of similar texts have in common, n above: more leave fewer pairs, and longer prefixes."""

MARGIN = 1e-6
"""Against a product that is rounded past a whole number: the filters let a pair too many through, never one too few."""

CHARACTER = 21
"""Bits of a code point and one more, so that 0 means no character; three of them are a trigram's number."""

Sets: TypeAlias = Any  # scipy.sparse.csr_array of int32, one set a row; scipy has no types that are checked here
Longs = NDArray[np.int64]

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


def similar_pairs(left: list[str], right: list[str], threshold: float) -> list[tuple[int, int]]:
    """Return the pairs (index in `left`, index in `right`) whose trigrams have at least this Jaccard similarity, in order."""
    if not left or not right:
        return []
    one, other = _trigrams(left, right)
    prefixes = _prefixes(other, threshold).T.tocsr()
    chunk = max(1, min(CHUNK, PAIRS // len(right)))
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(left), chunk):
        rows = one[start : start + chunk]
        found = (_prefixes(rows, threshold) @ prefixes).tocoo()
        place, column = _of_like_size(rows, other, found, threshold)
        size, size_other = np.diff(rows.indptr)[place], np.diff(other.indptr)[column]
        shared = rows[place].multiply(other[column]).sum(axis=1)
        near = shared >= threshold * (size + size_other - shared)
        pairs += zip((start + place[near]).tolist(), column[near].tolist(), strict=True)
    return sorted(pairs)


def _of_like_size(one: Sets, other: Sets, found: Any, threshold: float) -> tuple[Longs, Longs]:
    """Return the rows and columns of `found`, the counts of what prefixes share, that can be of similar sets."""
    size, size_other = np.diff(one.indptr)[found.row], np.diff(other.indptr)[found.col]
    larger = np.maximum(size, size_other)
    enough = (found.data >= np.minimum(SHARED, threshold * larger - MARGIN)) & (
        np.minimum(size, size_other) >= threshold * larger
    )
    return found.row[enough], found.col[enough]


def _prefixes(sets: Sets, threshold: float) -> Sets:
    """Return of each set its rarest members, of which a similar set has `SHARED` among its own, or all that the two share."""
    size = np.diff(sets.indptr)
    length = np.minimum(size, size - np.ceil(threshold * size - MARGIN).astype(np.int64) + SHARED)
    place = np.arange(sets.nnz) - np.repeat(sets.indptr[:-1], size)
    kept = place < np.repeat(length, size)
    starts = np.r_[0, np.cumsum(length)].astype(sets.indptr.dtype)
    return sparse.csr_array((sets.data[kept], sets.indices[kept], starts), shape=sets.shape)


def _trigrams(left: list[str], right: list[str]) -> tuple[Sets, Sets]:
    """Return the trigrams of each text, one row a text, numbered from the rarest to the most common."""
    known, count = np.empty(0, np.int64), np.empty(0, np.int64)
    for _, numbers in chain(_codes(left), _codes(right)):
        every, place = np.unique(np.r_[known, numbers], return_inverse=True)
        total = np.bincount(place[len(known) :], minlength=len(every))
        total[place[: len(known)]] += count
        known, count = every, total
    rank = np.empty(len(known), np.int64)
    rank[np.lexsort((known, count))] = np.arange(len(known))
    return _ranked(left, known, rank), _ranked(right, known, rank)


def _ranked(texts: list[str], known: Longs, rank: Longs) -> Sets:
    columns, sizes = [], [np.zeros(1, np.int64)]
    for owner, numbers in _codes(texts):
        key = np.sort(owner * len(known) + rank[np.searchsorted(known, numbers)])
        columns.append((key % len(known)).astype(np.int32))
        sizes.append(np.bincount(owner))
    indices = np.concatenate(columns)
    return sparse.csr_array(
        (np.ones(len(indices), np.int32), indices, np.cumsum(np.concatenate(sizes))), shape=(len(texts), len(known))
    )


def _codes(texts: list[str]) -> Iterator[tuple[Longs, Longs]]:
    """Yield chunk by chunk the trigrams of the texts, each once a text: the text's place in the chunk, and the trigram's number.

    A text of fewer than three characters is one trigram.
    """
    for start in range(0, len(texts), CHUNK):
        chunk = [normalised(text) for text in texts[start : start + CHUNK]]
        length = np.array([len(text) for text in chunk], np.int64)
        # Behind every text three places without a character.
        padded = "".join(text + "\0\0\0" for text in chunk).encode("utf-32-le", "surrogatepass")
        character = np.frombuffer(padded, np.uint32).astype(np.int64) + 1
        first = np.r_[0, np.cumsum(length + 3)[:-1]]
        ends = (first + length)[:, None] + np.arange(3)
        character[ends.ravel()] = 0
        windows = np.maximum(1, length - 2)
        owner = np.repeat(np.arange(len(chunk)), windows)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(windows) - windows, windows) + first[owner]
        number = character[place] << 2 * CHARACTER | character[place + 1] << CHARACTER | character[place + 2]
        order = np.lexsort((number, owner))
        owner, number = owner[order], number[order]
        new = np.r_[True, (owner[1:] != owner[:-1]) | (number[1:] != number[:-1])]
        yield owner[new], number[new]
