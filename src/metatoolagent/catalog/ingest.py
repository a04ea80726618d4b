"""Ingestion: two folders of YAML, one file a domain, to checked tables. Every fault of every file is told at once."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import polars as pl

from metatoolagent import artifacts, params, strict_yaml
from metatoolagent.catalog import json_schema, schemas
from metatoolagent.catalog.questions import Tools, read_questions, reject_repeated
from metatoolagent.catalog.rejection import Rejection, Row, Tally, of_file
from metatoolagent.catalog.spool import Spool
from metatoolagent.catalog.tool import read_tools, reject_twins
from metatoolagent.errors import Finding, UserError, raise_findings, warning
from metatoolagent.strict_yaml import Document

DOMAIN = re.compile(r"[a-z][a-z0-9_]*")
UNJUDGED = {"E-QA-TOOL-REJECTED", "E-QA-TOOL-UNREAD"}
"""Codes of answers that nothing can be said of before their tool, or its file, is mended."""
CONSEQUENCES = {"E-DOMAIN-SIZE", *UNJUDGED}
"""Codes that often follow from another rejection, which is to be told first."""

OUTPUTS = ["tools.parquet", "questions.parquet", "rejected.parquet"]


@dataclass
class Sources:
    """What was read: the files with their hashes, the rows, and the files that could not be read."""

    hashes: dict[Path, str] = field(default_factory=dict)
    tools: list[Row] = field(default_factory=list)
    questions: list[Row] = field(default_factory=list)
    chains: list[Row] = field(default_factory=list)
    failed: list[Rejection] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    """The domains whose tools could not be read, or whose questions have no file of tools."""
    homeless: list[Rejection] = field(default_factory=list)
    """One for each file of questions of a domain without a file of tools."""

    @property
    def rejections(self) -> list[Rejection]:
        """Everything that is wrong: files first, then tools, questions and chains."""
        rows = self.tools + self.questions + self.chains
        return self.failed + self.homeless + [rejection for row in rows for rejection in row.rejections]


def ingest(params: params.Ingest, out: Path) -> None:
    """Publish the catalog of two folders as `tools.parquet`, `questions.parquet` and `rejected.parquet`.

    A malformed file is one rejection, since its rows cannot be counted. The questions of one file are in memory at a time; all of
    them lie in a folder of the system's temporary one (TMPDIR) meanwhile.

    Args:
        params: the folders, and whether to go on without the rows that fail.
        out: the folder of the artifact.

    Raises:
        UserError: the first rejection, with all of them in `errors/rejected.parquet`, unless `allow_rejected`;
            E-EMPTY if nothing is left; E-CHANGED if a file changed meanwhile.
    """
    sources = Sources()
    read = _reader(Path(params.tools), Path(params.questions), sources)
    with artifacts.scratch() as folder:
        spool = Spool(folder)
        for rows in _files(Path(params.questions), sources, read):
            spool.add(rows)
        spool.reject_repeated()
        rejections = sources.rejections + spool.rejections
        nothing = not spool.kept or not kept(sources.tools)
        if rejections and (nothing or not params.allow_rejected):
            stop(rejections, out)
        _publish(params, sources, spool, rejections, out)
    errors_of(out).unlink(missing_ok=True)


def _publish(params: params.Ingest, sources: Sources, spool: Spool, rejections: Sequence[Rejection], out: Path) -> None:
    tools = kept(sources.tools)
    if not tools or not spool.kept:
        raise UserError(
            "E-EMPTY",
            f"a catalog needs tools and questions, and has {len(tools)} and {spool.kept}",
            f"{params.tools}, {params.questions}",
            fix="add <domain>.yaml to both folders",
            kept=artifacts.KEPT,
        )
    rejected = sum(bool(row.rejections) for row in sources.tools) + spool.rejected
    tally = Tally(len(sources.tools) + spool.rows, rejected, {"tools": len(tools), "questions": spool.kept})
    with artifacts.publishing(out, OUTPUTS, producer="ingest", inputs=sorted(sources.hashes)) as paths:
        schemas.write(frame_of(tools, schemas.TOOLS), schemas.TOOLS, paths["tools.parquet"])
        spool.write(paths["questions.parquet"])
        schemas.write(rejected_frame(rejections), schemas.REJECTED, paths["rejected.parquet"])
        # The manifest records the hashes of the inputs, so they must still be what was read.
        refuse_changed(sources.hashes)
    warn(rejections, tally, len(sources.failed), out / "rejected.parquet")


def ingest_tools(folder: Path, out: Path) -> None:
    """Publish the tools of a folder as a catalog without questions: tools can be ranked that nobody has asked for yet.

    A domain may have a single tool, since no candidate sets are drawn.

    Args:
        folder: with a file <domain>.yaml for each domain.
        out: the folder of the artifact.

    Raises:
        UserError: E-MISSING or E-NOT-A-FOLDER; the first rejection, with the number of the others; E-EMPTY if there is no tool;
            E-CHANGED if a file changed meanwhile.
    """
    if not folder.is_dir():
        code, what = ("E-NOT-A-FOLDER", "expected a folder") if folder.exists() else ("E-MISSING", "a folder is not there")
        raise UserError(code, what, str(folder), fix="name a folder of files <domain>.yaml with tools")
    sources = Sources()
    sources.tools = read_folder(folder, sources, read_tools)
    reject_twins(sources.tools)
    raise_findings([rejection.finding() for rejection in causes_first(sources.rejections)], kept=artifacts.KEPT)
    if not sources.tools:
        raise UserError("E-EMPTY", "no tool is in the folder", str(folder), fix="add <domain>.yaml to it", kept=artifacts.KEPT)
    tools, questions = frame_of(kept(sources.tools), schemas.TOOLS), frame_of([], schemas.QUESTIONS)
    with artifacts.publishing(out, OUTPUTS[:2], producer="ingest", inputs=sorted(sources.hashes)) as paths:
        schemas.write(tools, schemas.TOOLS, paths["tools.parquet"])
        schemas.write(questions, schemas.QUESTIONS, paths["questions.parquet"])
        refuse_changed(sources.hashes)


def read_sources(tools: Path, questions: Path) -> Sources:
    """Read and check both folders, and hold all their rows; what is wrong stands in the result."""
    sources = Sources()
    sources.questions = read_folder(questions, sources, _reader(tools, questions, sources))
    reject_repeated(sources.questions)
    return sources


def _reader(tools: Path, questions: Path, sources: Sources) -> Callable[[Document], list[Row]]:
    """Read and check the tools of a folder into `sources`; return what reads a file of the folder of questions."""
    sources.tools = read_folder(tools, sources, read_tools)
    # A misnamed file, such as Office.yml, keeps the tools of its domain from being read too.
    sources.unread = {Path(rejection.file).stem.lower() for rejection in sources.failed}
    without = (
        {path.stem for path in questions.glob("*.yaml")} - {row.document.path.stem for row in sources.tools} - sources.unread
    )
    sources.unread |= without
    reject_twins(sources.tools)
    _reject_lonely(sources.tools)
    answers = answers_of(sources.tools)

    def read(document: Document) -> list[Row]:
        homeless = document.path.stem in without
        if homeless and tools.is_dir():  # without the folder, that alone is told
            sources.homeless.append(_without_tools(document, tools, answers))
        return read_questions(document, answers, sources.unread, homeless=homeless)

    return read


def _without_tools(document: Document, tools: Path, answers: Tools) -> Rejection:
    """Return why all questions of a file are rejected: its domain has no file of tools."""
    asked = [entry.get("tool") for entry in document.content if isinstance(entry, dict)]
    homes = sorted({answers[name][0] for name in asked if isinstance(name, str) and name in answers})
    what = f"no file of tools is there for this file of questions, whose {len(document.content)} entries are all rejected"
    fix = f"add {tools / document.path.name}, or give both files one name"
    fix += f" (answers are tools of {', '.join(homes)})" if homes else ""
    return Rejection(str(document.path), 1, "", "E-QA-NO-TOOLS", what, fix=fix)


def read_folder(folder: Path, sources: Sources, read: Callable[[Document], list[Row]]) -> list[Row]:
    """Return the rows that `read` makes of every file of a folder; files that cannot be read are noted in `sources`."""
    return list(chain.from_iterable(_files(folder, sources, read)))


def _files(folder: Path, sources: Sources, read: Callable[[Document], list[Row]]) -> Iterator[list[Row]]:
    """Yield the rows of one file after the other."""
    if not folder.is_dir():
        code, what = ("E-NOT-A-FOLDER", "expected a folder") if folder.exists() else ("E-MISSING", "a folder is not there")
        sources.failed.append(Rejection(str(folder), 1, "", code, what, fix="correct the path in params.yaml, or in the option"))
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        try:
            rows = read(_load(path, sources.hashes))
        except UserError as error:
            sources.failed.append(of_file(str(path), error))
        else:
            yield rows


def _load(path: Path, hashes: dict[Path, str]) -> Document:
    if path.suffix != ".yaml" or not DOMAIN.fullmatch(path.stem):
        fix = f"name it <domain>.yaml, where a domain matches ^{DOMAIN.pattern}$, or move it out of the folder"
        raise UserError("E-FILE-NAME", "not the name of a domain's file", str(path), path.name, fix)
    if path.is_file():
        hashes[path] = artifacts.sha256(path)
    document = strict_yaml.load(path)
    if not isinstance(document.content, list):
        raise UserError("E-FIELD", "a domain's file must be a list", f"{path}:1", fix="begin each entry with a dash")
    if not document.content:
        raise UserError("E-EMPTY", "no entry is in the file", f"{path}:1", fix="add entries, or delete the file")
    return document


def _reject_lonely(tools: Sequence[Row]) -> None:
    by_domain: dict[Path, list[Row]] = {}
    for row in tools:
        if not row.rejections:
            by_domain.setdefault(row.document.path, []).append(row)
    for rows in by_domain.values():
        if len(rows) == 1:
            what = "the domain has a single valid tool, and a choice needs two"
            rows[0].reject("E-DOMAIN-SIZE", what, fix="add a tool, or delete the domain")


def answers_of(tools: Sequence[Row]) -> Tools:
    """Return what questions may be answered by."""
    answers: dict[str, tuple[str, object]] = {}
    for row in tools:
        if not row.rejections:
            answers[row.record["name"]] = (row.record["domain"], json_schema.validator(row.content["parameters"]))
        elif isinstance(row.content, dict) and isinstance(name := row.content.get("name"), str):
            answers.setdefault(name, (row.document.path.stem, None))
    return answers


def kept(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Return the records of the rows that nothing is wrong with."""
    return [row.record for row in rows if not row.rejections]


