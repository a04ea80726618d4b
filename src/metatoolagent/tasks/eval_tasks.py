"""Evaluation tasks: questions of held-out tools, spread evenly, each with its own candidate set and order.

Legend: N tasks of a chunk, T tools, Q questions, C candidates.
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
    chunk = max(1, min(CHUNK, KEYS // len(choices.names)))
    for pool, pool_T in pools(choices).items():
        for start in range(0, params.count, chunk):
            question_N = question_Q[start : start + chunk]
            gold_N = choices.tool_Q[question_N]
            generator = generator_of(sampling.seed, "eval_tasks", pool, start // chunk)
            allowed_NT = _allowed(choices, question_N, pool_T, sampling.by_domain)
            keys_NT = draw_keys(gold_N, len(choices.names), sampling.ranks_TT, generator)
            wrong_ND = draw(gold_N, allowed_NT, keys_NT, sampling.distractors)
            rows = choices.rows(question_N, gold_N, generator.permuted(np.column_stack([gold_N, wrong_ND]), axis=1))
            number = pl.int_range(start, start + len(gold_N)).cast(pl.String).str.zfill(6)
            yield rows.select(
                (pl.lit(f"{pool}-") + number).alias("task_id"),
                pl.lit(pool).alias("pool"),
                pl.lit(params.part).alias("part"),
                pl.all(),
            )


def pools(choices: Choices) -> dict[str, Bools]:
    """Return the tools of each pool."""
    return {"all": np.ones(len(choices.names), np.bool_), "unseen": choices.part_T != "train"}


def available(choices: Choices, by_domain: bool, seed: int, params: params.EvalTasks) -> dict[str, int]:
    """Return how many distractors each scope of a pool can give to every question that is asked.

    Raises:
        UserError: E-QUESTIONS.
    """
    question_Q = chosen_questions(choices, seed, params)
    gold_Q = choices.tool_Q[question_Q]
    scope_T = choices.domain_T if by_domain else np.zeros_like(choices.domain_T)
    found: dict[str, int] = {}
    for pool, pool_T in pools(choices).items():
        asked, tool_A = choices.second_2A
        second = pool_T[tool_A] & (scope_T[tool_A] == scope_T[choices.tool_Q[asked]])
        answers_Q = 1 + np.bincount(asked[second], minlength=len(choices.tool_Q))[question_Q]
        size_Q = np.bincount(scope_T[pool_T], minlength=scope_T.max() + 1)[scope_T[gold_Q]]
        for scope in np.unique(scope_T[gold_Q]).tolist():
            name = f"domain {choices.domains[scope]} in pool {pool}" if by_domain else f"pool {pool}"
            found[name] = int((size_Q - answers_Q)[scope_T[gold_Q] == scope].min())
    return found


def chosen_questions(choices: Choices, seed: int, params: params.EvalTasks) -> Ints:
    """Return the questions: one of every tool, then a second one of every tool, and so on, in random order.

    Raises:
        UserError: E-QUESTIONS.
    """
    question_Q = np.flatnonzero(choices.part_T[choices.tool_Q] == params.part)
    if len(question_Q) < params.count:
        raise UserError(
            "E-QUESTIONS",
            f"{params.count} evaluation tasks are asked for, and the part has {len(question_Q)} questions",
            f"part {params.part}",
            fix=f"set eval_tasks.count: {len(question_Q)}, or add questions",
            kept=artifacts.KEPT,
        )
    generator = generator_of(seed, "eval_tasks", "questions")
    tool_Q = choices.tool_Q[question_Q]
    order = np.lexsort((generator.random(len(question_Q)), tool_Q))
    ranked = tool_Q[order]
    round_Q = np.arange(len(ranked)) - np.searchsorted(ranked, ranked)
    turn_T = generator.permutation(len(choices.names))
    return question_Q[order][np.lexsort((turn_T[ranked], round_Q))][: params.count]


def _allowed(choices: Choices, question_N: Ints, pool_T: Bools, by_domain: bool) -> Bools:
    allowed_NT = np.tile(pool_T, (len(question_N), 1))
    if by_domain:
        allowed_NT &= choices.domain_T == choices.domain_T[choices.tool_Q[question_N]][:, None]
    place_Q = np.full(len(choices.tool_Q), -1)
    place_Q[question_N] = np.arange(len(question_N))
    row_A, tool_A = place_Q[choices.second_2A[0]], choices.second_2A[1]
    allowed_NT[row_A[row_A >= 0], tool_A[row_A >= 0]] = False
    return allowed_NT
