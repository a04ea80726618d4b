import pytest
import torch

from metatoolagent.errors import UserError
from metatoolagent.evaluation import opening as module
from metatoolagent.evaluation import scoring
from metatoolagent.evaluation.opening import read
from model_fixtures import ids

SETS = [["pulse", "oven_preheat", "atlas"], ["atlas", "pulse"]]


def predict(model, weights, renderer, rows, count, shared=None):
    """The predictions for the tasks of one candidate set."""
    return scoring.predict(model, weights, renderer, [rows], count, shared)[0]


@pytest.fixture(scope="module")
def opened(renderer):
    """The renderer with some random tokens before every candidate set."""
    return renderer.opened(ids(torch.Generator().manual_seed(8), 90))


@pytest.fixture
def groups(opened):
    """Two candidate sets with three tasks each."""
    asked = [name for name, tool in opened.asked_for.items() if tool in SETS[1]][:3]
    return [
        [{"question_id": name, "candidates": names, "position": names.index(opened.asked_for[name])} for name in asked]
        for names in SETS
    ]


@pytest.mark.parametrize("with_adapter", [False, True])
def test_predictions_are_those_of_packs_that_hold_the_opening(with_adapter, model, adapted, weights, opened, groups, monkeypatch):
    """Each set is asked twice: what one pack adds to its cache must not reach the next one."""
    used, tensors = (adapted, weights) if with_adapter else (model, None)
    expected = [predict(used, tensors, opened, rows, 6) for rows in groups]
    shared = read(used, tensors, opened.opening, opened.context)
    generated = []
    real = scoring.generate
    monkeypatch.setattr(scoring, "generate", lambda *args: generated.append(real(*args)) or generated[-1])
    for rows, answers in 2 * list(zip(groups, expected, strict=True)):
        for one, other in zip(predict(used, tensors, opened, rows, 6, shared), answers, strict=True):
            assert one.log_probabilities == pytest.approx(other.log_probabilities, abs=1e-4)
            assert (one.scored, one.free, one.free_text, one.cut) == (other.scored, other.free, other.free_text, other.cut)
    assert len(generated) == 4  # random weights name no tool, so that decoding behind the opening was compared too


def test_sets_that_answer_together_share_the_opening(adapted, weights, opened, groups):
    expected = [predict(adapted, weights, opened, rows, 6) for rows in groups]
    shared = read(adapted, weights, opened.opening, opened.context)
    for found, answers in zip(scoring.predict(adapted, weights, opened, groups, 6, shared), expected, strict=True):
        assert [one.free_text for one in found] == [one.free_text for one in answers]


def test_the_opening_changes_what_is_predicted(model, renderer, opened, groups):
    bare, behind = predict(model, None, renderer, groups[0], 2), predict(model, None, opened, groups[0], 2)
    assert bare[0].log_probabilities != pytest.approx(behind[0].log_probabilities, abs=1e-2)


def test_the_opening_is_read_once_and_no_pack_reads_it_again(model, renderer, opened, groups, monkeypatch):
    read_tokens = []
    real = module.forward
    for place in (module, scoring):
        monkeypatch.setattr(
            place, "forward", lambda *args, **options: read_tokens.append(args[2].tokens) or real(*args, **options)
        )
    shared = read(model, None, opened.opening, opened.context)
    for rows in groups:
        predict(model, None, opened, rows, 1, shared)
    assert read_tokens == [90, *(renderer.pack(rows).tokens for rows in groups)]


def test_an_opening_longer_than_the_context_is_refused(model, opened):
    with pytest.raises(UserError, match="E-CTX"):
        read(model, None, opened.opening, 89)
