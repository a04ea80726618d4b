"""Questions in the terminal: the tools of a catalog by how probable each one's documentation makes them.

With the adapter of method `channel` this is the selector that the project measures as its best; without one it is `likelihood`.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from metatoolagent.artifacts import entry, verify
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.evaluation.job import Job
from metatoolagent.reporting.show import printable

if TYPE_CHECKING:
    from metatoolagent.evaluation.language import Language

NEAR = 3
"""Names that are suggested for one that is not there."""
TOGETHER = 16
"""Questions that are read behind a tool's documentation in one pass."""


@dataclass(frozen=True)
class Ranked:
    """A tool and how well it fits."""

    name: str
    description: str
    probability: float
    """Of the tool given the question, if one of those ranked is right and all are as likely before."""
    log_probability: float
    """Of the question after the tool's documentation, in nats."""


def check(questions: Sequence[str], job: Job, tools: Sequence[str], domain: str | None) -> list[str]:
    """Return the names of the tools to rank, once all that can be known without the model is known to be right.

    Args:
        questions: what users ask.
        job: method `channel` with its adapter, or `likelihood`; its tasks are not read.
        tools: names to rank; none for all of the domain.
        domain: of the catalog; None for the whole.

    Raises:
        UserError: E-QUESTION for a question that is blank or no UTF-8; E-TOOL or E-DOMAIN for a name that the catalog does not
            have; E-CORRUPT or E-MISSING for inputs, of which those of the model are only there or not.
    """
    if not questions:
        what, fix = "there is no question", "name what a user would ask"
        raise UserError("E-QUESTION", what, "standard input", fix=fix, exit_code=Exit.PARAMS)
    for number, question in enumerate(questions, 1):
        where = f"question {number} of {len(questions)}"
        if not question.strip():
            what, fix = "the question is blank", "name what a user would ask"
            raise UserError("E-QUESTION", what, where, shown(question), fix, exit_code=Exit.PARAMS)
        if question.encode("utf-8", "replace").decode() != question:
            what, fix = "the question is no UTF-8", "give it in this encoding"
            raise UserError("E-QUESTION", what, where, shown(question), fix, exit_code=Exit.PARAMS)
    names = chosen(_domains(job.catalog), tools, domain)
    entry(job.catalog / "questions.parquet")
    for name in ("config.json", "model.safetensors"):
        entry(job.model / name)
    if job.weights:
        entry(job.weights / "adapter_model.safetensors")
    return names


def rank(questions: Sequence[str], job: Job, names: Sequence[str]) -> list[list[Ranked]]:
    """Return for each question the tools by their fit, the best first; ties in the order of names.

    Args:
        questions: what users ask.
        job: as `check` takes it.
        names: of the tools, as `check` gives them.

    Raises:
        UserError: E-MARKER, E-CTX; E-CORRUPT or E-MISSING for inputs, and those of the model.
    """
    import torch

    from metatoolagent.evaluation.language import load

    language = load(job)
    rows = [{"question_id": shown(question), "question": question, "position": 0} for question in questions]
    groups = [rows[first : first + TOGETHER] for first in range(0, len(rows), TOGETHER)]
    shown_names = tqdm(names, desc="rank", unit="tool", leave=False, disable=None)
    nats_CQ = torch.tensor([_likelihoods(language, name, groups) for name in shown_names], dtype=torch.float64)
    descriptions = [language.renderer.tools[name]["description"] for name in names]
    found = []
    for shares, nats in zip(nats_CQ.softmax(0).T.tolist(), nats_CQ.T.tolist(), strict=True):
        ranked = [Ranked(*columns) for columns in zip(names, descriptions, shares, nats, strict=True)]
        found.append(sorted(ranked, key=lambda one: (-one.log_probability, one.name)))
    return found


def _likelihoods(language: "Language", name: str, groups: Sequence[Sequence[dict[str, Any]]]) -> list[float]:
    """Return the log-probability of each question after the documentation of a tool, in nats."""
    from metatoolagent.evaluation.methods.likelihood import likelihoods

    try:
        found = [likelihoods(language, [row | {"candidates": [name]} for row in group]) for group in groups]
    except UserError as error:
        if error.code != "E-CTX":
            raise
        fix = "shorten its documentation, or the question"
        raise UserError(error.code, error.what, f"tool {name}", fix=fix, exit_code=error.exit_code) from None
    return [value for scores_QC in found for value in scores_QC[:, 0].tolist()]


def _domains(catalog: Path) -> dict[str, str]:
    """Return the domain of each tool of a catalog."""
    tools = pl.read_parquet(verify(catalog / "tools.parquet"), columns=["name", "domain"])
    return dict(tools.iter_rows())


def chosen(known: Mapping[str, str], tools: Sequence[str], domain: str | None) -> list[str]:
    """Return the names to rank, in order, of the known ones with their domains; arguments and errors as `check`."""
    for name in tools:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=NEAR, cutoff=0)
            raise _unknown("tool", "only", name, near)
    domains = sorted(set(known.values()))
    if domain is not None and domain not in domains:
        raise _unknown("domain", "domain", domain, domains)
    names = sorted({name for name in tools or known if domain in (None, known[name])})
    if not names:
        what, where = "none of the tools is of the domain", "options --only and --domain"
        raise UserError("E-TOOL", what, where, shown(domain), "leave one of them out", exit_code=Exit.PARAMS)
    return names


def _unknown(what: str, option: str, name: str, instead: Sequence[str]) -> UserError:
    fix = f"name one such as {', '.join(instead)}"
    return UserError(
        f"E-{what.upper()}", f"there is no such {what}", f"option --{option}", shown(name), fix, exit_code=Exit.PARAMS
    )


def show(questions: Sequence[str], found: Sequence[Sequence[Ranked]], top: int) -> None:
    """Print the best tools for each question, a row each."""
    console = Console()
    for question, ranked in zip(questions, found, strict=True):
        table = Table("", "tool", "probability", "log p(question)", "description")
        for place, one in enumerate(ranked[:top], 1):
            cells = [str(place), one.name, f"{one.probability:.1%}", f"{one.log_probability:.1f}", one.description]
            table.add_row(*(Text(printable(cell)) for cell in cells))
        if len(questions) > 1:
            console.print(Text(printable(question)))
        console.print(table)
        console.print(f"{len(ranked)} tools ranked; the probability is among these.")


def as_json(question: str, ranked: Sequence[Ranked], top: int) -> str:
    """Return the best tools for a question as one line of JSON."""
    tools = [{"name": one.name, "probability": one.probability, "log_probability": one.log_probability} for one in ranked[:top]]
    return json.dumps({"question": question, "ranked": len(ranked), "tools": tools})
