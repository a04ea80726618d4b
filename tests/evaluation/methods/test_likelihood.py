import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM

from metatoolagent.evaluation.job import prepare
from metatoolagent.evaluation.language import load
from metatoolagent.evaluation.methods.likelihood import likelihoods

CANDIDATES = ["pulse", "oven_preheat", "atlas"]


@pytest.fixture
def rows(catalog):
    asked = pl.read_parquet(catalog / "questions.parquet").filter(pl.col("tool").is_in(CANDIDATES))
    return [{"question_id": name, "candidates": CANDIDATES} for name in asked["question_id"]]


def by_transformers(tiny, language, name, question):
    """Of the whole sequence, one question at a time, through transformers' own attention."""
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    template = language.renderer.template
    before = [*language.renderer.prefix([name]), *template.marker(template.before_question)]
    tokens = template.content(question)
    with torch.no_grad():
        log_p = model(torch.tensor([[*before, *tokens]])).logits[0].log_softmax(-1)
    return sum(float(log_p[len(before) - 1 + place, token]) for place, token in enumerate(tokens))


def test_it_is_the_probability_of_the_question_after_one_tool_alone(job_of, tiny, rows):
    language = load(job_of("likelihood"))
    for name in CANDIDATES[:2]:
        found = likelihoods(language, name, rows[:3])
        expected = [by_transformers(tiny, language, name, language.renderer.said(row)) for row in rows[:3]]
        assert found.tolist() == pytest.approx(expected, abs=1e-3)


def test_the_most_probable_candidate_is_chosen(job_of, rows):
    job = job_of("likelihood")
    language = load(job)
    scores_CQ = torch.stack([likelihoods(language, name, rows) for name in CANDIDATES])
    found = prepare(job)([rows])[0]
    assert [one.scored for one in found] == [CANDIDATES[index] for index in scores_CQ.argmax(0).tolist()]
    assert all(one.free == one.scored == one.free_text for one in found)


def test_what_stands_for_a_question_is_asked(job_of, rows):
    language = load(job_of("likelihood"))
    other = likelihoods(language, "atlas", [rows[0] | {"question": "Another one entirely?"}])
    assert other.item() != pytest.approx(likelihoods(language, "atlas", rows[:1]).item(), abs=1e-3)
