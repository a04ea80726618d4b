"""Packs: tasks that share a candidate set, as one token sequence with the candidate set's prefix only once.

The sequence is a tree. Its root is the prefix, below it hangs one segment per question, and below each question one
branch per answer. A token attends to its own node, causally, and to the nodes above it; position ids restart where
the node above ends. So every path from the root is the very sequence that the task has alone, and the losses and
gradients are the same, at a fraction of the tokens.

Shapes: T tokens, N nodes, Q questions (tasks), C branches a question, K kept positions, A answer tokens, R rivals of a token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from metatoolagent.errors import Exit, UserError

NO_RIVAL = -1
"""In the place of a token, where fewer answers compete than the widest place has room for."""


@dataclass(frozen=True)
class Pack:
    """One sequence for the model and where its answers stand."""

    task_ids: tuple[str, ...]
    input_ids_T: Tensor
    position_ids_T: Tensor
    node_T: Tensor
    above_NN: Tensor
    """Whether node j is node i or above it."""
    keep_K: Tensor
    """Positions whose logits are needed."""
    ask_Q: Tensor
    """Index into the kept positions of the last token of each question, whose logits give the answer's first."""
    row_A: Tensor
    """Index into the kept positions of the logits that predict each answer token."""
    target_A: Tensor
    branch_A: Tensor
    """Branch of each answer token, counted through the questions."""
    rival_AR: Tensor
    """The tokens by which the answers go on that began as this one, in the place of each answer token, which is one of them; each
    once, and NO_RIVAL for the rest. R is 0 where answers do not compete."""
    gold_Q: Tensor
    """Index of the right branch of each question."""

    @property
    def tokens(self) -> int:
        """The length of the sequence."""
        return len(self.input_ids_T)

    @property
    def rows(self) -> int:
        """The number of positions whose logits are needed."""
        return len(self.keep_K)

    @property
    def trees(self) -> "tuple[Pack, ...]":
        """The pack itself, which is one sequence."""
        return (self,)

    @property
    def before(self) -> int:
        """The number of tokens before the sequence, whose keys and values a cache holds; 0 unless `behind` made the pack."""
        return int(self.position_ids_T[0])

    def mask(self) -> Tensor:
        """Return the attention mask (T, T): True where a token (row) sees another (column)."""
        order = torch.arange(self.tokens, device=self.node_T.device)
        return self.above_NN[self.node_T[:, None], self.node_T[None]] & (order[:, None] >= order[None])

    def questions(self) -> Tensor:
        """Return whether each node is a question (N): right below the root."""
        return self.above_NN.sum(1) == 2

    def to(self, device: torch.device) -> "Pack":
        """Return the pack on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return Pack(task_ids=self.task_ids, **moved)


def behind(pack: Pack, count: int) -> Pack:
    """Return a pack without the first `count` tokens of its prefix, of which at least one stays; positions stay as they are."""
    return replace(
        pack,
        input_ids_T=pack.input_ids_T[count:],
        position_ids_T=pack.position_ids_T[count:],
        node_T=pack.node_T[count:],
        keep_K=pack.keep_K - count,
    )


def split(pack: Pack, parts: int) -> list[Pack]:
    """Return a pack in parts of as equal numbers of questions as can be, each with the whole prefix.

    A question's loss is the same in its part: it never sees another question.
    """
    questions = len(pack.gold_Q)
    bounds = [questions * part // parts for part in range(parts + 1)]
    return [_part(pack, first, last) for first, last in pairwise(bounds) if first < last]


def _part(pack: Pack, first: int, last: int) -> Pack:
    """Return the questions from `first` to before `last`; all of a question's tokens and nodes follow one another."""

    def bounds(starts_Q: Tensor, end: int) -> tuple[int, int]:
        return int(starts_Q[first]), int(starts_Q[last]) if last < len(starts_Q) else end

    start_Q = pack.questions().nonzero()[:, 0]
    node, node_end = bounds(start_Q, len(pack.above_NN))
    token, token_end = bounds(torch.searchsorted(pack.node_T, start_Q), pack.tokens)
    keep, keep_end = bounds(pack.ask_Q, len(pack.keep_K))
    prefix = int((pack.node_T == 0).sum())
    in_T = torch.cat([torch.arange(prefix), torch.arange(token, token_end)]).to(pack.node_T.device)
    in_N = torch.cat([torch.zeros(1, dtype=torch.long), torch.arange(node, node_end)]).to(pack.node_T.device)
    branches = (int(pack.branch_A[-1]) + 1) // len(pack.gold_Q)
    in_A = (pack.branch_A >= first * branches) & (pack.branch_A < last * branches)
    node_T = pack.node_T[in_T]
    return Pack(
        task_ids=pack.task_ids[first:last],
        input_ids_T=pack.input_ids_T[in_T],
        position_ids_T=pack.position_ids_T[in_T],
        node_T=torch.where(node_T == 0, 0, node_T - node + 1),
        above_NN=pack.above_NN[in_N][:, in_N],
        keep_K=pack.keep_K[keep:keep_end] - token + prefix,
        ask_Q=pack.ask_Q[first:last] - keep,
        row_A=pack.row_A[in_A] - keep,
        target_A=pack.target_A[in_A],
        branch_A=pack.branch_A[in_A] - first * branches,
        rival_AR=pack.rival_AR[in_A],
        gold_Q=pack.gold_Q[first:last],
    )


