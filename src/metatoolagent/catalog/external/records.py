"""What a reader makes of a benchmark: tools, questions, published names, and every row that is left out."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metatoolagent.catalog.chains import MIXED, chain_id
from metatoolagent.catalog.questions import frame_id
from metatoolagent.catalog.tool import canonical

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""Names that the common interfaces for calling functions take; a published one of this form stays as it is."""

LONGEST = 64
Record = dict[str, Any]


class Place(NamedTuple):
    """Where a row stands: the file as data/sources.tsv names it, and the line or the path of the entry."""

    file: str
    row: str


@dataclass
class Benchmark:
    """The rows of a benchmark's tables, and the number of rows that were read for each."""

    read: Counter[str] = field(default_factory=Counter)
    tools: list[Record] = field(default_factory=list)
    questions: list[Record] = field(default_factory=list)
    chains: list[Record] = field(default_factory=list)
    published: list[Record] = field(default_factory=list)
    excluded: list[Record] = field(default_factory=list)
    unmarked: int = 0
    """Questions that were published with marks of their format in the text, and are kept without."""

    def add_tool(
        self, place: Place, name: str, published: str, domain: str, description: str, parameters: Mapping[str, Any]
    ) -> None:
        """Keep a tool; `name` is what it is called here, `published` what its benchmark calls it."""
        text = " ".join(description.split())
        self.tools.append({"name": name, "domain": domain, "description": text, "parameters": canonical(parameters)})
        self.published.append({"name": name, "published": published, **place._asdict()})

    def add_question(
        self, place: Place, tool: Record, also: Iterable[str], published: str, arguments: object, asked: str | None = None
    ) -> None:
        """Keep a question, unless its tool has the same one already; `asked` is its text, where that is not the published one."""
        identity = frame_id(tool["name"], " ".join(published.split()))
        text = " ".join((published if asked is None else asked).split())
        if any(row["frame_id"] == identity for row in self.questions):
            self.exclude(place, "question", "E-QA-DUP", f"the tool {tool['name']} has the same question already")
            return
        self.questions.append(
            {
                "question_id": f"{identity}-1",
                "frame_id": identity,
                "tool": tool["name"],
                "also": sorted(set(also) - {tool["name"]}),
                "domain": tool["domain"],
                "kind": None,
                "question": text,
                "arguments": canonical(arguments),
            }
        )

    def add_chain(self, place: Place, tools: Sequence[Record], also: Iterable[str], question: str) -> None:
        """Keep a question that several tools answer, in the published order, unless it stands there already."""
        text = " ".join(question.split())
        names = [tool["name"] for tool in tools]
        if any(row["question"] == text for row in self.chains):
            self.exclude(place, "chain", "E-QA-DUP", "the question stands twice")
            return
        domains = {tool["domain"] for tool in tools}
        self.chains.append(
            {
                "chain_id": chain_id(text),
                "tools": names,
                "also": sorted(set(also) - set(names)),
                "domain": domains.pop() if len(domains) == 1 else MIXED,
                "kind": None,
                "question": text,
            }
        )

    def exclude(self, place: Place, table: str, code: str, reason: str) -> None:
        """Leave a row out, and note why."""
        self.excluded.append({**place._asdict(), "table": table, "code": code, "reason": reason})

    def check_counts(self) -> None:
        """Make sure that every row that was read is kept or excluded."""
        for table, kept in (("tool", len(self.tools)), ("question", len(self.questions)), ("chain", len(self.chains))):
            out = sum(row["table"] == table for row in self.excluded)
            assert self.read[table] == kept + out, f"{self.read[table]} {table} rows in, {kept} kept, {out} excluded"


def slug(text: str) -> str:
    """Return text as a name of our own form: small letters, digits and single underscores, a letter first."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return name if name[:1].isalpha() else f"api_{name}"


def unique_names(wanted: Mapping[str, str]) -> dict[str, str]:
    """Return a name for each published identity, the same ones every time.

    Args:
        wanted: the name that each identity would like. One that is no valid name, or that several identities would
            like, gets the first 8 hexadecimal digits of the identity's SHA-256 behind it.
    """
    counts = Counter(wanted.values())
    names = dict(wanted)
    for identity, name in wanted.items():
        if counts[name] > 1 or not NAME.fullmatch(name):
            digits = hashlib.sha256(identity.encode()).hexdigest()[:8]
            names[identity] = f"{slug(name)[: LONGEST - 9]}_{digits}"
    assert len(set(names.values())) == len(names), "two tools got one name"
    return names
