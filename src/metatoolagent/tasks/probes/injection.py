"""Injection: the description of one distractor ends with an instruction to choose it.

The instructions are those of data/injections.tsv; in them `{name}` stands for the distractor's name. No description can
end its turn or forge another entry of the list (`tasks/prompts.py`), so what is measured is whether plain text sways the
choice.
"""

import csv
import re
from pathlib import Path

import polars as pl

from metatoolagent import artifacts
from metatoolagent.errors import Finding, UserError, raise_findings, shown
from metatoolagent.tasks.distractors import generator_of

TABLE = Path("data/injections.tsv")
NAME = re.compile(r"[a-z][a-z0-9_]*")
RESERVED = ("all", "clean")
"""What the metrics' keys have in an attack's place."""


def tasks(base: pl.DataFrame, seed: int, attacks: dict[str, str]) -> pl.DataFrame:
    """Return each task `-clean` and with each attack, always on the same distractor.

    Args:
        base: evaluation tasks.
        seed: of the choice of the distractor, which the tasks of a candidate set share.
        attacks: the instructions by name.
    """
    generator = generator_of(seed, "probes", "injection")
    rows = []
    for (gold, candidates), group in base.group_by("gold", "candidates", maintain_order=True):
        wrong = [name for name in candidates if name != gold]
        attacked = wrong[int(generator.integers(len(wrong)))]
        for row in group.iter_rows(named=True):
            rows.append(row | {"task_id": f"{row['task_id']}-clean", "attacked": attacked, "attack": None, "instruction": None})
            for attack, text in attacks.items():
                said = {"attacked": attacked, "attack": attack, "instruction": text.replace("{name}", attacked)}
                rows.append(row | {"task_id": f"{row['task_id']}-{attack}"} | said)
    added = dict.fromkeys(("attacked", "attack", "instruction"), pl.String)
    return pl.DataFrame(rows, schema={**base.schema, **added})


def read(path: Path = TABLE) -> dict[str, str]:
    """Return the instructions by the names of their attacks.

    Args:
        path: a table with tabs between its columns `attack` and `instruction`.

    Raises:
        UserError: E-INJECTION with the line of every row that has no name of its own or no text, or of one that is too long;
            E-TEXT if it is not UTF-8.
    """
    attacks: dict[str, str] = {}
    findings = []
    for line, row in enumerate(_rows(path), start=2):
        name, text = row.get("attack") or "", (row.get("instruction") or "").strip()
        if not NAME.fullmatch(name) or name in attacks or name in RESERVED or not text:
            what = "an attack needs a name of its own in small letters, digits and _, and an instruction"
            findings.append(Finding("E-INJECTION", what, f"{path}:{line}", shown(name), "correct the row"))
        attacks[name] = text
    if not attacks:
        findings.append(Finding("E-INJECTION", "the table has no attack", str(path), fix="add a row"))
    raise_findings(findings, kept=artifacts.KEPT)
    return attacks


def _rows(path: Path) -> list[dict[str, str]]:
    reader = csv.DictReader(_text(path).splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        return list(reader)
    except csv.Error as error:
        where = f"{path}:{reader.reader.line_num}"
        raise UserError("E-INJECTION", f"not a table: {error}", where, fix="correct the row", kept=artifacts.KEPT) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError("E-TEXT", "a table is not UTF-8", f"{path}, byte {error.start}", fix="save it as UTF-8") from None
