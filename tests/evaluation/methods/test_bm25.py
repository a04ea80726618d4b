import math

import bm25s
import polars as pl
import pytest

from metatoolagent.evaluation.job import prepare
from metatoolagent.evaluation.methods.bm25 import JOINT, most_similar, words

DOCUMENTS = ["oven preheat heats oven", "timer begin starts timer kitchen", "pulse blends kitchen"]


def by_hand(documents, question, k1=1.5, b=0.75):
    """Lucene's BM25, as in its formula."""
    lengths = [len(words) for words in documents]
    scores = []
    for document in documents:
        score = 0.0
        for word in question:
            containing = sum(word in other for other in documents)
            if not containing:
                continue
            rarity = math.log(1 + (len(documents) - containing + 0.5) / (containing + 0.5))
            count = document.count(word)
            score += rarity * count / (count + k1 * (1 - b + b * len(document) / (sum(lengths) / len(lengths))))
        scores.append(score)
    return scores


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("a timer in the kitchen", 1),  # both words in document 1; kitchen alone in document 2
        ("kitchen", 2),  # once in both, and document 2 is shorter
        ("Oven!", 0),
        ("something else entirely", 0),  # no word in common: the first candidate
        ("the", 0),  # a stop word alone
    ],
)
def test_the_most_similar_candidate_by_hand(question, best):
    assert most_similar(DOCUMENTS, [question]) == [best]
    scores = by_hand(words(DOCUMENTS), words([question])[0])
    assert scores.index(max(scores)) == best


def test_the_scores_are_the_formula_s():
    index = bm25s.BM25()
    index.index(words(DOCUMENTS), show_progress=False)
    for question in ("timer kitchen", "oven pulse unknown", "kitchen kitchen"):
        asked = words([question])[0]
        assert index.get_scores(asked).tolist() == pytest.approx(by_hand(words(DOCUMENTS), asked), abs=1e-5)


def test_ties_follow_the_order_of_the_candidates():
    assert most_similar(["one same", "two same", "zero"], ["same"]) == [0]
    assert most_similar(["zero", "two same", "one same"], ["same"]) == [1]


def test_documents_of_stop_words_alone_are_all_alike():
    assert most_similar(["to be or not", "it is that"], ["where is the report", "to be"]) == [0, 0]


def test_questions_and_documentation_come_from_the_catalog(job_of):
    job = job_of("bm25")
    candidates = ["pulse", "oven_preheat", "atlas"]
    described = dict(pl.read_parquet(job.catalog / "tools.parquet").select("name", "description").iter_rows())
    documents = [f"{name.replace('_', ' ')} {described[name]}" for name in candidates]
    questions = pl.read_parquet(job.catalog / "questions.parquet").filter(pl.col("tool").is_in(candidates))
    found = prepare(job)([[{"question_id": name, "candidates": candidates} for name in questions["question_id"]]])[0]
    best = [candidates[index] for index in most_similar(documents, questions["question"].to_list())]
    assert [one.free for one in found] == [one.scored for one in found] == best
    assert len(set(best)) > 1


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("get_weather", "get weather"),
        ("getWeather", "get Weather"),
        ("HTTPServerStart", "HTTP Server Start"),
        ("md5Sum", "md5 Sum"),
        ("plain", "plain"),
    ],
)
def test_a_name_is_the_words_that_it_is_put_together_from(name, spelt):
    assert JOINT.sub(" ", name) == spelt
