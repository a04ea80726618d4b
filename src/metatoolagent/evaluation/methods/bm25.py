"""Lexical retrieval: the candidate whose name and description share the most, and the rarest, words with the question.

Okapi BM25 in Lucene's form (k1 1.5, b 0.75), over the candidates of the task: as a model, it sees no other tool. A name is
the words that it is put together from (`getWeather`, `get_weather`). Ties, among them questions without a word in common
with any candidate, go to the first one of the seeded order.
"""

import re
from collections.abc import Sequence

import bm25s
import numpy as np
import polars as pl

from metatoolagent.artifacts import verify
from metatoolagent.evaluation.job import Answer, Job, Prediction, Tasks, set_by_set
from metatoolagent.known import Known

JOINT = re.compile(r"_|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where the words of a name meet; dots and hyphens end a word anyway."""


def prepare(job: Job) -> Answer:
    """Read the documentation and the questions."""
    tools = pl.read_parquet(verify(job.catalog / "tools.parquet"), columns=["name", "description"])
    questions = pl.read_parquet(verify(job.catalog / "questions.parquet"), columns=["question_id", "question"])
    documents = Known((name, f"{JOINT.sub(' ', name)} {description}") for name, description in tools.iter_rows())
    asked: dict[str, str] = Known(questions.iter_rows())

    def answer(rows: Tasks) -> list[Prediction]:
        candidates = rows[0]["candidates"]
        texts = [row["question"] if "question" in row else asked[row["question_id"]] for row in rows]
        best = most_similar([documents[name] for name in candidates], texts)
        return [Prediction(None, candidates[index], candidates[index], candidates[index], cut=False) for index in best]

    return set_by_set(answer)


def most_similar(documents: Sequence[str], questions: Sequence[str]) -> list[int]:
    """Return the index of the most similar document to each question."""
    written = words(documents)
    if not any(written):  # bm25s has no index of nothing
        return [0] * len(questions)
    index = bm25s.BM25()
    index.index(written, show_progress=False)
    return [int(np.argmax(index.get_scores(asked))) if asked else 0 for asked in words(questions)]


def words(texts: Sequence[str]) -> list[list[str]]:
    """Return the words of each text, in lower case and without stop words."""
    found: list[list[str]] = bm25s.tokenize(list(texts), stopwords="en", show_progress=False, return_ids=False)
    return found
