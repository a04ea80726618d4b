"""The split: which tools train, which choose settings, and on which nothing is chosen."""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from metatoolagent import artifacts, params, strict_yaml
from metatoolagent.catalog import chunks, schemas
from metatoolagent.errors import Finding, UserError, raise_findings, shown
from metatoolagent.tasks import leakage

HELD_OUT = "hd-"
MIN_TRAINING = 2
"""Training tools that a domain needs, since a choice needs two."""

COLUMNS = ["tool", "part"]


def split(catalog: Path, kind: str, params: params.Split, seed: int, out: Path) -> None:
    """Publish the parts of all tools and questions as `tools.parquet` and `questions.parquet`; the manifest has the kind.

    `sd` and `cd` have the same parts. `hd-<domain>` tests on all tools of a domain, keeps the other domains'
    validation tools, and trains on everything else.

    Args:
        catalog: the folder with the tables of the catalog.
        kind: `sd`, `cd` or `hd-<domain>`.
        params: the list of parts or the shares to draw them by, and the threshold of the leakage gate.
        seed: what the parts are drawn from.
        out: the folder of the artifact.

    Raises:
        UserError: E-SPLIT-KIND, E-SPLIT-LIST, E-SPLIT-SIZE, E-SPLIT-LEAK, E-UNSEEN-SEEN, or an error of the catalog.
    """
    sources = [catalog / "tools.parquet", catalog / "questions.parquet"]
    tools, questions = schemas.read(sources[0], schemas.TOOLS), chunks.read(sources[1], schemas.QUESTIONS)
    parts = parts_of(tools, params, seed)
    if params.tools_list:
        sources.append(Path(params.tools_list))
    table = pl.DataFrame({"tool": list(parts), "part": list(parts.values())})
    tool_parts = _of_kind(tools.join(table, left_on="name", right_on="tool", how="left", maintain_order="left"), kind)
    part_of = tool_parts.select("part", tool="name")
    parted = (chunk.join(part_of, on="tool", how="left", maintain_order="left") for chunk in questions)
    with (
        artifacts.publishing(
            out, ["tools.parquet", "questions.parquet"], producer="split", inputs=sources, extra={"kind": kind}
        ) as paths,
        artifacts.scratch() as folder,
    ):
        schemas.write(tool_parts.select(list(schemas.TOOL_PARTS.columns)), schemas.TOOL_PARTS, paths["tools.parquet"])
        chunks.write(parted, schemas.QUESTION_PARTS, paths["questions.parquet"], folder)
        # What was written is read again for every block of held-out questions, and published if the gate lets it pass.
        leakage.check(tool_parts, lambda: chunks.of(paths["questions.parquet"], leakage.READ), params.near_duplicate)


def parts_of(tools: pl.DataFrame, params: params.Split, seed: int) -> dict[str, str]:
    """Return the part of each tool: from the list that `split.tools_list` names, or drawn where it names none.

    Raises:
        UserError: E-SPLIT-LIST or E-SPLIT-SIZE.
    """
    return read_list(Path(params.tools_list), tools["name"].to_list()) if params.tools_list else draw_parts(tools, params, seed)


def write_list(catalog: Path, params: params.Split, seed: int, path: Path) -> None:
    """Draw the parts anew and write them to the list that `split.tools_list` names.

    Raises:
        UserError: E-SPLIT-SIZE, or an error of the catalog.
    """
    tools = schemas.read(catalog / "tools.parquet", schemas.TOOLS)
    lines = [f"{tool},{part}\n" for tool, part in draw_parts(tools, params, seed).items()]
    with artifacts.atomic_path(path) as temporary:
        temporary.write_text(",".join(COLUMNS) + "\n" + "".join(lines), encoding="utf-8")


def draw_parts(tools: pl.DataFrame, params: params.Split, seed: int) -> dict[str, str]:
    """Return the part of each tool, drawn within its domain.

    The tools of a domain are ranked by a hash of the seed and their names, so that a tool that is added or deleted
    hardly moves the others. A share above zero has one tool at least.

    Raises:
        UserError: E-SPLIT-SIZE with every domain that too few training tools would be left in.
    """
    parts: dict[str, str] = {}
    small = []
    for (domain,), group in tools.group_by("domain", maintain_order=True):
        names = group["name"].to_list()
        ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
        test, validation = (max(1, round(len(names) * share)) if share else 0 for share in (params.test, params.validation))
        if len(names) - test - validation < MIN_TRAINING:
            what = f"the domain {domain} has {len(names)} tools; {test} for test and {validation} for validation leave too few"
            fix = "add tools, lower split.test and split.validation, or set one to 0"
            small.append(Finding("E-SPLIT-SIZE", what, f"domain {domain}", fix=fix))
        drawn = ["test"] * test + ["validation"] * validation + ["train"] * len(names)
        part_of = dict(zip(ranked, drawn, strict=False))
        parts |= {name: part_of[name] for name in names}
    raise_findings(small, kept=artifacts.KEPT)
    return parts


