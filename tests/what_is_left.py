"""What there is of artifacts after a run, to compare with what there was."""

from pathlib import Path

from metatoolagent.artifacts import sha256
from metatoolagent.stages import record


def left(folder: Path, place: str) -> dict[str, str]:
    """Return the hash of each file of the artifacts in a place, and of the records of what they were made from."""
    roots = [folder / root for root in (place, record(place))]
    files = [path for root in roots for path in root.rglob("*") if path.is_file() and "errors" not in path.parts]
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}
