"""Wheels from outside: looked for in the mirrors, then downloaded through pip; the hash decides."""

import subprocess
import sys
from pathlib import Path

from metatoolagent.errors import Exit, UserError
from metatoolagent.sources import MIRRORS, Source, check_hash, mirrors


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
    for mirror in mirrors():
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
