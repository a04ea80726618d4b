"""Text from strangers: characters that hide or reorder it, and when two texts are the same one."""

import re
import unicodedata
from collections.abc import Iterator

from metatoolagent.strict_yaml import Pointer

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
BIDI = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
INVISIBLE = re.compile(
    r"[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2028\u2029\u2060-\u2065\u206a-\u206f\u2800\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
SELECTORS, JOINERS = "\ufe0e\ufe0f", "\u200c\u200d"
OPERATORS = "*/%#"
"""Punctuation that makes another question of one, as symbols such as + and € do."""
WITHIN_NUMBERS = re.compile(r"(?<!\d)[.:,]|[.:,](?!\d)|(?<=[^\W\d])-|-(?!\s?\d)")
"""Points and minus signs that belong to no number."""

HIDDEN = [
    ("E-CONTROL-CHAR", CONTROL, "a control character"),
    ("E-BIDI", BIDI, "a character that reorders the text"),
    ("E-INVISIBLE", INVISIBLE, "an invisible character"),
]


def hidden(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield the code, the reason and the code point of the first character of each kind that a reader cannot see."""
    for code, pattern, what in HIDDEN:
        for found in pattern.finditer(text):
            if not _is_spelling(text, found.start()):
                yield code, f"{what}, character {found.start() + 1} of the text", f"U+{ord(found[0]):04X}"
                break


def _is_spelling(text: str, place: int) -> bool:
    """Say whether an invisible character belongs to how a visible sign or word is written."""
    if place == 0:
        return False
    character, before = text[place], text[place - 1]
    kind = unicodedata.category(before)
    if character in SELECTORS:  # a heart, a keycap, an arrow or ℹ in colour or in black
        return kind in {"So", "Sk", "Mn", "Sm", "Nd", "Po"} or before == "ℹ"
    if character in JOINERS:  # a family of emoji is one sign; Persian and Indic words part and join letters that are not Latin
        return (character == "\u200d" and kind in {"So", "Sk", "Mn"}) or (kind in {"Lo", "Mn", "Mc"} and before > "\u05ff")
    return False


class _Written(dict[int, str]):
    """What of each character counts, found at its first use."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kind = unicodedata.category(character)
        if character in SELECTORS:  # they say in which style the same sign is drawn
            self[code] = ""
        elif kind[0] == "S" or character in OPERATORS:
            self[code] = f" {character} "
        else:
            self[code] = character if kind[0] in "LNM" or character in ".:,-" else " "
        return self[code]


_WRITTEN = _Written()


def normalised(text: str) -> str:
    """Return what two writings of the same question share, with compatibility forms and case folded.

    It has letters with their marks (the vowels of many scripts), digits, symbols and operators, since `12 + 5` and `12 - 5`
    are two questions; other punctuation counts only within a number.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(WITHIN_NUMBERS.sub(" ", folded.translate(_WRITTEN)).split()) or folded


def folded_names(name: str) -> tuple[str, str]:
    """Return what names share that differ in case, compatibility forms and separators alone, and with confusable characters too.

    Names are ASCII, of which Unicode knows four confusable characters (UTS 39, confusables.txt): I and 1 are l, 0 is O, m is rn.
    They are two, since a capital I is an i to the one and an l to the other.
    """
    bare = re.sub(r"[_.-]+", "", unicodedata.normalize("NFKC", name))
    seen = bare.translate(str.maketrans("I1", "ll")).casefold()
    return bare.casefold(), seen.replace("0", "o").replace("m", "rn")


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
