import math

import pytest
import torch

from metatoolagent.meta import losses
from metatoolagent.meta.losses import Outcome, by_branch, evaluate, gradient, leaves, log_probabilities
from metatoolagent.tasks.channel import Channel
from metatoolagent.tasks.packing import NO_RIVAL, pack
from model_fixtures import TRAIN, random_pack

PACK = pack([1, 2], [[3], [4, 5]], [[6, 7, 9], [8, 9]], [0, 1], ["a", "b"], context=10)
"""Names 6 7 and 8, end token 9; question a means the first, question b the second."""

PROBABILITIES = [
    {6: 0.5, 8: 0.25},  # question a
    {7: 0.5},  # a, after 6
    {9: 0.8},  # a, after 6 7
    {9: 0.5},  # a, after 8
    {6: 0.1, 8: 0.6},  # question b
    {7: 0.9},  # b, after 6
    {9: 0.9},  # b, after 6 7
    {9: 0.3, 0: 0.5},  # b, after 8
]
A_FIRST, A_SECOND = 0.5 * 0.5 * 0.8, 0.25 * 0.5
B_FIRST, B_SECOND = 0.1 * 0.9 * 0.9, 0.6 * 0.3


def fake_logits():
    """Logits of the probabilities above, what is left of each row spread evenly; a constant a row changes nothing."""
    rows = []
    for index, given in enumerate(PROBABILITIES):
        rest = (1 - sum(given.values())) / (10 - len(given))
        rows.append([math.log(given.get(token, rest)) + index for token in range(10)])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.fixture
def fake(monkeypatch):
    """Let every forward pass give the logits above."""
    monkeypatch.setattr(losses, "logits", lambda *_: fake_logits())


def outcome_of(loss, answer_share=0.1):
    return evaluate(None, None, PACK, TRAIN.model_copy(update={"loss": loss, "answer_share": answer_share}))


def test_log_probabilities_of_answer_tokens():
    log_p, top = log_probabilities(fake_logits(), PACK)
    assert log_p.exp().tolist() == pytest.approx([0.5, 0.5, 0.8, 0.25, 0.5, 0.1, 0.9, 0.9, 0.6, 0.3])
    assert top.tolist() == [True, True, True, False, True, False, True, True, True, False]


def test_the_scores_of_candidates_are_products_of_probabilities():
    scores = by_branch(log_probabilities(fake_logits(), PACK)[0], PACK)
    assert scores.exp().flatten().tolist() == pytest.approx([A_FIRST, A_SECOND, B_FIRST, B_SECOND])


def test_the_answer_loss_is_a_mean_over_tokens_then_over_tasks(fake):
    outcome = outcome_of("answer")
    expected = [-math.log(A_FIRST) / 3, -math.log(B_SECOND) / 2]
    assert outcome.loss_Q.tolist() == pytest.approx(expected)
    assert outcome.loss.item() == pytest.approx(sum(expected) / 2)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_selection_loss_is_the_choice_among_candidates_and_a_share_of_the_answer(fake, share):
    # Where names can only be told apart by their first tokens, 6 and 8, the rest of the right one is certain.
    expected = [
        -math.log(0.5 / (0.5 + 0.25)) - share * math.log(A_FIRST) / 3,
        -math.log(0.6 / (0.6 + 0.1)) - share * math.log(B_SECOND) / 2,
    ]
    assert outcome_of("selection", share).loss_Q.tolist() == pytest.approx(expected)


def test_names_that_begin_alike_are_told_apart_where_they_part(monkeypatch):
    """Names 6 7, 6 8 and 5, end 9: the right one, 6 7, competes with 5 at first and with 6 8 then; 6 counts once."""
    packed = pack([1], [[3]], [[6, 7, 9], [6, 8, 9], [5, 9]], [0], ["a"], context=10, gold_only=True)
    assert packed.rival_AR.tolist() == [[5, 6, NO_RIVAL], [7, 8, NO_RIVAL], [9, NO_RIVAL, NO_RIVAL]]
    probabilities = [{6: 0.5, 5: 0.2, 4: 0.3}, {7: 0.1, 8: 0.4, 4: 0.5}, {9: 0.3, 4: 0.7}]
    rows = [[math.log(given.get(token, 1e-9)) for token in range(10)] for given in probabilities]
    monkeypatch.setattr(losses, "logits", lambda *_: torch.tensor(rows, dtype=torch.float64))
    outcome = evaluate(None, None, packed, TRAIN.model_copy(update={"loss": "selection", "answer_share": 0.0}))
    assert outcome.loss.item() == pytest.approx(-math.log(0.5 / 0.7 * 0.1 / 0.5), rel=1e-6)


