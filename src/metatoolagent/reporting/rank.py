"""A question in the terminal: the tools of a catalog by how probable each one's documentation makes it.

With the adapter of method `channel` this is the selector that the project measures as its best; without one it is `likelihood`.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from metatoolagent.artifacts import entry, verify
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.evaluation.job import Job
from metatoolagent.reporting.show import printable

NEAR = 3
"""Names that are suggested for one that is not there."""


@dataclass(frozen=True)
class Ranked:
    """A tool and how well it fits."""

    name: str
    description: str
    probability: float
    """Of the tool given the question, if one of those ranked is right and all are as likely before."""
    log_probability: float
    """Of the question after the tool's documentation, in nats."""


def check(question: str, job: Job, tools: Sequence[str], domain: str | None) -> list[str]:
    """Return the names of the tools to rank, once all that can be known without the model is known to be right.

    Args:
        question: what a user asks.
        job: method `channel` with its adapter, or `likelihood`; its tasks are not read.
        tools: names to rank; none for all of the domain.
        domain: of the catalog; None for the whole.

    Raises:
        UserError: E-QUESTION for a blank question; E-TOOL or E-DOMAIN for a name that the catalog does not have; E-CORRUPT or
            E-MISSING for inputs, of which those of the model are only there or not.
    """
    if not question.strip():
        fix = "name what a user would ask"
        raise UserError("E-QUESTION", "the question is blank", "argument QUESTION", shown(question), fix, exit_code=Exit.PARAMS)
    names = chosen(_domains(job.catalog), tools, domain)
    entry(job.catalog / "questions.parquet")
    for name in ("config.json", "model.safetensors"):
        entry(job.model / name)
    if job.weights:
        entry(job.weights / "adapter_model.safetensors")
    return names


def rank(question: str, job: Job, names: Sequence[str]) -> list[Ranked]:
    """Return tools by their fit, the best first; ties in the order of names.

    Args:
        question: what a user asks.
        job: as `check` takes it.
        names: of the tools, as `check` gives them.

    Raises:
        UserError: E-MARKER, E-CTX; E-CORRUPT or E-MISSING for inputs, and those of the model.
    """
    import torch

    from metatoolagent.evaluation.language import load
    from metatoolagent.evaluation.methods.likelihood import likelihoods

    language = load(job)
    row = {"question_id": shown(question), "question": question, "position": 0}
    nats = [
        likelihoods(language, [row | {"candidates": [name]}]).item()
        for name in tqdm(names, desc="rank", unit="tool", leave=False, disable=None)
    ]
    log_share = torch.tensor(nats, dtype=torch.float64).log_softmax(0).tolist()
    found = [
        Ranked(name, language.renderer.tools[name]["description"], exp(share), value)
        for name, share, value in zip(names, log_share, nats, strict=True)
    ]
    return sorted(found, key=lambda one: (-one.log_probability, one.name))


def _domains(catalog: Path) -> dict[str, str]:
    """Return the domain of each tool of a catalog."""
    tools = pl.read_parquet(verify(catalog / "tools.parquet"), columns=["name", "domain"])
    return dict(tools.iter_rows())


def chosen(known: Mapping[str, str], tools: Sequence[str], domain: str | None) -> list[str]:
    """Return the names to rank, in order, of the known ones with their domains; arguments and errors as `check`."""
    for name in tools:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=NEAR, cutoff=0)
            raise _unknown("tool", name, near)
    domains = sorted(set(known.values()))
    if domain is not None and domain not in domains:
        raise _unknown("domain", domain, domains)
    names = sorted({name for name in tools or known if domain in (None, known[name])})
    if not names:
        what, where = "none of the tools is of the domain", "options --tool and --domain"
        raise UserError("E-TOOL", what, where, shown(domain), "leave one of them out", exit_code=Exit.PARAMS)
    return names


def _unknown(what: str, name: str, instead: Sequence[str]) -> UserError:
    fix = f"name one such as {', '.join(instead)}"
    return UserError(
        f"E-{what.upper()}", f"the catalog has no such {what}", f"option --{what}", shown(name), fix, exit_code=Exit.PARAMS
    )


def show(found: Sequence[Ranked], top: int) -> None:
    """Print the best tools, a row each."""
    table = Table("", "tool", "probability", "log p(question)", "description")
    for place, one in enumerate(found[:top], 1):
        cells = [str(place), one.name, f"{one.probability:.1%}", f"{one.log_probability:.1f}", one.description]
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = Console()
    console.print(table)
    console.print(f"{len(found)} tools ranked; the probability is among these.")
