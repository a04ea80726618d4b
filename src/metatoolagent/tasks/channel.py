"""Channel packs: the questions of a pack below the documentation of each candidate alone.

A pack asks which name follows a question; a channel pack asks how probable each question is after each candidate's documentation.
The names come from the noisy channel, which reads p(input | output) backwards (Min et al. 2022, arXiv 2108.04106).

Shapes: Q questions, C candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metatoolagent.tasks import packing
from metatoolagent.tasks.packing import Pack
from metatoolagent.tasks.rendering import Renderer, Row


@dataclass(frozen=True)
class Channel:
    """A tree for each candidate, with the same questions in the same order."""

    trees: tuple[Pack, ...]
    gold_Q: Tensor
    """Index of the right tree of each question."""

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The names of the tasks."""
        return self.trees[0].task_ids

    @property
    def tokens(self) -> int:
        """The length of all sequences together."""
        return sum(tree.tokens for tree in self.trees)

    @property
    def rows(self) -> int:
        """The number of positions whose logits are needed."""
        return sum(tree.rows for tree in self.trees)

    def to(self, device: torch.device) -> "Channel":
        """Return the trees on a device."""
        return Channel(tuple(tree.to(device) for tree in self.trees), self.gold_Q.to(device))


AnyPack = Pack | Channel
"""What a method may be trained on."""


def below(renderer: Renderer, name: str, rows: Sequence[Row]) -> Pack:
    """Return what each task asks below the documentation of one tool; a question is the one branch of its turn's opening.

    Args:
        renderer: of the catalog.
        name: of the tool.
        rows: the tasks, with question_id, and with question where what is asked does not stand in the catalog. Documentation
            never stands for a question here: it would be repeated from right above, and nothing is to be learnt from that.

    Raises:
        UserError: E-CTX if a question ends beyond the context.
    """
    template = renderer.template
    return packing.pack(
        renderer.tools_turn([name]),
        [template.marker(template.before_question)] * len(rows),
        [template.content(renderer.said({**row, "documentation": False})) for row in rows],
        list(range(len(rows))),
        [row["question_id"] for row in rows],
        context=renderer.context,
        gold_only=True,
        competing=False,
    )


def channel(renderer: Renderer, rows: Sequence[Row]) -> Channel:
    """Return the channel pack of tasks that share a candidate set; arguments and errors as `below`."""
    trees = tuple(below(renderer, name, rows) for name in rows[0]["candidates"])
    return Channel(trees, torch.tensor([row["position"] for row in rows]))


def split(pack: AnyPack, parts: int) -> Sequence[AnyPack]:
    """Return a pack in parts of as equal numbers of questions as can be; a channel pack's parts have all of its candidates."""
    if isinstance(pack, Pack):
        return packing.split(pack, parts)
    trees = zip(*(packing.split(tree, parts) for tree in pack.trees), strict=True)
    sizes = [len(tree.gold_Q) for tree in packing.split(pack.trees[0], parts)]
    return [Channel(of_part, gold_Q) for of_part, gold_Q in zip(trees, torch.split(pack.gold_Q, sizes), strict=True)]