def test_a_name_that_ends_where_another_goes_on_competes_by_its_end(monkeypatch):
    packed = pack([1], [[3]], [[6, 9], [6, 8, 9]], [0], ["a"], context=10, gold_only=True)
    assert packed.rival_AR.tolist() == [[6, NO_RIVAL], [8, 9]]


@pytest.mark.parametrize("loss", ["answer", "selection"])
def test_right_means_that_greedy_decoding_spells_the_answer_and_ends(fake, loss):
    # Question b's greedy path takes 8, but then token 0 in place of the end.
    assert outcome_of(loss).right_Q.tolist() == [True, False]


def test_the_channel_loss_is_the_choice_among_documentations_by_the_probability_of_the_question(monkeypatch):
    """Questions 6 7 and 8, below two candidates of which the second finds both half as probable at every token."""
    trees = tuple(pack([root], [[3], [3]], [[6, 7], [8]], [0, 1], ["a", "b"], context=10, gold_only=True) for root in (1, 2))
    probabilities = {1: [{6: 0.5}, {7: 0.4}, {8: 0.6}], 2: [{6: 0.25}, {7: 0.2}, {8: 0.3}]}

    def fake(model, weights, tree):
        rows = []
        for given in probabilities[tree.input_ids_T[0].item()]:
            rest = (1 - sum(given.values())) / (10 - len(given))
            rows.append([math.log(given.get(token, rest)) for token in range(10)])
        return torch.tensor(rows, dtype=torch.float64)

    monkeypatch.setattr(losses, "logits", fake)
    outcome = evaluate(None, None, Channel(trees, torch.tensor([0, 1])), TRAIN)
    assert outcome.loss_Q.tolist() == pytest.approx([-math.log(0.2 / (0.2 + 0.05)), -math.log(0.3 / (0.6 + 0.3))])
    assert outcome.right_Q.tolist() == [True, False]


def test_the_answer_loss_of_gold_answers_alone_is_the_same(monkeypatch):
    alone = pack([1, 2], [[3], [4, 5]], [[6, 7, 9], [8, 9]], [0, 1], ["a", "b"], context=10, gold_only=True)
    monkeypatch.setattr(losses, "logits", lambda *_: fake_logits()[[0, 1, 2, 4, 7]])
    outcome = evaluate(None, None, alone, TRAIN.model_copy(update={"loss": "answer"}))
    assert outcome.loss_Q.tolist() == pytest.approx([-math.log(A_FIRST) / 3, -math.log(B_SECOND) / 2])
    assert outcome.right_Q.tolist() == [True, False]


def test_the_selection_loss_of_the_model_falls_along_its_gradient(adapted, weights):
    packed = random_pack(4, 3)
    theta = leaves(weights)
    before = evaluate(adapted, theta, packed, TRAIN).loss
    slope = gradient(before, theta)
    size = sum((one**2).sum() for one in slope.values())
    step = 1e-3 / size.sqrt()
    after = evaluate(adapted, {name: (theta[name] - step * slope[name]).detach() for name in theta}, packed, TRAIN).loss
    assert (before - after).item() == pytest.approx((step * size).item(), rel=0.05)


def test_leaves_are_copies_that_carry_gradients(weights):
    theta = leaves(weights)
    assert theta.keys() == weights.keys()
    assert all(tensor.requires_grad and tensor.is_leaf for tensor in theta.values())
    assert not any(tensor.requires_grad for tensor in weights.values())


def test_the_loss_of_an_outcome_is_the_mean():
    assert Outcome(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([True, False, True])).loss.item() == 3
