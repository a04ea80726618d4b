"""What params.yaml says of the authored files, held against them before anything is run."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from metatoolagent.errors import Exit, Finding, UserError, raise_findings, shown
from metatoolagent.params.reading import Params


def require_folders(given: Params) -> None:
    """Refuse folders of authored files that cannot be read: a rule would have no inputs, and no engine would miss them.

    Raises:
        UserError: E-MISSING for each, E-EMPTY for one of the catalog without a file, E-PATH for a path that the engines cannot
            take, and those of `require_list`; exit code 64.
    """
    catalog = {"ingest.tools": given.ingest.tools, "ingest.questions": given.ingest.questions}
    folders = {**catalog, "chains.folder": given.chains.folder}
    # A catalog may have no chains, which one target alone reads.
    found = [_fault(key, Path(folder), may_be_empty=key not in catalog) for key, folder in folders.items()]
    raise_findings([fault for fault in found if fault], kept="nothing was run", exit_code=Exit.PARAMS)
    require_list(given)


def require_list(given: Params) -> None:
    """Refuse a list of parts that is not there.

    Raises:
        UserError: E-MISSING (exit code 64).
    """
    path = given.split.tools_list
    if path and not Path(path).is_file():
        fix = f'write it: mta split-list --out {path}, or set split.tools_list: "" to draw the parts'
        what, where = "the list of parts is not there", "params.yaml, key split.tools_list"
        raise UserError("E-MISSING", what, where, shown(path), fix, "nothing was run", exit_code=Exit.PARAMS)


def _fault(key: str, folder: Path, *, may_be_empty: bool) -> Finding | None:
    where, got = f"params.yaml, key {key}", shown(folder)
    if {"{", "}"} & set(str(folder)) or folder == Path():
        what = "expected a folder below this one, whose path has no braces, which Snakemake fills in"
        return Finding("E-PATH", what, where, got, "name or rename one")
    try:
        files = _files(folder)
    except OSError as error:
        what = f"expected a folder of authored files ({error.strerror})"
        return Finding("E-MISSING", what, where, got, _hint(folder))
    if files or may_be_empty:
        return None
    return Finding("E-EMPTY", "no file is in a folder of authored files", where, got, "add <domain>.yaml, or correct the path")


def _files(folder: Path) -> list[Path]:
    """Return what stands in a folder and is not hidden, as ingestion takes it."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _hint(folder: Path) -> str:
    try:
        beside = [str(path) for path in _files(folder.parent) if path.is_dir()]
    except OSError:
        beside = []
    near = difflib.get_close_matches(str(folder), beside, n=1)
    return f"did you mean {near[0]}?" if near else "correct the path, or create the folder"


def require_domains(given: Params, splits: Sequence[str] = ("hd",)) -> None:
    """Refuse folds of splits, `hd` or `hd-<domain>`, whose domain the folder of tools has no file of.

    Without any file, ingestion says what is wrong.

    Raises:
        UserError: E-PARAMS (exit code 64) with the domains that there are.
    """
    folder = Path(given.ingest.tools)
    try:
        domains = [path.stem for path in _files(folder) if path.suffix == ".yaml"]
    except OSError:
        return
    asked = [("held_out", name) for name in given.held_out if "hd" in splits]
    asked += [("sweeps.table2.splits", split.removeprefix("hd-")) for split in splits if split.startswith("hd-")]
    fix = f"name some of {', '.join(domains)}, or correct ingest.tools"
    found = [
        Finding("E-PARAMS", f"{key} names a domain that {folder} has no file of", f"params.yaml, key {key}", shown(name), fix)
        for key, name in asked
        if domains and name not in domains
    ]
    raise_findings(found, kept="nothing was run", exit_code=Exit.PARAMS)
