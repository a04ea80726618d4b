"""Training meta-tasks: packs of tasks that share a candidate set, support and query packs over disjoint tools.

Legend: M meta-tasks of a chunk, P packs of a meta-task, N packs of a chunk (M times P), C candidates, K tasks of a
pack, T training tools, Q questions, U units that the tools are parted by.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from metatoolagent import artifacts, params
from metatoolagent.errors import Finding, UserError, raise_findings
from metatoolagent.tasks.abstention import offered
from metatoolagent.tasks.choices import KEYS, Choices
from metatoolagent.tasks.distractors import Bools, Ints, Sampling, draw, draw_keys, generator_of, lowered
from metatoolagent.tasks.turns import Parting, Turns
from metatoolagent.variants import MAIN, QUESTIONS, TOOLS, Variant

CHUNK = 1024
"""Meta-tasks that are made at once, if the keys of their packs are no more than `KEYS`."""


@dataclass(frozen=True)
class Training:
    """The tools that train, as numbers of their own: those with a question that no other tool answers."""

    tool_T: Ints
    """The number of each in the catalog."""

    domain_T: Ints
    tool_Q: Ints
    question_Q: Ints

    @classmethod
    def of(cls, choices: Choices, seed: int, params: params.TrainedOn, variant: Variant = MAIN) -> "Training":
        """Return the training tools of a split and their questions, or as many of both as the params leave.

        Args:
            choices: the tools and questions of the split.
            seed: of the draw.
            params: how many of both are left.
            variant: whose params they are, for the key in the error.

        Raises:
            UserError: E-QUESTIONS if more training tools, or more questions of each, are asked for than there are.
        """
        question_Q = np.flatnonzero(choices.unambiguous() & (choices.part_T[choices.tool_Q] == "train"))
        if params.tools:
            kept_T = _spread(choices, question_Q, params.tools, variant.named(TOOLS), generator_of(seed, "meta_tasks", "tools"))
            question_Q = question_Q[np.isin(choices.tool_Q[question_Q], kept_T)]
        if params.questions_per_tool:
            most = int(np.bincount(choices.tool_Q[question_Q]).max(initial=0))
            what = f"questions of each training tool are asked for, and none has more than {most}"
            _require(params.questions_per_tool, most, what, variant.named(QUESTIONS))
            turn_Q = generator_of(seed, "meta_tasks", "questions").permutation(len(choices.tool_Q))[question_Q]
            question_Q = question_Q[_rank(turn_Q, choices.tool_Q[question_Q]) < params.questions_per_tool]
        tool_T, tool_Q = np.unique(choices.tool_Q[question_Q], return_inverse=True)
        return cls(tool_T, choices.domain_T[tool_T], tool_Q, question_Q)

    def parting(self, by_domain: bool, candidates: int) -> Parting:
        """Return how support and query tools are parted: by domain if that is possible, else tool by tool.

        With candidates of all domains each side must have a third of the tools: of one large domain and two small ones, the same
        few tools would be one side of every meta-task.
        """
        size_U = np.bincount(self.domain_T)
        need = max(candidates, len(self.tool_T) // 3)
        domains = Parting(self.domain_T, np.minimum(size_U, 1) if by_domain else size_U, 1 if by_domain else need)
        if domains.is_possible():
            return domains
        return Parting(np.arange(len(self.tool_T)), np.ones_like(self.tool_T), candidates)


def _spread(choices: Choices, question_Q: Ints, tools: int, key: str, generator: np.random.Generator) -> Ints:
    """Return some of the tools of questions, the domains in turn; of more tools of the same seed, they are a part."""
    tool_T = np.unique(choices.tool_Q[question_Q])
    most = len(tool_T)
    _require(tools, most, f"training tools are asked for, and {most} have a question with one answer", key)
    turn_T = generator.permutation(len(choices.names))[tool_T]
    domain_T = choices.domain_T[tool_T]
    turn_U = generator.permutation(len(choices.domains))
    return tool_T[np.lexsort((turn_U[domain_T], _rank(turn_T, domain_T)))][:tools]


def _require(asked: int, most: int, what: str, key: str) -> None:
    """Refuse more than there are: a sweep over it would tell of a size that there is not."""
    if asked > most:
        fix = f"{lowered(key, most)}, or 0 for all"
        raise UserError("E-QUESTIONS", f"{asked} {what}", got=f"{key}: {asked}", fix=fix, kept=artifacts.KEPT)


def _rank(turn_N: Ints, group_N: Ints) -> Ints:
    """Return the place of each item in its group, from 0, in the order of its turn."""
    order_N = np.lexsort((turn_N, group_N))
    sorted_N = group_N[order_N]
    rank_N = np.empty_like(group_N)
    rank_N[order_N] = np.arange(len(group_N)) - np.searchsorted(sorted_N, sorted_N)
    return rank_N


def left_out(params: params.MetaTasks) -> int:
    """Return how many tools a pack has beside its candidates: one, which answers the questions that none of those does."""
    return 1 if params.abstention else 0


def available(choices: Choices, training: Training, by_domain: bool, tools: int, left_out: int) -> dict[str, int]:
    """Return how many distractors each scope of training candidates can give.

    Args:
        choices: the tools and questions of the split.
        training: those that train.
        by_domain: whether the candidates of a task are of one domain.
        tools: how many training tools params.yaml leaves, 0 for all, for the name of the scope.
        left_out: what `left_out` returns.
    """
    size_U = np.bincount(training.domain_T)
    others = 1 + left_out
    if by_domain and (size_U > 0).sum() > 1:
        units = np.flatnonzero(size_U)
        return {f"training tools of domain {choices.domains[unit]}": int(size_U[unit]) - others for unit in units}
    # Two disjoint candidate sets come from one scope.
    limited = f", meta_tasks.tools being {tools}" if tools else ""
    return {f"training tools{limited}": len(training.domain_T) // 2 - others}


def meta_tasks(choices: Choices, training: Training, sampling: Sampling, params: params.MetaTasks) -> Iterator[pl.DataFrame]:
    """Yield the rows of training meta-tasks, chunk by chunk.

    A candidate set is an anchor tool and its distractors. Support and query tools lie in different domains where two
    groups of domains can be large enough, else in disjoint halves of the tools.

    With `params.abstention`, one more tool is drawn for each pack, one of its tools at random is left out of the
    candidates, and a share of the tasks asks a question of that one: `none of these`, which every pack then offers, is
    right. The left-out tool is of the pack's own side, so support and query tools stay disjoint.

    Args:
        choices: the tools and questions of the split; `available` must give the distractors asked for.
        training: those that train.
        sampling: how candidate sets are made.
        params: number and sizes of meta-tasks.

    Raises:
        UserError: E-QUESTIONS if a pack would ask a question twice.
    """
    candidates = sampling.distractors + 1
    together = candidates + left_out(params)
    turns = Turns.first(training.tool_Q, training.question_Q, generator_of(sampling.seed, "meta_tasks", "turns"))
    # All tasks of a pack may happen to ask for the tool that is left out.
    most = params.tasks_per_pack if params.abstention else -(-params.tasks_per_pack // candidates)
    _require_questions(choices, training, turns, most, params.questions_per_tool)
    parting = training.parting(sampling.by_domain, together)
    support_P = np.arange(params.support_packs + params.query_packs) < params.support_packs
    chunk = max(1, min(CHUNK, KEYS // (len(support_P) * len(training.tool_T))))
    for start in range(0, params.count, chunk):
        generator = generator_of(sampling.seed, "meta_tasks", start // chunk)
        side_MT = parting.support(min(chunk, params.count - start), generator)
        anchor_N = turns.anchors(side_MT, support_P, generator).ravel()
        allowed_NT = np.repeat(side_MT, len(support_P), axis=0) == np.tile(support_P, len(side_MT))[:, None]
        drawn_NC = _drawn(training, sampling, together, anchor_N, allowed_NT, generator)
        candidates_NC = drawn_NC[:, :candidates]
        gold_NK = _golds(candidates_NC, params.tasks_per_pack, generator)
        absent_NK = _absent(gold_NK.shape, start // chunk, sampling.seed, params)
        asked_NK = np.where(absent_NK, drawn_NC[:, -1:], gold_NK)
        tasks = choices.rows(
            turns.questions(asked_NK.ravel()),
            training.tool_T[gold_NK.ravel()],
            np.repeat(training.tool_T[candidates_NC], params.tasks_per_pack, axis=0),
        )
        if params.abstention:
            tasks = offered(tasks, absent_NK.ravel())
        numbers = _numbers(start, len(side_MT), params)
        rows = pl.concat([numbers, tasks, _documentation(numbers["meta_task"], sampling.seed, params)], how="horizontal")
        # All are drawn and the rest is dropped, so that fewer query tasks are some of the same.
        number = pl.col("pack").cast(pl.Int32) * params.tasks_per_pack + pl.col("task")
        yield rows.filter((pl.col("role") == "support") | (number < params.query_tasks)) if params.query_tasks else rows


def _require_questions(choices: Choices, training: Training, turns: Turns, needed: int, per_tool: int) -> None:
    few = [(choices.names[int(training.tool_T[tool])], turns.count_T[tool]) for tool in np.flatnonzero(turns.count_T < needed)]
    what = f"a pack asks up to {needed} different questions of a training tool"
    limited = f"raise meta_tasks.questions_per_tool (now {per_tool})" if per_tool else "add questions"
    fix = f"{limited}, or lower meta_tasks.tasks_per_pack"
    findings = [Finding("E-QUESTIONS", what, f"tool {name}", f"{count} questions with one answer", fix) for name, count in few]
    raise_findings(findings, kept=artifacts.KEPT)


def _drawn(
    training: Training, sampling: Sampling, together: int, anchor_N: Ints, allowed_NT: Bools, generator: np.random.Generator
) -> Ints:
    """Return the tools of each pack in random order, shape (N, together): first its candidates, as the model sees them."""
    if sampling.by_domain:
        allowed_NT &= training.domain_T == training.domain_T[anchor_N][:, None]
    ranks_TT = None if sampling.ranks_TT is None else sampling.ranks_TT[np.ix_(training.tool_T, training.tool_T)]
    keys_NT = draw_keys(anchor_N, len(training.tool_T), ranks_TT, generator)
    wrong_ND = draw(anchor_N, allowed_NT, keys_NT, together - 1)
    return generator.permuted(np.column_stack([anchor_N, wrong_ND]), axis=1)


def _golds(candidates_NC: Ints, tasks: int, generator: np.random.Generator) -> Ints:
    """Return the gold tools of each pack: every candidate equally often, but for a random rest; shape (N, K)."""
    rounds = -(-tasks // candidates_NC.shape[1])
    return np.column_stack([generator.permuted(candidates_NC, axis=1) for _ in range(rounds)])[:, :tasks]


def _absent(shape: tuple[int, ...], chunk: int, seed: int, params: params.MetaTasks) -> Bools:
    """Return which tasks ask for the tool that is left out, shape (N, K); of a generator of their own."""
    return generator_of(seed, "meta_tasks", "abstention", chunk).random(shape) < params.abstention


def _documentation(meta_task_N: pl.Series, seed: int, params: params.MetaTasks) -> pl.DataFrame:
    """Return which tasks ask with the gold tool's documentation: from all of them at the start down to none.

    Such a task is solved by finding a text again, so it teaches to look the request up in the list and to copy the name
    beside it long before questions do (docs/decisions/0010-documentation-as-first-questions.md).
    """
    number_N = meta_task_N.to_numpy().astype(np.float64)
    last = params.documentation * params.count
    share_N = np.clip(1 - number_N / last, 0, 1) if last else np.zeros_like(number_N)
    draws_N = generator_of(seed, "meta_tasks", "documentation", int(number_N[0])).random(len(number_N))
    return pl.DataFrame({"documentation": draws_N < share_N})


def _numbers(start: int, meta_tasks: int, params: params.MetaTasks) -> pl.DataFrame:
    """Return the columns that number the tasks: meta-task, role, pack and task."""
    roles = ["support"] * params.support_packs + ["query"] * params.query_packs
    packs = [*range(params.support_packs), *range(params.query_packs)]
    tasks = params.tasks_per_pack
    return pl.DataFrame(
        {
            "meta_task": np.repeat(np.arange(start, start + meta_tasks, dtype=np.int32), len(packs) * tasks),
            "role": pl.Series(np.tile(np.repeat(roles, tasks), meta_tasks), dtype=pl.String),
            "pack": np.tile(np.repeat(np.array(packs, np.int16), tasks), meta_tasks),
            "task": np.tile(np.arange(tasks, dtype=np.int16), meta_tasks * len(packs)),
        }
    )
