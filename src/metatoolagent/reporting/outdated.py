"""Which results were not made with what is there now: params of other values, and artifacts that were made anew since.

Snakemake's record of each file (docs/decisions/0001) has the params that its job was given, and its manifest the hashes of what
it was made from. Both are followed through all stages, as far as they are there: of a file that was made by hand there is no
record, and nothing is said of its params.
"""

import ast
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metatoolagent import params
from metatoolagent.artifacts import read_manifest, recorded_sha256
from metatoolagent.errors import UserError, escaped
from metatoolagent.stages import record
from metatoolagent.variants import value_of

PARAMS = Path("params.yaml")
NAMED = 3
"""Files that a note names."""


@dataclass
class Since:
    """What has changed since a result was made, each once and in the order in which it was found."""

    values: dict[str, str] = field(default_factory=dict)
    """By key: the value of a param then, and now."""
    replaced: dict[str, None] = field(default_factory=dict)
    """Artifacts that it was made from and that are other ones now."""


def notes(paths: Iterable[Path]) -> list[str]:
    """Return a note for each metrics file that was not made with what is there now.

    Args:
        paths: files of artifacts.
    """
    try:
        now = params.load(PARAMS).model_dump()
    except UserError as error:
        return [f"{PARAMS} cannot be read ({escaped(error.what)}): whether the results were made with it is not known"]
    return [note for path in paths if (note := _note(path, since(path, now)))]


def since(path: Path, now: dict[str, Any]) -> Since:
    """Return what has changed since a file was made.

    Args:
        path: the file, of an artifact that the params under no override lead to: no sweep's.
        now: the params.
    """
    changed, seen, todo = Since(), {path}, [path]
    while todo:
        file = todo.pop(0)
        for key, then in given(file).items():
            changed.values |= dict(_differences(key, then, value_of(now, key)))
        for above, sha256 in _inputs(file).items():
            if _is_another(above, sha256):
                # What that one was made with, its record no longer tells.
                changed.replaced[above.as_posix()] = None
            elif above not in seen:
                seen.add(above)
                todo.append(above)
    return changed


def given(file: Path) -> dict[str, Any]:
    """Return the params that the job of a file was given, by key; none where there is no record."""
    try:
        recorded = json.loads(Path(record(file.as_posix())).read_text(encoding="utf-8")).get("params") or []
    except (OSError, ValueError, AttributeError):
        return {}
    found: dict[str, Any] = {}
    for text in recorded:
        # Snakemake keeps the repr of each; the one that is a JSON object is what a stage gets as --params.
        try:
            value = json.loads(ast.literal_eval(text))
        except (ValueError, SyntaxError, TypeError):
            continue
        found |= value if isinstance(value, dict) else {}
    return found


def _inputs(file: Path) -> dict[Path, str]:
    """Return what a file was made from, with the hashes of then."""
    try:
        return {Path(name): str(sha256) for name, sha256 in read_manifest(file.parent).get("inputs", {}).items()}
    except UserError:
        return {}


def _is_another(file: Path, sha256: str) -> bool:
    """Return whether a file is there and not the one of that hash; one that was deleted says nothing."""
    try:
        return file.is_file() and recorded_sha256(file) != sha256
    except UserError:
        return False


def _differences(key: str, then: Any, now: Any) -> Iterator[tuple[str, str]]:
    """Yield the keys below a key whose values differ, and how; of keys that only one version of the program knows, none."""
    if isinstance(then, dict) and isinstance(now, dict):
        for name, value in then.items():
            yield from _differences(f"{key}.{name}", value, now.get(name))
    elif now is not None and then != now:
        yield key, f"{key} {json.dumps(then)}, now {json.dumps(now)}"


def _note(path: Path, changed: Since) -> str:
    told = [f"made with other params: {'; '.join(changed.values.values())}"] if changed.values else []
    if replaced := [*changed.replaced]:
        more = f" and {len(replaced) - NAMED} more" if len(replaced) > NAMED else ""
        told.append(f"made from what is another file now: {', '.join(replaced[:NAMED])}{more}")
    return escaped(f"{path}: {'; '.join(told)}; renew it: snakemake --cores all {path}") if told else ""
