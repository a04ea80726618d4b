from dataclasses import replace

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM

from metatoolagent.errors import UserError
from metatoolagent.evaluation.job import prepare
from metatoolagent.evaluation.language import load
from metatoolagent.evaluation.methods import likelihood
from metatoolagent.evaluation.methods.likelihood import likelihoods
from model_fixtures import ADAPTER, published, random_weights

CANDIDATES = ["pulse", "oven_preheat", "atlas"]


@pytest.fixture
def rows(catalog):
    asked = pl.read_parquet(catalog / "questions.parquet").filter(pl.col("tool").is_in(CANDIDATES))
    return [{"question_id": name, "candidates": CANDIDATES, "position": 0} for name in asked["question_id"]]


def by_transformers(tiny, language, name, question):
    """Of the whole sequence, one question at a time, through transformers' own attention."""
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    template = language.renderer.template
    before = [*language.renderer.tools_turn([name]), *template.marker(template.before_question)]
    tokens = template.content(question)
    with torch.no_grad():
        log_p = model(torch.tensor([[*before, *tokens]])).logits[0].log_softmax(-1)
    return sum(float(log_p[len(before) - 1 + place, token]) for place, token in enumerate(tokens))


def test_it_is_the_probability_of_the_question_after_one_tool_alone(job_of, tiny, rows):
    language = load(job_of("likelihood"))
    found_QC = likelihoods(language, rows[:3])
    for name, found_Q in zip(CANDIDATES, found_QC.unbind(1), strict=True):
        expected = [by_transformers(tiny, language, name, language.renderer.said(row)) for row in rows[:3]]
        assert found_Q.tolist() == pytest.approx(expected, abs=1e-3)


def test_the_most_probable_candidate_is_chosen(job_of, rows):
    job = job_of("likelihood")
    language = load(job)
    scores_QC = likelihoods(language, rows)
    found = prepare(job)([rows])[0]
    assert [one.scored for one in found] == [CANDIDATES[index] for index in scores_QC.argmax(1).tolist()]
    assert all(one.free == one.scored == one.free_text for one in found)


def test_scores_that_are_not_finite_are_refused(job_of, rows, monkeypatch):
    monkeypatch.setattr(likelihood, "likelihoods", lambda language, asked: torch.full((len(asked), 3), torch.nan))
    with pytest.raises(UserError, match="E-NONFINITE"):
        prepare(job_of("likelihood"))([rows])


def test_channel_answers_the_same_way_with_its_adapter(job_of, adapted, rows, tmp_path):
    weights, bare = random_weights(adapted, 3), job_of("channel")
    folder = published(weights, tmp_path / "adapter", "channel", bare.model)
    job = replace(bare, adapter=ADAPTER, weights=folder)
    found = likelihoods(load(job), rows)
    plain = load(job_of("likelihood"))
    attached = replace(plain, model=adapted, weights=weights)
    assert torch.allclose(found, likelihoods(attached, rows), atol=1e-2)
    assert not torch.allclose(found, likelihoods(plain, rows), atol=1)
    (answers,) = prepare(job)([rows])
    assert [one.scored for one in answers] == [CANDIDATES[index] for index in found.argmax(1).tolist()]


def test_what_stands_for_a_question_is_asked(job_of, rows):
    language = load(job_of("likelihood"))
    other = likelihoods(language, [rows[0] | {"question": "Another one entirely?"}])
    assert other.tolist()[0] != pytest.approx(likelihoods(language, rows[:1]).tolist()[0], abs=1e-3)