def frame_of(records: Sequence[dict[str, object]], schema: schemas.Table) -> pl.DataFrame:
    """Return records as the sorted frame that a schema describes."""
    types = {name: column.dtype.type for name, column in schema.columns.items()}
    return pl.DataFrame(list(records), schema=types).sort((schema.metadata or {})["sorted_by"])


def rejected_frame(rejections: Sequence[Rejection]) -> pl.DataFrame:
    """Return the table of what is wrong, a row for each finding."""
    return frame_of([rejection.record() for rejection in rejections], schemas.REJECTED)


def causes_first(rejections: Iterable[Rejection]) -> list[Rejection]:
    """Return what is wrong with the likely consequences of another fault last, otherwise in the order that it has."""
    return sorted(rejections, key=lambda rejection: rejection.code in CONSEQUENCES)


def stop(rejections: Sequence[Rejection], out: Path) -> None:
    """Raise what is wrong, consequences last, and list it all in a file.

    Raises:
        UserError: the first rejection; nothing is raised where there is none.
    """
    with artifacts.atomic_path(errors_of(out)) as path:
        schemas.write(rejected_frame(rejections), schemas.REJECTED, path)
    findings = [rejection.finding() for rejection in causes_first(rejections)]
    raise_findings(findings, kept=artifacts.KEPT, report=str(errors_of(out)))


def warn(rejections: Sequence[Rejection], tally: Tally, failed: int, path: Path) -> None:
    """Say in one line on standard error that rows were left out, or files that could not be read; nothing where none was."""
    if rejections:
        files = f", {failed} files could not be read" if failed else ""
        told = f"{tally}{files}; {len(rejections)} findings, all in {path}"
        print(warning("W-REJECTED", told), file=sys.stderr)  # noqa: T201


def errors_of(out: Path) -> Path:
    """Return the file that lists what is wrong where nothing is published."""
    return out / "errors" / "rejected.parquet"


def refuse_changed(hashes: dict[Path, str]) -> None:
    """Refuse files that are no longer what was read.

    Raises:
        UserError: E-CHANGED.
    """
    changed = [path for path, digest in sorted(hashes.items()) if not path.is_file() or artifacts.sha256(path) != digest]
    fix = "run the same command again when nobody writes there"
    raise_findings(
        [Finding("E-CHANGED", "a file changed while it was read", str(path), fix=fix) for path in changed], kept=artifacts.KEPT
    )
