"""Chains: hand-written questions that need two or three tools, in the order in which their calls must be made.

A file `<domain>.yaml` holds the chains whose tools are all of that domain, `mixed.yaml` those across domains.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from metatoolagent.catalog.questions import Tools, check_ask, check_known
from metatoolagent.catalog.rejection import LIST, TEXT, Row
from metatoolagent.catalog.text import normalised
from metatoolagent.catalog.tool import check_hidden
from metatoolagent.strict_yaml import Document

MIXED = "mixed"
"""The file, and the domain in the table, of chains across domains."""

LENGTHS = (2, 3)
FIELDS = {"tools": LIST, "kind": TEXT, "ask": TEXT, "also": LIST}
REQUIRED = {"tools", "kind", "ask"}


def read_chains(document: Document, tools: Tools, unread: Collection[str] = ()) -> list[Row]:
    """Return the chains of one file, each with what is wrong with it; the tools of the domains `unread` could not be read."""
    rows = [Row(document, index) for index in range(len(document.content))]
    for row in rows:
        if row.has_shape(FIELDS, REQUIRED):
            _check(row, tools, unread)
        if not row.rejections:
            row.record = _record(row)
    return rows


def chain_id(question: str) -> str:
    """Return the identity of a chain, which does not depend on the other chains."""
    return f"chain-{hashlib.sha256(question.encode()).hexdigest()[:8]}"


def reject_repeated_chains(chains: Sequence[Row], asked: Mapping[str, str]) -> None:
    """Note each chain whose question another chain before it, or a question of a single tool, has.

    Args:
        chains: the rows.
        asked: where the question of each normalised text stands.
    """
    first = dict(asked)
    for row in chains:
        if not row.record:
            continue
        question = row.record["question"]
        other = first.setdefault(normalised(question), row.where)
        if other != row.where:
            row.reject("E-QA-DUP", f"the question stands twice, first in {other}", "ask", value=question, fix="delete one")


def _record(row: Row) -> dict[str, Any]:
    content = row.content
    question = " ".join(content["ask"].split())
    return {
        "chain_id": chain_id(question),
        "tools": content["tools"],
        "also": sorted(content.get("also", [])),
        "domain": row.document.path.stem,
        "kind": content["kind"],
        "question": question,
    }


def _check(row: Row, tools: Tools, unread: Collection[str]) -> None:
    check_hidden(row, row.content)
    check_ask(row)
    gold: list[Any] = row.content["tools"]
    if len(gold) not in LENGTHS:
        fix = f"{' or '.join(map(str, LENGTHS))}, in the order of their calls"
        row.reject("E-CHAIN-LENGTH", f"a chain of {len(gold)} tools", "tools", value=", ".join(map(str, gold)), fix=fix)
    for key, names in (("tools", gold), ("also", row.content.get("also", []))):
        for index, name in enumerate(names):
            check_known(row, tools, name, key, index, unread=bool(unread))
            if name in names[:index] or (key == "also" and name in gold):
                row.reject("E-QA-ANSWER-TWICE", "a tool stands twice in a chain", key, index, value=name, fix="delete it")
    if not row.rejections:
        _check_file(row, tools)


def _check_file(row: Row, tools: Tools) -> None:
    domains = sorted({tools[name][0] for name in row.content["tools"]})
    stem = domains[0] if len(domains) == 1 else MIXED
    if stem != row.document.path.stem:
        what = f"the tools of the chain are of {', '.join(domains)}"
        row.reject("E-CHAIN-FILE", what, "tools", value=row.document.path.name, fix=f"move it to {stem}.yaml")
