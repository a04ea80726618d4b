"""What a meta-task takes when: tools parted into support and query sides, anchors and questions in turn.

Legend: M meta-tasks of a chunk, P packs of a meta-task, T training tools, Q questions, U units of the parting.
"""

from dataclasses import dataclass, field

import numpy as np

from metatoolagent.tasks.distractors import Bools, Floats, Ints


@dataclass(frozen=True)
class Parting:
    """How support and query tools are told apart: by whole units, drawn until both sides are large enough."""

    unit_T: Ints
    size_U: Ints
    need: int
    """The size that each side has at least."""

    def is_possible(self) -> bool:
        """Say whether some of the units are large enough together, and the others too."""
        sums = 1  # bit n is set if some of the units have the size n together
        for size in self.size_U.tolist():
            sums |= sums << size
        return any(sums >> size & 1 for size in range(self.need, int(self.size_U.sum()) - self.need + 1))

    def support(self, count: int, generator: np.random.Generator) -> Bools:
        """Return for `count` meta-tasks which tools are on the support side, the others being on the query side."""
        support_MU = np.zeros((count, len(self.size_U)), np.bool_)
        pending = np.arange(count)
        units, total = np.arange(len(self.size_U)), self.size_U.sum()
        while len(pending):
            order = generator.permuted(np.tile(units, (len(pending), 1)), axis=1)
            reached = np.cumsum(self.size_U[order], axis=1)
            cut = np.abs(2 * reached - total).argmin(axis=1)[:, None]
            drawn = np.zeros_like(order, np.bool_)
            np.put_along_axis(drawn, order, units <= cut, axis=1)
            # An odd number of units makes one side larger; either may be.
            support_MU[pending] = drawn ^ (generator.random((len(pending), 1)) < 0.5)
            smaller = np.minimum(reached, total - reached)
            pending = pending[np.take_along_axis(smaller, cut, axis=1)[:, 0] < self.need]
        return support_MU[:, self.unit_T]


@dataclass
class Turns:
    """Whose turn it is: anchors and questions are taken in turn, so that all are used about equally."""

    anchor_T: Floats
    """Times that a tool was the anchor, and a random fraction that orders the equal ones."""

    asked_T: Ints
    """Questions of a tool that were asked."""

    start_T: Ints
    count_T: Ints
    question_Q: Ints = field(repr=False)
    """The questions, tool by tool from `start_T`, in the order in which they are asked."""

    @classmethod
    def first(cls, tool_Q: Ints, question_Q: Ints, generator: np.random.Generator) -> "Turns":
        """Return the state before the first task, in which the questions of each tool have a random order."""
        order = np.lexsort((generator.random(len(tool_Q)), tool_Q))
        count_T = np.bincount(tool_Q)
        start_T = np.cumsum(count_T) - count_T
        return cls(generator.random(len(count_T)), np.zeros_like(count_T), start_T, count_T, question_Q[order])

    def anchors(self, side_MT: Bools, support_P: Bools, generator: np.random.Generator) -> Ints:
        """Return the anchor of each pack, a tool of its side that was anchor least often; shape (M, P)."""
        anchor_MP = np.empty((len(side_MT), len(support_P)), np.int64)
        fraction_MP = generator.random(anchor_MP.shape)
        # Each choice depends on all before it, so this is a loop; it runs once a pack, not once a task.
        for m, side_T in enumerate(side_MT):
            for p, support in enumerate(support_P):
                tool = int(np.where(side_T == support, self.anchor_T, np.inf).argmin())
                self.anchor_T[tool] = np.floor(self.anchor_T[tool]) + 1 + fraction_MP[m, p]
                anchor_MP[m, p] = tool
        return anchor_MP

    def questions(self, gold: Ints) -> Ints:
        """Return a question of each gold tool; when all of a tool were asked, the first comes again."""
        order = np.argsort(gold, kind="stable")
        ranked = gold[order]
        times = np.empty_like(gold)
        times[order] = np.arange(len(gold)) - np.searchsorted(ranked, ranked)
        turn = self.asked_T[gold] + times
        self.asked_T += np.bincount(gold, minlength=len(self.asked_T))
        return self.question_Q[self.start_T[gold] + turn % self.count_T[gold]]
