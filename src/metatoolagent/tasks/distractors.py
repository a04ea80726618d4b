"""Distractors: which wrong tools stand beside the gold tool.

Legend: N tasks, T tools of the catalog, D distractors. Tools are numbers: their places in the catalog's table.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoolagent import artifacts, params
from metatoolagent.errors import UserError

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def generator_of(seed: int, *names: str | int) -> np.random.Generator:
    """Return a generator of its own for what `names` name, such as a table and the number of a chunk of it."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8])])


@dataclass(frozen=True)
class Sampling:
    """How candidate sets are made."""

    distractors: int
    by_domain: bool
    """Whether the candidates of a task are of one domain."""

    ranks_TT: Ints | None
    """What `similarity_ranks` returns, for the most similar tools; None for any."""

    seed: int


def similarity_ranks(tools: pl.DataFrame) -> Ints:
    """Return for each tool (row) the rank of every tool (column) by bm25 over name and description, 0 the most similar.

    Args:
        tools: name and description of each tool.
    """
    import bm25s  # with scipy, which takes longer than random distractors

    documents = (tools["name"].str.replace_all("_", " ") + " " + tools["description"]).to_list()
    tokens = bm25s.tokenize(documents, stopwords="en", show_progress=False, return_ids=False)
    index = bm25s.BM25()
    index.index(tokens, show_progress=False)
    # A document of stop words alone is like no other.
    scores_TT = np.stack([index.get_scores(query) if query else np.zeros(len(tokens), np.float32) for query in tokens])
    order_TT = np.argsort(-scores_TT, axis=1, kind="stable")
    ranks_TT = np.empty_like(order_TT)
    np.put_along_axis(ranks_TT, order_TT, np.arange(len(documents))[None, :], axis=1)
    return ranks_TT


def draw_keys(gold_N: Ints, tools: int, ranks_TT: Ints | None, generator: np.random.Generator) -> Floats:
    """Return the order in which each task takes its distractors, those with the smallest keys first; shape (N, T)."""
    return generator.random((len(gold_N), tools)) if ranks_TT is None else ranks_TT[gold_N].astype(np.float64)


def draw(gold_N: Ints, allowed_NT: Bools, keys_NT: Floats, distractors: int) -> Ints:
    """Return the distractors of each task in rising order, shape (N, D).

    Args:
        gold_N: the gold tool of each task; never a distractor.
        allowed_NT: which tools may be distractors of which task.
        keys_NT: what `draw_keys` returns.
        distractors: how many; at least as many tools must be allowed, which `require` checks beforehand.
    """
    rows_N = np.arange(len(gold_N))
    keys_NT = np.where(allowed_NT, keys_NT, np.inf)
    keys_NT[rows_N, gold_N] = np.inf
    # The places within a partition depend on the processor, so they are sorted.
    chosen_ND = np.sort(np.argpartition(keys_NT, distractors - 1, axis=1)[:, :distractors], axis=1)
    assert np.isfinite(keys_NT[rows_N[:, None], chosen_ND]).all(), "a task has too few tools to draw distractors from"
    return chosen_ND


def in_evaluation(evaluation: params.Evaluated, distractors: int) -> tuple[int, str]:
    """Return the number of distractors in evaluation, and the key of params.yaml that has it.

    Args:
        evaluation: with a number of its own, or 0.
        distractors: the number where it has none.
    """
    return (evaluation.distractors, "eval_tasks.distractors") if evaluation.distractors else (distractors, "distractors")


@dataclass(frozen=True)
class Beside:
    """The other tasks that a number of distractors is for, in training or in evaluation."""

    available: Callable[[], Mapping[str, int]] = dict
    """Returns how many distractors each of their scopes can give; asked only where the number is too large anyway."""

    reach: str = ""
    """What the largest number is possible for with them, in words."""


ALONE = Beside()


def require(available: Mapping[str, int], distractors: int, key: str = "distractors", beside: Beside = ALONE) -> None:
    """Refuse a number of distractors that some scope has too few tools for.

    Args:
        available: how many distractors each scope, such as the tools of a domain, can give.
        distractors: how many are asked for.
        key: where in params.yaml; a sweep's key has a list of numbers.
        beside: the other tasks that the number is for.

    Raises:
        UserError: E-DISTRACTORS, naming each scope that is too small and the largest possible number.
    """
    if all(number >= distractors for number in available.values()):
        return
    available = {**available, **beside.available()}
    small = [f"{scope} (at most {max(number, 0)})" for scope, number in available.items() if number < distractors]
    largest = min(available.values())
    possible = lowered(key, largest) + (f" ({beside.reach})" if beside.reach else "")
    raise UserError(
        "E-DISTRACTORS",
        "there are not enough tools for so many distractors",
        ", ".join(small),
        got=f"{key}: {distractors}",
        fix=(f"{possible}, or " if largest > 0 else "") + "add tools there",
        kept=artifacts.KEPT,
    )


def lowered(key: str, largest: int) -> str:
    """Return the advice to lower a number to the largest that is possible; a sweep's key has a list of numbers."""
    return f"take what is above {largest} out of {key}" if key.startswith("sweeps.") else f"set {key}: {largest}"