class Tree:
    """A token tree under construction."""

    def __init__(self) -> None:
        self.input_ids: list[int] = []
        self.position_ids: list[int] = []
        self.node: list[int] = []
        self.paths: list[list[int]] = []
        self.ends: list[int] = []
        self.keep: list[int] = []
        self.ask: list[int] = []
        self.row: list[int] = []
        self.target: list[int] = []
        self.branch: list[int] = []
        self.rivals: list[list[int]] = []
        self.branches = 0

    def add(self, ids: Sequence[int], parent: int | None) -> int:
        """Append a node under another one and return its index."""
        index = len(self.paths)
        start = 0 if parent is None else self.ends[parent]
        self.paths.append([index] if parent is None else [*self.paths[parent], index])
        self.ends.append(start + len(ids))
        self.input_ids += ids
        self.position_ids += range(start, start + len(ids))
        self.node += [index] * len(ids)
        return index

    def branch_out(self, question: int, answers: Sequence[Sequence[int]], rivals: Sequence[list[list[int]]]) -> None:
        """Append the answers under a question that was just added, and note which logits predict their tokens, and the rivals."""
        asked = len(self.keep)
        self.ask.append(asked)
        self.keep.append(len(self.input_ids) - 1)
        for answer, of_answer in zip(answers, rivals, strict=True):
            # The last token of an answer predicts nothing, so it is no input.
            start, inputs = len(self.input_ids), len(answer) - 1
            self.add(answer[:-1], question)
            self.row += [asked, *range(len(self.keep), len(self.keep) + inputs)]
            self.keep += range(start, start + inputs)
            self.target += answer
            self.branch += [self.branches] * len(answer)
            self.rivals += of_answer
            self.branches += 1

    def above(self) -> Tensor:
        """Return which nodes are above which (N, N)."""
        matrix = torch.zeros(len(self.paths), len(self.paths), dtype=torch.bool)
        for index, path in enumerate(self.paths):
            matrix[index, path] = True
        return matrix

    def packed(self, task_ids: Sequence[str], gold: Sequence[int]) -> Pack:
        """Return the finished pack of the questions, of each of which `gold` names the right branch."""
        return Pack(
            task_ids=tuple(task_ids),
            input_ids_T=torch.tensor(self.input_ids),
            position_ids_T=torch.tensor(self.position_ids),
            node_T=torch.tensor(self.node),
            above_NN=self.above(),
            keep_K=torch.tensor(self.keep),
            ask_Q=torch.tensor(self.ask),
            row_A=torch.tensor(self.row),
            target_A=torch.tensor(self.target),
            branch_A=torch.tensor(self.branch),
            rival_AR=torch.tensor(self.rivals),
            gold_Q=torch.tensor(gold),
        )


def rivals_of(answer: Sequence[int], answers: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the tokens by which the answers go on that began as one of them did, for each of its tokens (`Pack.rival_AR`)."""
    found, left = [], list(answers)
    for place, token in enumerate(answer):
        next_tokens = sorted({other[place] for other in left if len(other) > place})
        found.append(next_tokens + [NO_RIVAL] * (len(answers) - len(next_tokens)))
        left = [other for other in left if len(other) > place and other[place] == token]
    return found


def pack(
    prefix: Sequence[int],
    segments: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    gold: Sequence[int],
    task_ids: Sequence[str],
    *,
    context: int,
    generated: int = 0,
    gold_only: bool = False,
    competing: bool = True,
) -> Pack:
    """Pack the tasks of one candidate set.

    Args:
        prefix: tokens of the candidate set.
        segments: tokens of each question, up to where the answer starts.
        answers: tokens of each candidate's answer, the end token included.
        gold: index of the right candidate of each question.
        task_ids: ids of what is asked, for messages.
        context: positions that the model has.
        generated: positions that tokens generated after a question may need.
        gold_only: whether each question branches into its right answer alone.
        competing: whether the answers are a choice, so that `rival_AR` is filled.

    Raises:
        UserError: E-CTX if a task is longer than the model's context. Nothing is ever cut.
    """
    tree, needed_Q = Tree(), []
    rivals = [rivals_of(answer, answers if competing else []) for answer in answers]
    root = tree.add(prefix, None)
    for segment, right in zip(segments, gold, strict=True):
        question = tree.add(segment, root)
        own = [right] if gold_only else range(len(answers))
        tree.branch_out(question, [answers[index] for index in own], [rivals[index] for index in own])
        needed_Q.append(max(tree.ends[question] + generated, *tree.ends[question:]))
    _require_room(needed_Q, max(tree.ends), context, task_ids)
    return tree.packed(task_ids, [0] * len(segments) if gold_only else gold)


def _require_room(needed_Q: Sequence[int], longest: int, context: int, task_ids: Sequence[str]) -> None:
    """Refuse tasks that need more positions than the context has; `longest` of them are taken before anything is generated."""
    if (needed := max(needed_Q)) <= context:
        return
    lowered = "distractors or icl.demonstrations (icl)"
    if longest <= context:
        lowered = f"evaluate.max_new_tokens, reasoning.tokens (cot, react), {lowered}"
    raise UserError(
        "E-CTX",
        f"a task needs {needed} positions, the backbone has {context}",
        f"question {task_ids[needed_Q.index(needed)]}",
        fix=f"lower {lowered}, shorten the documentation, or choose a backbone with a longer context",
        exit_code=Exit.DATA,
    )
