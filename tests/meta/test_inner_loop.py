from copy import deepcopy

import pytest
import torch

from metatoolagent.meta import losses
from metatoolagent.meta.inner_loop import adapt
from metatoolagent.meta.losses import Outcome, leaves
from metatoolagent.meta.splitting import evaluate_in_parts
from model_fixtures import MTA, TRAIN, random_pack

# Packs are points: the loss of weights (a, b) is half the squared distance to the point, its gradient the difference.
PHI = {"a": torch.tensor(0.0), "b": torch.tensor(0.0)}
SUPPORT = (1.0, 2.0)


def evaluate(weights, point):
    loss = ((weights["a"] - point[0]) ** 2 + (weights["b"] - point[1]) ** 2) / 2
    return Outcome(loss[None], torch.tensor([bool(loss < 1e-3)]))


def run(support, query, **changes):
    chosen = MTA.model_copy(update={"inner_steps": 3, "inner_lr": 0.5, **changes})
    return adapt(evaluate, PHI, support, query, chosen)


def points(trajectory):
    return [(theta["a"].item(), theta["b"].item()) for theta in trajectory.iterates()]


def test_without_selection_the_last_iterate_is_taken():
    found = run([SUPPORT], [(0.5, 1.2)], optimistic=False, early_stop=False)
    # theta <- theta + (support - theta) / 2
    assert points(found) == [(0, 0), (0.5, 1), (0.75, 1.5), (0.875, 1.75)]
    assert found.query_gradient["a"].item() == pytest.approx(0.875 - 0.5)
    assert found.query_gradient["b"].item() == pytest.approx(1.75 - 1.2)
    assert found.query_losses == pytest.approx([(0.375**2 + 0.55**2) / 2])
    assert found.support_loss == pytest.approx((1 + 4) / 2)
    assert found.support == [SUPPORT] * 3


@pytest.mark.parametrize("numbers", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_look_without_a_graph_sees_the_loss_of_one_with_it_to_the_last_bit(adapted, weights, numbers, parts):
    """Iterates are chosen by differences that are smaller than what two kernels differ by."""
    model, theta, pack = deepcopy(adapted).to(numbers), leaves(weights), random_pack(6, 3)

    def whole(tensors, piece):
        return losses.evaluate(model, tensors, piece, TRAIN)

    with torch.no_grad():
        looked = evaluate_in_parts(whole, theta, pack, parts).loss_Q
    assert torch.equal(looked, evaluate_in_parts(whole, theta, pack, parts).loss_Q)
    # What a test of equality needs to say anything: where nothing is trained, kernels are others, and the losses too.
    fused = whole(weights, pack).loss_Q
    assert not torch.equal(looked, fused) and torch.allclose(looked, fused, rtol=1e-5 if numbers == torch.float32 else 0.1)


def test_the_way_back_has_the_pack_and_the_gradient_of_each_step():
    found = run([(1.0, 0.0), (0.0, 1.0)], [(9.0, 9.0)], optimistic=False)
    assert [pack for _, pack, _ in found.back()] == [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0)]
    for theta, pack, slope in found.back():
        assert (slope["a"].item(), slope["b"].item()) == (theta["a"].item() - pack[0], theta["b"].item() - pack[1])


def test_optimistic_selection_takes_the_iterate_with_the_lowest_query_loss():
    found = run([SUPPORT], [(0.5, 1.2)])
    assert found.query_losses == pytest.approx(
        [(0.5**2 + 1.2**2) / 2, 0.2**2 / 2, (0.25**2 + 0.3**2) / 2, (0.375**2 + 0.55**2) / 2]
    )
    assert points(found) == [(0, 0), (0.5, 1)]
    assert found.support == [SUPPORT]
    assert found.query_gradient["a"].item() == pytest.approx(0)
    assert found.query_gradient["b"].item() == pytest.approx(1 - 1.2)
    assert found.query[0].loss.item() == pytest.approx(0.02)


def test_the_starting_point_is_selected_where_adaptation_hurts():
    found = run([SUPPORT], [(-1.0, -1.0)])
    assert points(found) == [(0, 0)]
    assert found.support == []
    assert (found.query_gradient["a"].item(), found.query_gradient["b"].item()) == (1, 1)


def test_of_equal_losses_the_first_is_selected():
    found = run([(1.0, 0.0)], [(0.25, 3.0)], inner_lr=0.5, inner_steps=1)
    assert found.query_losses[0] == found.query_losses[1]
    assert points(found) == [(0, 0)]


def test_support_packs_are_taken_in_turn():
    found = run([(1.0, 0.0), (0.0, 1.0)], [(9.0, 9.0)], optimistic=False)
    # Towards (1, 0), then (0, 1), then (1, 0), half of the way each time.
    assert points(found) == [(0, 0), (0.5, 0), (0.25, 0.5), (0.625, 0.25)]
    assert found.support == [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0)]


