"""Text from strangers: characters that hide or reorder it, and when two texts are the same one."""

import re
import unicodedata
from collections.abc import Iterator

from metatoolagent.strict_yaml import Pointer

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
BIDI = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
INVISIBLE = re.compile(
    r"[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2028\u2029\u2060-\u2065\u206a-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
EMOJI_JOINERS = "\u200d\ufe0e\ufe0f"

HIDDEN = [
    ("E-CONTROL-CHAR", CONTROL, "a control character"),
    ("E-BIDI", BIDI, "a character that reorders the text"),
    ("E-INVISIBLE", INVISIBLE, "an invisible character"),
]


def hidden(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield the code, the reason and the code point of the first character of each kind that a reader cannot see."""
    for code, pattern, what in HIDDEN:
        for found in pattern.finditer(text):
            if not _is_part_of_emoji(text, found.start()):
                yield code, f"{what}, character {found.start() + 1} of the text", f"U+{ord(found[0]):04X}"
                break


def _is_part_of_emoji(text: str, place: int) -> bool:
    # A heart or a family is one visible sign, written as a symbol with a joiner or a variation selector behind it.
    return text[place] in EMOJI_JOINERS and place > 0 and unicodedata.category(text[place - 1]) in {"So", "Sk", "Mn"}


def normalised(text: str) -> str:
    """Return what two writings of the same question share: letters and digits, compatibility forms and case folded."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", " ", folded).strip() or folded


def folded_name(name: str) -> str:
    """Return what names share that differ in case, compatibility forms or separators alone."""
    return re.sub(r"[_.-]+", "", unicodedata.normalize("NFKC", name).casefold())


def strings(content: object, pointer: Pointer = ()) -> Iterator[tuple[Pointer, str]]:
    """Yield every text in nested content, keys too, with its path."""
    if isinstance(content, str):
        yield pointer, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield (*pointer, key), key
            yield from strings(value, (*pointer, key))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from strings(value, (*pointer, index))
