import math

import pytest
import torch

from metatoolagent.meta import inner_rates
from metatoolagent.meta.outer_loop import Outer, learning_rate
from model_fixtures import TRAIN


def of(**changes):
    return TRAIN.model_copy(update=changes)


def toy():
    return {"w": torch.tensor([1.0, -2.0], dtype=torch.float64), "v": torch.tensor([[0.5]], dtype=torch.float64)}


def slopes(count):
    generator = torch.Generator().manual_seed(0)
    return [
        {name: torch.randn(value.shape, generator=generator, dtype=torch.float64) for name, value in toy().items()}
        for _ in range(count)
    ]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("updates", "warmup", "expected"),
    [
        (10, 0.2, [1 / 2, 1, 8 / 9, 7 / 9, 6 / 9, 5 / 9, 4 / 9, 3 / 9, 2 / 9, 1 / 9]),
        (4, 0.0, [1, 3 / 4, 2 / 4, 1 / 4]),
        (4, 0.99, [1 / 4, 2 / 4, 3 / 4, 1]),
        (1, 0.1, [1]),
        (3, 0.34, [1, 2 / 3, 1 / 3]),
    ],
)
def test_the_learning_rate_rises_and_falls_linearly(updates, warmup, expected):
    found = [learning_rate(update, updates, of(learning_rate=0.5, warmup=warmup)) for update in range(updates)]
    assert found == pytest.approx([0.5 * value for value in expected])


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_updates_are_those_of_the_papers_algorithm(weight_decay):
    """AdamW written out (Loshchilov and Hutter 2019, algorithm 2), on gradients too small to be clipped."""
    outer = Outer(toy(), of(weight_decay=weight_decay, clip_norm=1e9))
    expected = toy()
    first = {name: torch.zeros_like(value) for name, value in expected.items()}
    second = {name: torch.zeros_like(value) for name, value in expected.items()}
    for time, (slope, rate) in enumerate(zip(slopes(5), (0.1, 0.2, 0.3, 0.2, 0.1), strict=True), start=1):
        outer.apply(slope, rate)
        for name, value in expected.items():
            first[name] = 0.9 * first[name] + 0.1 * slope[name]
            second[name] = 0.999 * second[name] + 0.001 * slope[name] ** 2
            step = (first[name] / (1 - 0.9**time)) / ((second[name] / (1 - 0.999**time)).sqrt() + 1e-8)
            expected[name] = value - rate * (step + weight_decay * value)
    for name, value in expected.items():
        assert torch.allclose(outer.phi[name].detach(), value, rtol=1e-12)


def test_updates_are_those_of_torch():
    outer = Outer(toy(), of(weight_decay=0.1, clip_norm=0.7))
    expected = {name: value.clone().requires_grad_() for name, value in toy().items()}
    optimizer = torch.optim.AdamW(expected.values(), lr=0.3, weight_decay=0.1)
    for ours, theirs in zip(slopes(4), slopes(4), strict=True):
        norm = outer.apply(ours, 0.3)
        for name, value in expected.items():
            value.grad = theirs[name]
        assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(expected.values(), 0.7)))
        optimizer.step()
    for name, value in expected.items():
        assert torch.allclose(outer.phi[name], value, rtol=1e-12)


def test_learned_inner_rates_have_a_pace_of_their_own_and_do_not_decay():
    """A first step of AdamW is the learning rate, whatever the gradient."""
    rho = f"{inner_rates.PREFIX}w"
    outer = Outer(toy() | {rho: torch.tensor(0.5, dtype=torch.float64)}, of(weight_decay=0.1, clip_norm=1e9))
    outer.apply(slopes(1)[0] | {rho: torch.tensor(2.0, dtype=torch.float64)}, 0.001)
    assert outer.phi[rho].item() == pytest.approx(0.5 - 0.001 * inner_rates.PACE)
    assert (outer.phi["w"].detach() - 0.9999 * toy()["w"]).abs().tolist() == pytest.approx([0.001, 0.001])


def test_the_gradient_is_clipped_as_a_whole_and_its_own_norm_is_returned():
    outer = Outer(toy(), of(clip_norm=1.0))
    norm = outer.apply({"w": torch.tensor([6.0, 0.0], dtype=torch.float64), "v": torch.tensor([[8.0]], dtype=torch.float64)}, 0.1)
    assert norm == pytest.approx(10)
    moments = outer.state()
    # The first moment is a tenth of what the optimizer was given.
    assert moments["exp_avg/w"].tolist() == pytest.approx([0.06, 0])
    assert moments["exp_avg/v"].item() == pytest.approx(0.08)


def test_a_small_gradient_is_not_scaled():
    outer = Outer(toy(), of(clip_norm=1.0))
    assert outer.apply(
        {"w": torch.tensor([0.3, 0.0], dtype=torch.float64), "v": torch.tensor([[0.4]], dtype=torch.float64)}, 0.1
    ) == pytest.approx(0.5)
    assert outer.state()["exp_avg/v"].item() == pytest.approx(0.04)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("before", [0, 2])
def test_a_gradient_that_is_not_finite_changes_nothing(value, before):
    outer, other = Outer(toy(), TRAIN), Outer(toy(), TRAIN)
    for optimizer in (outer, other):
        for slope in slopes(before):
            optimizer.apply(slope, 0.1)
    bad = {**slopes(1)[0], "v": torch.tensor([[value]], dtype=torch.float64)}
    assert not math.isfinite(outer.apply(bad, 0.1))
    assert same(outer.state(), other.state())
    for optimizer in (outer, other):
        optimizer.apply(slopes(before + 1)[before], 0.1)
    assert same(outer.state(), other.state())


def test_a_restored_state_goes_on_to_the_same_bits():
    straight, before = Outer(toy(), TRAIN), Outer(toy(), TRAIN)
    after = Outer({name: torch.zeros_like(value) for name, value in toy().items()}, TRAIN)
    for slope in slopes(5):
        straight.apply(slope, 0.1)
    for slope in slopes(5)[:3]:
        before.apply(slope, 0.1)
    saved = {name: tensor.clone() for name, tensor in before.state().items()}
    after.restore(saved)
    assert same(after.state(), before.state())
    for slope in slopes(5)[3:]:
        after.apply(slope, 0.1)
    assert same(after.state(), straight.state())


def test_the_optimizer_owns_copies():
    given = toy()
    outer = Outer(given, TRAIN)
    outer.apply(slopes(1)[0], 0.1)
    assert torch.equal(given["w"], toy()["w"])
    assert not torch.equal(outer.phi["w"].detach(), toy()["w"])