def test_the_query_loss_is_the_mean_over_packs():
    found = run([SUPPORT], [(1.0, 0.0), (0.0, 3.0)], inner_steps=1, inner_lr=0.1)
    assert found.query_losses[0] == pytest.approx((0.5 + 4.5) / 2)
    theta = {"a": 0.1, "b": 0.2}
    assert found.query_gradient["a"].item() == pytest.approx((theta["a"] - 1 + theta["a"]) / 2)
    assert found.query_gradient["b"].item() == pytest.approx((theta["b"] + theta["b"] - 3) / 2)


def test_the_loop_stops_early_once_every_query_task_is_right():
    asked = []

    def counting(weights, point):
        asked.append(point)
        return evaluate(weights, point)

    found = adapt(counting, PHI, [SUPPORT], [(0.5, 1.0)], MTA.model_copy(update={"inner_steps": 9, "inner_lr": 0.5}))
    # The iterate at which it stopped was looked at without a graph, and is looked at again for its gradient.
    assert asked == [(0.5, 1.0), SUPPORT, (0.5, 1.0), (0.5, 1.0)]
    assert points(found) == [(0, 0), (0.5, 1)]
    assert found.query_losses == [pytest.approx(0.625), 0]


def test_without_early_stop_the_loop_goes_on_and_the_best_iterate_is_taken():
    found = run([SUPPORT], [(0.5, 1.0)], early_stop=False)
    assert found.query_losses == pytest.approx([0.625, 0, (0.25**2 + 0.5**2) / 2, (0.375**2 + 0.75**2) / 2])
    assert points(found) == [(0, 0), (0.5, 1)]


def test_early_stop_without_selection_takes_the_iterate_at_which_it_stops():
    found = run([SUPPORT], [(0.75, 1.5)], optimistic=False, inner_steps=9)
    assert points(found) == [(0, 0), (0.5, 1), (0.75, 1.5)]
    assert found.support == [SUPPORT] * 2
    assert found.query_losses[-1] == 0


def test_early_stop_without_selection_takes_the_last_iterate_where_no_task_gets_right():
    found = run([SUPPORT], [(0.5, 1.2)], optimistic=False)
    # The lowest query loss is that of the second iterate, and does not matter.
    assert min(found.query_losses) == found.query_losses[1]
    assert points(found)[-1] == (0.875, 1.75)
    assert found.query_gradient["a"].item() == pytest.approx(0.875 - 0.5)


@pytest.mark.parametrize(("query", "graphs"), [((9.0, 9.0), [False, False, True]), ((-1.0, -1.0), [False, False, True, True])])
def test_no_two_graphs_of_the_query_loss_are_held_at_once(query, graphs):
    """Only the last iterate is looked at with one; where an earlier one is best, it is looked at once more."""
    recorded = []

    def watching(weights, point):
        recorded.append((point, torch.is_grad_enabled()))
        return evaluate(weights, point)

    adapt(watching, PHI, [SUPPORT], [query], MTA.model_copy(update={"inner_steps": 2, "inner_lr": 0.5}))
    assert [enabled for point, enabled in recorded if point == query] == graphs


def test_each_tensor_has_its_own_learned_rate():
    rho = {"inner_rate.a": torch.tensor(0.0), "inner_rate.b": torch.tensor(0.5).log()}
    chosen = MTA.model_copy(update={"inner_steps": 1, "inner_lr": 0.5, "learn_inner_lr": True, "optimistic": False})
    found = adapt(evaluate, PHI | rho, [SUPPORT], [(9.0, 9.0)], chosen)
    assert points(found) == [(0, 0), (0.5, pytest.approx(0.5))]
    assert found.phi.keys() == found.theta.keys() == found.query_gradient.keys() == PHI.keys()


def test_one_wrong_query_task_keeps_the_loop_going():
    found = run([SUPPORT], [(0.5, 1.0), (5.0, 5.0)])
    assert len(found.query_losses) == 4


def test_a_task_that_is_right_at_once_needs_no_support():
    found = run([SUPPORT], [(0.0, 0.0)])
    assert found.query_losses == [0]
    assert found.support_loss != found.support_loss  # not a number: no support pack was read


def test_a_learning_rate_of_zero_adapts_nothing():
    found = run([SUPPORT], [(0.5, 1.2)], inner_lr=0.0, optimistic=False)
    assert points(found) == [(0, 0)] * 4
    assert found.query_gradient["b"].item() == pytest.approx(-1.2)


def test_phi_and_the_iterates_carry_no_graph():
    found = run([SUPPORT], [(9.0, 9.0)])
    assert found.phi == PHI
    assert not any(tensor.requires_grad for theta in found.iterates() for tensor in theta.values())
    assert (PHI["a"].item(), PHI["b"].item()) == (0, 0)
