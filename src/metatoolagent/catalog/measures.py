"""The dataset, measured: counts, lengths, variety, difficulty and the agreement of the blind review."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from metatoolagent import artifacts, strict_yaml
from metatoolagent.catalog.check import Dataset, kept, near_duplicates, require_folders
from metatoolagent.catalog.difficulty import difficulty
from metatoolagent.catalog.ingest import causes_first, read_sources
from metatoolagent.catalog.limits import Limits
from metatoolagent.catalog.schemas import KINDS
from metatoolagent.catalog.text import normalised
from metatoolagent.catalog.wording import words
from metatoolagent.errors import UserError, raise_findings, shown

BIN = 5
"""Words that one bar of the length histogram spans."""

REVIEW_COLUMNS = ["domain", "frame_id", "gold", "reader", "second", "rewritten"]
Measures = dict[str, Any]


def write(folder: Path) -> None:
    """Measure the dataset of a folder, print a table, and write `measures.json` there.

    Raises:
        UserError: the first fault that ingestion refuses, E-EMPTY without tools or questions, E-REVIEW, or those of
            `require_folders`.
    """
    require_folders(folder)
    sources = read_sources(folder / "tools", folder / "questions")
    raise_findings([finding.finding() for finding in causes_first(sources.rejections)], kept=artifacts.KEPT)
    dataset = kept(sources)
    if not dataset.questions:  # without tools there are none either
        fix = "add <domain>.yaml to tools/ and to questions/"
        raise UserError("E-EMPTY", "there is no question to measure", str(folder), fix=fix, kept=artifacts.KEPT)
    measures = measure(dataset, Limits())
    if (folder / "review.csv").is_file():
        measures["review"] = review(folder / "review.csv")
    with artifacts.atomic_path(folder / "measures.json") as path:
        path.write_text(artifacts.canonical_json(measures), encoding="utf-8")
    Console().print(table(measures))


def measure(dataset: Dataset, limits: Limits) -> Measures:
    """Return the measurements of tools and questions, shares rounded to four decimals."""
    tools, questions = dataset.tables()
    frames = questions.unique("frame_id")
    near = near_duplicates(dataset, limits.near_duplicate)
    return {
        "counts": {"domains": tools["domain"].n_unique(), **_counts(tools, frames, questions)},
        "by_domain": {
            domain: _counts(*(rows.filter(pl.col("domain") == domain) for rows in (tools, frames, questions)))
            for domain in tools["domain"].unique().sort()
        },
        "by_kind": {kind: int((questions["kind"] == kind).sum()) for kind in KINDS},
        "by_tool": dict(sorted(Counter(questions["tool"]).items())),
        "words": _lengths(questions["question"].to_list()),
        "unique_questions": _share(len({normalised(text) for text in questions["question"]}), len(questions)),
        "distinct_3": distinct(questions["question"].to_list(), 3),
        "near_duplicates": {
            "pairs": len(near),
            "share": _share(len({row.record["question_id"] for pair in near for row in pair}), len(questions)),
        },
        "difficulty": _difficulty(difficulty(tools, questions, limits.distractors), limits),
    }


def distinct(texts: list[str], n: int) -> float:
    """Return the share of different ones among all runs of n words within the texts."""
    runs = [tuple(tokens[i : i + n]) for tokens in map(words, texts) for i in range(len(tokens) - n + 1)]
    return _share(len(set(runs)), len(runs))


def review(path: Path) -> Measures:
    """Return the agreement of a reader, who saw question and tools but no answer, with the author.

    Raises:
        UserError: E-REVIEW if the columns are not those of a review, or it is not CSV.
    """
    reader = csv.DictReader(strict_yaml.read_text(path).splitlines())
    try:
        rows = list(reader)
    except csv.Error as error:  # a quote that is never closed makes one field of the rest of the file
        where = f"{path}:{reader.reader.line_num}"
        raise UserError("E-REVIEW", f"not CSV: {error}", where, fix="close the quote", kept=artifacts.KEPT) from None
    if not rows or list(rows[0]) != REVIEW_COLUMNS:
        raise UserError("E-REVIEW", f"the columns must be {','.join(REVIEW_COLUMNS)}", f"{path}:1", shown(rows[:1]))
    by_domain = {}
    for domain in sorted({row["domain"] for row in rows}):
        by_domain[domain] = _agreement([row for row in rows if row["domain"] == domain])
    return {**_agreement(rows), "by_domain": by_domain}


def _agreement(rows: list[dict[str, str]]) -> Measures:
    agreed = sum(row["reader"] == row["gold"] for row in rows)
    return {
        "read": len(rows),
        "agreed": agreed,
        "agreement": _share(agreed, len(rows)),
        "second_answer": sum(bool(row["second"]) for row in rows),
        "rewritten_since": sum(row["rewritten"] == "yes" for row in rows),
    }


def _counts(tools: pl.DataFrame, frames: pl.DataFrame, questions: pl.DataFrame) -> Measures:
    return {"tools": len(tools), "frames": len(frames), "questions": len(questions)}


def _lengths(questions: list[str]) -> Measures:
    lengths = np.array([len(question.split()) for question in questions])
    bars = Counter((length - 1) // BIN for length in lengths.tolist())
    histogram = {f"{bar * BIN + 1}-{(bar + 1) * BIN}": bars[bar] for bar in range(max(bars) + 1)}
    return {"mean": round(float(lengths.mean()), 2), "median": float(np.median(lengths)), "histogram": histogram}


def _difficulty(chances: pl.DataFrame, limits: Limits) -> Measures:
    names = list(limits.chances)
    by_tool = chances.group_by("tool").agg(pl.col(names).mean())
    means, most = chances.select(names).mean().row(0, named=True), by_tool.select(names).max().row(0, named=True)
    return {
        "distractors": limits.distractors,
        "chance": round(1 / (limits.distractors + 1), 4),
        **{name: {"mean": round(means[name], 4), "easiest_tool": round(most[name], 4)} for name in names},
    }


def _share(part: int, whole: int) -> float:
    return round(part / max(whole, 1), 4)


def table(measures: Measures) -> Table:
    """Return the figures that a reader looks for first."""
    out = Table("measure", "value", title="The dataset")
    for name, value in measures["counts"].items():
        out.add_row(name, f"{value:,}")
    for kind, value in measures["by_kind"].items():
        out.add_row(f"questions of kind {kind}", f"{value:,}")
    for bar, value in measures["words"]["histogram"].items():
        out.add_row(f"questions of {bar} words", f"{value:,}")
    out.add_row("unique questions", f"{measures['unique_questions']:.2%}")
    out.add_row("distinct-3", f"{measures['distinct_3']:.2%}")
    out.add_row("near duplicates between frames", f"{measures['near_duplicates']['share']:.2%}")
    for name in Limits().chances:
        found = measures["difficulty"][name]
        out.add_row(f"found by {name}", f"{found['mean']:.1%} (easiest tool {found['easiest_tool']:.1%})")
    if "review" in measures:
        found = measures["review"]
        out.add_row("first agreement of the blind review", f"{found['agreed']:,} of {found['read']:,} ({found['agreement']:.2%})")
    return out
