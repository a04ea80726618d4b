"""What the project's own dataset keeps to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

CHANCES = {"bm25_cd": 0.75, "bm25_sd": 0.55, "names_cd": 0.45, "names_sd": 0.3}


@dataclass(frozen=True)
class Limits:
    """Bounds of the authoring check, all in one place."""

    frames: int = 20
    """Frames of a tool, at least."""

    rows_of_frame: int = 4
    """Fillings of a frame, at most."""

    rows: tuple[int, int] = (45, 75)
    """Questions of a tool, at least and at most."""

    overlap: float = 1 / 3
    """Share of a question's content words that its tool's name and description have too, at most."""

    near_duplicate: float = 0.8
    """Jaccard similarity of trigrams from which on questions of different frames are the same one."""

    siblings: float = 0.6
    """Jaccard similarity of content words above which two descriptions cannot be told apart."""

    description: tuple[int, int] = (12, 55)
    """Words of a description, at least and at most."""

    parameters: tuple[int, int] = (1, 6)
    """Parameters of a tool, at least and at most."""

    distractors: int = 5
    """Wrong tools in the candidate sets that the chances below are for."""

    chances: Mapping[str, float] = field(default_factory=lambda: dict(CHANCES))
    """How often word matching may find a tool, at most."""