def read_list(path: Path, tools: list[str]) -> dict[str, str]:
    """Return the part of each tool from a CSV file with the columns tool and part.

    Raises:
        UserError: E-MISSING, an error of `strict_yaml.read_text` for a file that is no text, or E-SPLIT-LIST with all that is
            wrong with every line and every tool that is missing.
    """
    if not path.exists():
        fix = f'write it: mta split-list --out {path}, or set split.tools_list: "" to draw the parts'
        raise UserError("E-MISSING", "the list of parts is not there", str(path), fix=fix, kept=artifacts.KEPT)
    reader = csv.reader(_text(path).splitlines())
    fix = f'correct it, set split.tools_list: "" to draw the parts, or write the list anew with: mta split-list --out {path}'
    try:
        rows = list(reader)
    except csv.Error as error:  # a quote that is never closed makes one field of the rest of the file
        raise UserError("E-SPLIT-LIST", f"not CSV: {error}", f"{path}:{reader.line_num}", "", fix, artifacts.KEPT) from None
    if not rows or rows[0] != COLUMNS:
        raise UserError("E-SPLIT-LIST", "the first line must be tool,part", f"{path}:1", shown(rows[:1]), fix, artifacts.KEPT)
    parts: dict[str, str] = {}
    findings = []
    known, named = set(tools), set[str]()
    for number, row in enumerate(rows[1:], start=2):
        faults = list(_list_faults(row, named, known))
        findings += [Finding("E-SPLIT-LIST", fault, f"{path}:{number}", shown(",".join(row)), fix) for fault in faults]
        if not faults:
            parts[row[0]] = row[1]
        named.update(row[:1])
    missing = [name for name in tools if name not in named]
    findings += [
        Finding("E-SPLIT-LIST", "a tool of the catalog is not in the list", str(path), shown(name), fix) for name in missing
    ]
    raise_findings(findings, kept=artifacts.KEPT)
    return parts


def _text(path: Path) -> str:
    try:
        return strict_yaml.read_text(path)
    except UserError as error:
        fix = "name the list itself in split.tools_list; mta split-list --out FILE.csv writes one"
        if error.code in {"E-ENCODING", "E-CONTROL-CHAR"}:  # of the others, what to do is said of a YAML file
            fix += f"; if this file is it: {error.fix}"
        what = f"a list of parts is expected, CSV with the columns {','.join(COLUMNS)}, and this is none: {error.what}"
        raise UserError(error.code, what, error.where, error.got, fix, artifacts.KEPT) from None


def _list_faults(row: list[str], named: set[str], known: set[str]) -> Iterator[str]:
    """Yield what is wrong with a line, after those that named these tools."""
    if len(row) != len(COLUMNS):
        yield "a line must hold a tool and its part"
        return
    tool, part = row
    if tool not in known:
        yield "not a tool of the catalog"
    if tool in named:
        yield "a tool stands twice"
    if part not in schemas.PARTS:
        yield f"not a part; one of {', '.join(schemas.PARTS)}"


def _of_kind(tools: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Return the tools with the parts of a kind of split, refusing one without training or test tools."""
    if kind not in {"sd", "cd"}:
        domains = tools["domain"].unique().sort().to_list()
        if not kind.startswith(HELD_OUT) or kind.removeprefix(HELD_OUT) not in domains:
            known = ", ".join(["sd", "cd", *(HELD_OUT + domain for domain in domains)])
            raise UserError("E-SPLIT-KIND", "unknown kind of split", "", shown(kind), f"one of {known}", artifacts.KEPT)
        elsewhere = pl.when(pl.col("part") == "validation").then(pl.lit("validation")).otherwise(pl.lit("train"))
        held_out = pl.col("domain") == kind.removeprefix(HELD_OUT)
        tools = tools.with_columns(part=pl.when(held_out).then(pl.lit("test")).otherwise(elsewhere))
    sizes = Counter(tools["part"].to_list())
    if sizes["train"] < MIN_TRAINING or not sizes["test"]:
        told = ", ".join(f"{part} {sizes[part]}" for part in schemas.PARTS)
        fix = "add tools or domains, or move tools between the parts"
        raise UserError("E-SPLIT-SIZE", "too few tools to train or to test on", f"split {kind}", told, fix, artifacts.KEPT)
    return tools
