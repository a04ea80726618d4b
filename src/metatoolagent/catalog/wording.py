"""How a question is worded: its words, and what it shares with a tool's documentation."""

import unicodedata

from metatoolagent.catalog.questions import SLOT

FEWEST_FUNCTION_WORDS = 4
"""Function words that a skeleton needs to tell anything; short ones are alike by accident."""

Shape = tuple[str, ...]


class _Letters(dict[int, str]):
    """What of each character stands in a word, found at its first use."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        # Marks are vowels in many scripts, so a word does not end there, as it would with \w.
        self[code] = character if character == "'" or unicodedata.category(character)[0] in "LNM" else " "
        return self[code]


_LETTERS = _Letters({ord("’"): "'"})


def words(text: str) -> list[str]:
    """Return the words of a text in lower case: letters of any script, digits and apostrophes, all else taken as spaces."""
    return text.lower().translate(_LETTERS).split()


FUNCTION_WORDS = frozenset(
    words(
        """
        a about again all am an and any are as at back be been being both but by can can't come could did do does doesn't
        doing don't down each few for from get give go got had has have having he her here him his how i i'd i'll i'm i've if
        in into is isn't it it's its just let let's like make may me might mine more most must my need new no nor not now of
        off on once one only or other our ours out over own please put same shall she should so some such take than that
        that's the their them then there there's these they this those to too two under up us very want was we we're were what
        when where which who whom whose why will with would you your yours
        """
    )
)
"""Words that carry no topic; what is left is a text's content."""


def stem(word: str) -> str:
    """Return a word without its commonest English endings, so that `moves`, `moved` and `moving` are one."""
    word = word.removesuffix("'s")
    for ending in ("ations", "ation", "ings", "ing", "ies", "ied", "ers", "ed", "es", "er", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def content_words(text: str) -> list[str]:
    """Return the stems of the words that carry a text's topic, in their order."""
    return [stem(word) for word in words(text) if word not in FUNCTION_WORDS and len(word) > 1]


def shared_words(question: str, document: str) -> tuple[list[str], int]:
    """Return the content words that a question shares with a document, and how many the question has."""
    content = set(content_words(question))
    return sorted(content & set(content_words(document))), len(content)


def names(question: str, tool: str) -> bool:
    """Say whether a question holds a tool's name, written with underscores or with spaces."""
    return f" {' '.join(words(tool))} " in f" {' '.join(words(question))} "


def opening(ask: str) -> Shape:
    """Return the first four words of a frame, each slot one word."""
    return tuple(words(SLOT.sub(" 0slot ", ask))[:4])


def skeleton(ask: str) -> Shape:
    """Return what is left of a frame when its topic is taken out: function words, with a gap for all between them.

    Frames with the same skeleton are one sentence with other words filled in. Empty for a frame that is too short to tell.
    """
    marks = [word if word in FUNCTION_WORDS else "_" for word in words(SLOT.sub(" 0slot ", ask))]
    kept = tuple(mark for place, mark in enumerate(marks) if mark != "_" or marks[place - 1 : place] != ["_"])
    return kept if sum(mark != "_" for mark in kept) >= FEWEST_FUNCTION_WORDS else ()
