"""Difficulty: how often word matching alone finds the right tool, by bm25 over names and descriptions or over names alone.

Nothing is drawn: for each question the chance to be right is computed over all candidate sets that there are, so the figure
has no seed. A ranker that cannot tell k tools apart picks one of them by chance.

Legend: N questions, T tools.
"""

from collections.abc import Iterator
from itertools import chain
from math import comb

import bm25s
import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoolagent.catalog.wording import content_words

Floats = NDArray[np.float64]


def difficulty(tools: pl.DataFrame, questions: pl.DataFrame, distractors: int) -> pl.DataFrame:
    """Return the chance that bm25 picks a tool that answers, for each question.

    Args:
        tools: name, domain and description.
        questions: question_id, tool, also and question.
        distractors: the wrong tools beside the gold tool, drawn from all domains (cd) or from its own (sd).

    Returns:
        question_id and tool, and the columns bm25_cd, bm25_sd, names_cd and names_sd.
    """
    documents = (tools["name"] + " " + tools["description"]).to_list()
    scores = zip(_scores(documents, questions), _scores(tools["name"].to_list(), questions), strict=True)
    place = {name: index for index, name in enumerate(tools["name"])}
    domain_T = tools["domain"].rank("dense").to_numpy()
    columns: dict[str, list[float]] = {f"{kind}_{scope}": [] for kind in ("bm25", "names") for scope in ("cd", "sd")}
    for (tool, also), scores_of in zip(questions.select("tool", "also").iter_rows(), scores, strict=True):
        gold = place[tool]
        wrong_T = np.ones(len(place), bool)
        wrong_T[[gold, *(place[name] for name in also)]] = False
        scopes = {"cd": wrong_T, "sd": wrong_T & (domain_T == domain_T[gold])}
        for kind, scores_T in zip(("bm25", "names"), scores_of, strict=True):
            for scope, scope_T in scopes.items():
                columns[f"{kind}_{scope}"].append(chance(scores_T[gold], scores_T[scope_T], distractors))
    return questions.select("question_id", "tool").with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def chance(gold: float, others: Floats, distractors: int) -> float:
    """Return the chance that the gold tool scores highest among distractors drawn from `others`, ties broken by chance."""
    drawn = min(distractors, len(others))
    equal, less = int((others == gold).sum()), int((others < gold).sum())
    ways = sum(comb(equal, ties) * comb(less, drawn - ties) / (ties + 1) for ties in range(drawn + 1))
    return ways / comb(len(others), drawn)


def _scores(documents: list[str], questions: pl.DataFrame) -> Iterator[Floats]:
    """Yield the scores of all documents for one question after the other, since those of all questions may outgrow memory."""
    words = [content_words(document) for document in documents]
    known = set(chain.from_iterable(words))
    nothing = np.zeros(len(documents))
    index = bm25s.BM25()
    if known:  # bm25s has no index of nothing; names such as get_it have no content word
        index.index(words, show_progress=False)
    for question in questions["question"]:
        query = [word for word in content_words(question) if word in known]
        yield index.get_scores(query).astype(np.float64) if query else nothing
