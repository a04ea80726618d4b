"""Evaluation tasks: questions of held-out tools, spread evenly; a few questions of one tool share a candidate set.

A shared set is read once for all its questions, which is what makes an evaluation affordable on a laptop. Questions
of one tool are one cluster of the statistics anyway, so nothing is counted as independent that is not.

Legend: N tasks of a chunk, G candidate sets of a chunk, T tools, Q questions, C candidates.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from metatoolagent import artifacts, params
from metatoolagent.errors import UserError
from metatoolagent.tasks.choices import KEYS, Choices
from metatoolagent.tasks.distractors import Bools, Ints, Sampling, draw, draw_keys, generator_of

CHUNK = 2**14
"""Tasks that are made at once, if their keys are no more than `KEYS`."""


def eval_tasks(choices: Choices, sampling: Sampling, params: params.EvalTasks) -> Iterator[pl.DataFrame]:
    """Yield the rows of the evaluation tasks, pool by pool and chunk by chunk.

    Both pools ask the same questions in the same order. Pool `all` takes distractors from the whole catalog, pool
    `unseen` from the tools that are not in training.

    Args:
        choices: the tools and questions of the split; `available` must give the distractors asked for.
        sampling: how candidate sets are made.
        params: the part that is evaluated and the number of tasks of a pool.

    Raises:
        UserError: E-QUESTIONS if the part has fewer questions than tasks are asked for.
    """
    question_Q = chosen_questions(choices, sampling.seed, params)
    group_Q = candidate_set(choices.tool_Q[question_Q], params.tasks_per_set)
    chunk = max(1, min(CHUNK, KEYS // len(choices.names)))
    for pool, pool_T in pools(choices, params.part).items():
        for start in range(0, int(group_Q[-1]) + 1, chunk):
            of_chunk_Q = (group_Q >= start) & (group_Q < start + chunk)
            question_N, group_N = question_Q[of_chunk_Q], group_Q[of_chunk_Q] - start
            gold_G = choices.tool_Q[question_N[np.searchsorted(group_N, np.arange(group_N[-1] + 1))]]
            generator = generator_of(sampling.seed, "eval_tasks", pool, start // chunk)
            allowed_GT = _allowed(choices, question_N, group_N, pool_T, sampling.by_domain)
            keys_GT = draw_keys(gold_G, len(choices.names), sampling.ranks_TT, generator)
            wrong_GD = draw(gold_G, allowed_GT, keys_GT, sampling.distractors)
            ordered_GC = generator.permuted(np.column_stack([gold_G, wrong_GD]), axis=1)
            rows = choices.rows(question_N, gold_G[group_N], ordered_GC[group_N])
            number = (
                pl.int_range(int(np.argmax(of_chunk_Q)), int(np.argmax(of_chunk_Q)) + len(question_N))
                .cast(pl.String)
                .str.zfill(6)
            )
            yield rows.select(
                (pl.lit(f"{pool}-") + number).alias("task_id"),
                pl.lit(pool).alias("pool"),
                pl.lit(params.part).alias("part"),
                pl.all(),
            )


def candidate_set(tool_Q: Ints, size: int) -> Ints:
    """Return the candidate set of each question, from 0: runs of up to `size` questions of one tool share one.

    Args:
        tool_Q: the gold tool of each question, sorted so that a tool's questions stand together.
        size: questions that share a set.
    """
    first_Q = np.flatnonzero(np.r_[True, tool_Q[1:] != tool_Q[:-1]])
    rank_Q = np.arange(len(tool_Q)) - np.repeat(first_Q, np.diff(np.r_[first_Q, len(tool_Q)]))
    return np.cumsum(rank_Q % size == 0) - 1


def pools(choices: Choices, part: str) -> dict[str, Bools]:
    """Return the tools of each pool.

    There is `all` alone where no tool is in training, since both would be the same, and for tasks of training tools, which
    would stand out among unseen ones.
    """
    every_T, unseen_T = np.ones(len(choices.names), np.bool_), choices.part_T != "train"
    return {"all": every_T} if unseen_T.all() or part == "train" else {"all": every_T, "unseen": unseen_T}


def available(choices: Choices, by_domain: bool, seed: int, params: params.EvalTasks) -> dict[str, int]:
    """Return how many distractors each scope of a pool can give to every candidate set.

    Raises:
        UserError: E-QUESTIONS.
    """
    return _available(choices, by_domain, chosen_questions(choices, seed, params), params.tasks_per_set, params.part)


def available_to_any(choices: Choices, by_domain: bool) -> dict[str, int]:
    """Return how many distractors each scope can give whichever questions of unseen tools are asked; empty without any."""
    question_Q = np.flatnonzero(choices.part_T[choices.tool_Q] != "train")
    question_Q = question_Q[np.argsort(choices.tool_Q[question_Q], kind="stable")]
    return _available(choices, by_domain, question_Q, len(question_Q), "test") if len(question_Q) else {}


def _available(choices: Choices, by_domain: bool, question_Q: Ints, per_set: int, part: str) -> dict[str, int]:
    """Return how many distractors each scope of a pool can give to the questions, those of a tool standing together."""
    gold_Q = choices.tool_Q[question_Q]
    group_Q = candidate_set(gold_Q, per_set)
    group_of = np.full(len(choices.tool_Q), -1)
    group_of[question_Q] = group_Q
    group_A, tool_A = group_of[choices.second_2A[0]], choices.second_2A[1]
    scope_T = choices.domain_T if by_domain else np.zeros_like(choices.domain_T)
    found: dict[str, int] = {}
    for pool, pool_T in pools(choices, part).items():
        in_scope_A = scope_T[tool_A] == scope_T[choices.tool_Q[choices.second_2A[0]]]
        taken_A = (group_A >= 0) & pool_T[tool_A] & in_scope_A
        # The questions of a set may share a second answer, which is one tool less.
        second = np.unique(np.stack([group_A[taken_A], tool_A[taken_A]]), axis=1)[0]
        answers_Q = 1 + np.bincount(second, minlength=len(question_Q))[group_Q]
        size_Q = np.bincount(scope_T[pool_T], minlength=scope_T.max() + 1)[scope_T[gold_Q]]
        for scope in np.unique(scope_T[gold_Q]).tolist():
            name = f"domain {choices.domains[scope]} in pool {pool}" if by_domain else f"pool {pool}"
            found[name] = int((size_Q - answers_Q)[scope_T[gold_Q] == scope].min())
    return found


def chosen_questions(choices: Choices, seed: int, params: params.EvalTasks) -> Ints:
    """Return the questions, evenly over the tools, those of a tool together, tools and questions in random order.

    Raises:
        UserError: E-QUESTIONS.
    """
    question_Q = np.flatnonzero(choices.part_T[choices.tool_Q] == params.part)
    if not len(question_Q) or len(question_Q) < params.count:
        raise UserError(
            "E-QUESTIONS",
            f"{params.count} evaluation tasks are asked for, and the part has {len(question_Q)} questions",
            f"part {params.part}",
            fix=f"set eval_tasks.count: {len(question_Q)}, for a sweep alone sweeps.caps.eval_tasks, or add questions"
            if len(question_Q)
            else "name a part with questions",
            kept=artifacts.KEPT,
        )
    generator = generator_of(seed, "eval_tasks", "questions")
    tool_Q = choices.tool_Q[question_Q]
    order = np.lexsort((generator.random(len(question_Q)), tool_Q))
    ranked = tool_Q[order]
    round_Q = np.arange(len(ranked)) - np.searchsorted(ranked, ranked)
    turn_T = generator.permutation(len(choices.names))
    kept = np.lexsort((turn_T[ranked], round_Q))[: params.count]
    return question_Q[order][kept][np.lexsort((round_Q[kept], turn_T[ranked[kept]]))]


def _allowed(choices: Choices, question_N: Ints, group_N: Ints, pool_T: Bools, by_domain: bool) -> Bools:
    """Return the tools that may be distractors of each candidate set (G, T): none that answers one of its questions."""
    allowed_GT = np.tile(pool_T, (int(group_N[-1]) + 1, 1))
    if by_domain:
        domain_G = choices.domain_T[choices.tool_Q[question_N[np.searchsorted(group_N, np.arange(len(allowed_GT)))]]]
        allowed_GT &= choices.domain_T == domain_G[:, None]
    group_Q = np.full(len(choices.tool_Q), -1)
    group_Q[question_N] = group_N
    group_A, tool_A = group_Q[choices.second_2A[0]], choices.second_2A[1]
    allowed_GT[group_A[group_A >= 0], tool_A[group_A >= 0]] = False
    return allowed_GT
