"""JSON that means one thing: no key twice, finite numbers, and nesting within the limit that YAML has here."""

import json
import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from metatoolagent.errors import UserError, shown
from metatoolagent.strict_yaml import MAX_DEPTH, MAX_DIGITS, read_text


def load(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: a regular file, UTF-8, a byte order mark allowed.

    Raises:
        UserError: E-PARSE, E-DUP-KEY, E-NUMBER or E-DEPTH; those of `strict_yaml.read_text`.
    """
    text = read_text(path)
    number = partial(_number, path)
    try:
        content = json.loads(
            text,
            object_pairs_hook=partial(_unique, path),
            parse_constant=number,
            parse_float=number,
            parse_int=number,
        )
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise UserError("E-PARSE", f"not JSON: {error.msg}", where, fix="correct this line") from None
    except RecursionError:
        raise _too_deep(path) from None
    if _depth(content) > MAX_DEPTH:
        raise _too_deep(path)
    return content


def _too_deep(path: Path) -> UserError:
    return UserError("E-DEPTH", f"nested more than {MAX_DEPTH} levels deep", str(path), fix="flatten it")


def _unique(path: Path, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UserError("E-DUP-KEY", "an object has a key twice", str(path), shown(key), "delete one")
        found[key] = value
    return found


def _number(path: Path, text: str) -> int | float:
    whole = text.lstrip("-").isdigit()
    # Python itself refuses whole numbers of thousands of digits.
    held = len(text) <= MAX_DIGITS if whole else math.isfinite(float(text))
    if not held:
        raise UserError("E-NUMBER", "not a number that JSON can hold", str(path), shown(text), "quote it if it is text")
    return int(text) if whole else float(text)


def _depth(content: Any) -> int:
    """Return the levels of nesting, found level by level, since a recursion could go too deep itself."""
    level, depth = [content], 0
    while level := [
        value for item in level if isinstance(item, dict | list) for value in (item.values() if isinstance(item, dict) else item)
    ]:
        depth += 1
    return depth
