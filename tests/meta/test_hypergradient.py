import pytest
import torch

from metatoolagent.meta.hypergradient import HYPERGRADIENTS
from metatoolagent.meta.inner_loop import adapt
from metatoolagent.meta.losses import evaluate, gradient, leaves
from metatoolagent.meta.objectives import MetaTask, cosine, fine_tuning, meta_learning
from model_fixtures import MTA, TRAIN, close, random_pack


@pytest.fixture
def loss(adapted):
    """The loss of a pack under LoRA tensors."""
    return lambda weights, pack: evaluate(adapted, weights, pack, TRAIN)


@pytest.fixture(scope="module")
def task():
    """Two support packs and two query packs of four tasks."""
    packs = [random_pack(4, 3, seed=seed) for seed in range(4)]
    return MetaTask(0, packs[:2], packs[2:])


def plain_gradient(loss, weights, packs):
    """The gradient of the mean loss, by an ordinary backward pass."""
    theta = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    (sum(loss(theta, pack).loss for pack in packs) / len(packs)).backward()
    return {name: tensor.grad for name, tensor in theta.items()}


def same(found, expected):
    return found.keys() == expected.keys() and all(close(found[name], expected[name], 1e-4) for name in expected)


def test_first_order_is_the_plain_gradient_at_the_adapted_weights(loss, weights, task):
    chosen = MTA.model_copy(update={"optimistic": False, "inner_steps": 3, "inner_lr": 0.2})
    theta = weights
    for step in range(3):
        slope = plain_gradient(loss, theta, [task.support[step % 2]])
        theta = {name: theta[name] - 0.2 * slope[name] for name in theta}
    trajectory = adapt(loss, weights, task.support, task.query, chosen)
    found = HYPERGRADIENTS["first_order"](loss, trajectory, chosen)
    assert same(found, plain_gradient(loss, theta, task.query))
    # Adaptation moved the weights, so the gradient before it is another one.
    assert not same(found, plain_gradient(loss, weights, task.query))


def test_it_is_taken_at_the_selected_iterate(loss, weights, task):
    chosen = MTA.model_copy(update={"inner_steps": 4, "inner_lr": 0.1})
    trajectory = adapt(loss, weights, task.support, task.query, chosen)
    lowest = min(range(len(trajectory.query_losses)), key=trajectory.query_losses.__getitem__)
    assert len(trajectory.slopes) == lowest
    found = HYPERGRADIENTS["first_order"](loss, trajectory, chosen)
    assert same(found, plain_gradient(loss, trajectory.theta, task.query))


@pytest.mark.parametrize("optimistic", [True, False])
def test_without_inner_learning_it_is_the_plain_gradient_on_the_query(loss, weights, task, optimistic):
    step = meta_learning(MTA.model_copy(update={"inner_lr": 0.0, "optimistic": optimistic}))(loss, weights, task)
    assert same(step.gradient, plain_gradient(loss, weights, task.query))
    assert step.loss == pytest.approx(sum(loss(weights, pack).loss.item() for pack in task.query) / 2)


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("queries", [1, 3])
def test_with_its_share_of_the_support_and_no_inner_learning_it_is_fine_tuning(
    loss, weights, task, queries, early_stop, monkeypatch
):
    if early_stop:  # the loop ends at once, before it has asked the support pack
        monkeypatch.setattr("metatoolagent.meta.inner_loop.Look.all_right", True)
    one = MetaTask(0, task.support[:1], [*task.query, *task.support[1:]][:queries])
    chosen = MTA.model_copy(update={"inner_lr": 0.0, "support_share": 1 / (1 + queries), "early_stop": early_stop})
    assert same(meta_learning(chosen)(loss, weights, one).gradient, fine_tuning()(loss, weights, one).gradient)


def test_the_support_share_weighs_the_support_gradient_before_adaptation(loss, weights, task):
    plain = meta_learning(MTA)(loss, weights, task).gradient
    support = plain_gradient(loss, weights, task.support[:1])
    found = meta_learning(MTA.model_copy(update={"support_share": 0.25}))(loss, weights, task).gradient
    assert same(found, {name: 0.75 * plain[name] + 0.25 * support[name] for name in plain})


@pytest.mark.parametrize("supports", [1, 2])
def test_fine_tuning_is_the_plain_gradient_on_support_and_query(loss, weights, task, supports):
    packs = [*task.support, *task.query]
    step = fine_tuning()(loss, weights, MetaTask(0, packs[:supports], packs[supports:]))
    assert same(step.gradient, plain_gradient(loss, weights, packs))
    assert step.loss == pytest.approx(sum(loss(weights, pack).loss.item() for pack in packs) / 4)
    assert step.right == pytest.approx(sum(loss(weights, pack).right_Q.float().mean().item() for pack in packs) / 4)
    assert step.selected == 0


def test_fine_tuning_and_meta_learning_leave_the_weights_alone(loss, weights, task):
    before = {name: tensor.clone() for name, tensor in weights.items()}
    for objective in (fine_tuning(), meta_learning(MTA)):
        objective(loss, weights, task)
    assert all(torch.equal(weights[name], before[name]) for name in weights)


def test_a_step_of_the_hypergradient_lowers_the_loss_after_adaptation(loss, weights, task):
    chosen = MTA.model_copy(update={"inner_steps": 1, "inner_lr": 0.01, "optimistic": False})
    objective = meta_learning(chosen)
    step = objective(loss, weights, task)
    size = float(sum((slope**2).sum() for slope in step.gradient.values())) ** 0.5
    moved = {name: weights[name] - 0.01 * step.gradient[name] / size for name in weights}
    assert objective(loss, moved, task).loss < step.loss


def test_gradients_agree_with_central_differences(loss, weights):
    """An oracle that shares no code with the backward pass: steps along the gradient, each coordinate scaled at random."""
    packed = random_pack(3, 3)
    start = {name: 0.2 * tensor for name, tensor in weights.items()}
    theta = leaves(start)
    slope = gradient(loss(theta, packed).loss, theta)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        direction = {name: tensor * torch.rand(tensor.shape, generator=generator) for name, tensor in slope.items()}
        size = sum((tensor**2).sum() for tensor in direction.values()) ** 0.5
        ahead, behind = (
            loss({name: start[name] + step * direction[name] / size for name in start}, packed).loss.item()
            for step in (0.01, -0.01)
        )
        expected = sum((slope[name] * direction[name]).sum() for name in start) / size
        assert (ahead - behind) / 0.02 == pytest.approx(expected.item(), rel=5e-3)


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_alignment_does_not_depend_on_the_size_of_gradients(size):
    one, other = {"a": torch.tensor([size, 0.0])}, {"a": torch.tensor([size, size])}
    assert cosine(one, other) == pytest.approx(0.5**0.5)
