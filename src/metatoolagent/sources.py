"""Files from outside, each a row of data/sources.tsv: looked for in the mirrors, then downloaded; the hash decides."""

import os
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

from metatoolagent import strict_tsv
from metatoolagent.artifacts import KEPT, sha256
from metatoolagent.errors import Exit, UserError

TABLE = Path("data/sources.tsv")
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


def source(name: str, table: Path = TABLE) -> Source:
    """Return the row of a source.

    Raises:
        UserError: E-SOURCE if there is no such row, and those of `strict_tsv.rows`.
    """
    for row in strict_tsv.rows(table, [column.name for column in fields(Source)]):
        if row["name"] == name:
            return Source(**row)
    raise UserError("E-SOURCE", f"no source is named {name}", str(table), fix="add a row for it", exit_code=Exit.PARAMS)


def mirrors() -> list[Path]:
    """Return the folders to look in before anything is downloaded."""
    return [Path(entry) for entry in os.environ.get(MIRRORS, "").split(os.pathsep) if entry]


def fetch_file(wanted: Source, folder: Path) -> Path:
    """Return the file of a source, from a mirror or from its url, after its hash was checked.

    A mirror has it under the source's name, such as `toolalpaca/eval_real.json`, or under the last part of that.

    Args:
        wanted: a source with an http(s) url.
        folder: where a download goes.

    Raises:
        UserError: E-DOWNLOAD if it cannot be had, E-HASH if it is another file than the one that was pinned.
    """
    name = PurePosixPath(wanted.name)
    for mirror in mirrors():
        for path in (mirror / name, mirror / name.name):
            if path.is_file():
                return check_hash(path, wanted)
    return check_hash(_download(wanted, folder / name.name), wanted)


def _download(wanted: Source, path: Path) -> Path:
    import pooch
    import requests

    try:
        pooch.HTTPDownloader()(wanted.url, str(path), None)
    except requests.RequestException as error:
        raise UserError(
            "E-DOWNLOAD",
            f"could not download {wanted.name}",
            str(TABLE),
            f"{type(error).__name__} at {wanted.url}",
            f"check the network, or put the file into a folder and name that in {MIRRORS}",
            KEPT,
            exit_code=Exit.RETRY,
        ) from None
    return path


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
