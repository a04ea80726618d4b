"""Masking: names of tools and parameters become random strings, so that only descriptions can tell tools apart.

After function masking in Hammer (Lin et al. 2024, arXiv 2410.04587), which replaces them in two thirds of the training
data. Tasks that share a pack share its documentation, so a pack is masked as a whole, and so are its answers.
"""

import json
import string
from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from metatoolagent.catalog.parameters import described
from metatoolagent.tasks.distractors import generator_of

Tool = Mapping[str, str]
PackKey = tuple[int, str, int]
"""A pack of the training meta-tasks: meta-task, role, number within the role."""

LENGTH = 8
"""Characters of a random name."""
ALPHABET = string.ascii_lowercase + string.digits


class Masks:
    """Which packs are masked, and with what names."""

    def __init__(self, rows: pl.DataFrame, share: float, seed: int) -> None:
        """Draw the masked packs: a set of exactly that share, so that no run masks more than another by chance.

        Args:
            rows: the training meta-tasks.
            share: of the packs.
            seed: of the draw and of all names.
        """
        unique = rows.select("meta_task", "role", "pack").unique().rows()
        packs = sorted((int(meta_task), str(role), int(number)) for meta_task, role, number in unique)
        order = generator_of(seed, "masking").permutation(len(packs))
        self.seed = seed
        self.masked: frozenset[PackKey] = frozenset(packs[index] for index in order[: round(share * len(packs))])

    def tools(self, pack: PackKey, tools: Iterable[Tool]) -> dict[str, Tool]:
        """Return what stands for each tool of a pack, by the tool's name; nothing for a pack that is not masked.

        The names depend on the seed and the pack alone, so a run that goes on after a kill sees the same ones.
        """
        if pack not in self.masked:
            return {}
        generator = generator_of(self.seed, "masking", *pack)
        taken: set[str] = set()
        return {tool["name"]: masked(tool, generator, taken) for tool in tools}


def masked(tool: Tool, generator: np.random.Generator, taken: set[str]) -> Tool:
    """Return a tool with random names for itself and its parameters; its description stays.

    Args:
        tool: name, description and parameters (JSON Schema as text).
        generator: of the names.
        taken: names that are in use; the new ones are added.
    """
    parameters = described(json.loads(tool["parameters"]))
    new = {name: random_name(generator, taken) for name in parameters}
    properties = {new[name]: content for name, (content, _) in parameters.items()}
    required = [new[name] for name, (_, needed) in parameters.items() if needed]
    schema = json.dumps({"type": "object", "properties": properties, "required": required})
    return {**tool, "name": random_name(generator, taken), "parameters": schema}


def random_name(generator: np.random.Generator, taken: set[str]) -> str:
    """Return a new name: a letter, then letters and digits."""
    while True:
        tail = "".join(ALPHABET[index] for index in generator.integers(len(ALPHABET), size=LENGTH - 1))
        name = string.ascii_lowercase[int(generator.integers(26))] + tail
        if name not in taken:
            taken.add(name)
            return name
