"""Selection by similarity between the question and the documentation: what `bm25` and `embedding` share."""

from collections.abc import Callable, Sequence

import polars as pl

from metatoolagent.artifacts import verify
from metatoolagent.evaluation.job import Answer, Job, Prediction
from metatoolagent.tasks.rendering import Row

MostSimilar = Callable[[Sequence[str], Sequence[str]], list[int]]
"""Gives, for documents and questions, the index of the most similar document to each question; the first of equals."""


def retrieved(job: Job, most_similar: MostSimilar) -> Answer:
    """Return how a measure of similarity answers. It sees the candidates' names and descriptions, and no other tool's."""
    tools = pl.read_parquet(verify(job.catalog / "tools.parquet"), columns=["name", "description"])
    questions = pl.read_parquet(verify(job.catalog / "questions.parquet"), columns=["question_id", "question"])
    documents = {name: f"{name.replace('_', ' ')} {description}" for name, description in tools.iter_rows()}
    asked: dict[str, str] = dict(questions.iter_rows())

    def answer(rows: Sequence[Row]) -> list[Prediction]:
        candidates = rows[0]["candidates"]
        best = most_similar([documents[name] for name in candidates], [asked[row["question_id"]] for row in rows])
        return [Prediction(None, candidates[index], candidates[index], candidates[index], cut=False) for index in best]

    return answer
