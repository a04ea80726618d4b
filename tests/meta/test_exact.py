"""The exact hypergradient against oracles that share no code with it."""

import math

import pytest
import torch

from metatoolagent.meta import inner_rates
from metatoolagent.meta.hypergradient import HYPERGRADIENTS
from metatoolagent.meta.inner_loop import adapt
from metatoolagent.meta.losses import Outcome, evaluate, leaves
from metatoolagent.meta.losses import gradient as losses_gradient
from metatoolagent.meta.objectives import MetaTask, meta_learning
from metatoolagent.models import adapter, backbone
from model_fixtures import ADAPTER, BACKBONE, MTA, TRAIN, random_pack
from unrolled import relative_error, unrolled, unrolled_loss

EXACT = MTA.model_copy(update={"hypergradient": "exact", "inner_steps": 3, "optimistic": False, "early_stop": False})
LEARNED = EXACT.model_copy(update={"learn_inner_lr": True})
FINITE = EXACT.model_copy(update={"product": "finite_difference"})
TOLERANCE = {"double_backward": 1e-4, "finite_difference": 5e-3}


def gradient(loss, phi, task, chosen):
    return meta_learning(chosen)(loss, phi, task).gradient


@pytest.fixture(scope="module")
def task():
    """Two support packs and two query packs of four tasks."""
    packs = [random_pack(4, 3, seed=seed) for seed in range(4)]
    return MetaTask(0, packs[:2], packs[2:])


@pytest.fixture
def loss(adapted):
    """The loss of a pack under LoRA tensors."""
    return lambda weights, pack: evaluate(adapted, weights, pack, TRAIN)


@pytest.fixture
def phi(adapted):
    """LoRA tensors after a little training: A as at the start, B small."""
    return small(adapted)


def small(model):
    generator = torch.Generator().manual_seed(2)
    return {
        name: tensor if "lora_A" in name else 0.02 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in adapter.initial(model, generator).items()
    }


def with_rates(weights, chosen):
    """The weights, and where rates are learned a rho for each that is no longer 0."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: 0.5 * torch.randn((), generator=generator, dtype=tensor.dtype) if name.startswith(inner_rates.PREFIX) else tensor
        for name, tensor in inner_rates.initial(weights, chosen).items()
    }


# Two parameters a, b and rates of a half. Support loss: a^2 b, its gradient (2ab, a^2), its Hessian ((2b, 2a), (2a, 0)).
# Query loss: (a - 1)^2 / 2 + 3 b. From (1, 2) one step leads to (1 - 2, 2 - 1/2) = (-1, 3/2), where the query loss has gradient
# (-2, 3). H v = (2 * 2 * -2 + 2 * 3, 2 * -2) = (-2, -4), so the hypergradient is (-2, 3) - (-2, -4) / 2 = (-1, 5).
# Of the logarithm of a's rate: -1/2 * -2 * 4 = 4, of b's: -1/2 * 3 * 1 = -3/2.
POINT = {"a": torch.tensor(1.0, dtype=torch.float64), "b": torch.tensor(2.0, dtype=torch.float64)}
TIGHT = {"double_backward": 1e-12, "finite_difference": 2e-3}


def two_parameters(weights, pack):
    a, b = weights["a"], weights["b"]
    return Outcome((a**2 * b if pack == "support" else (a - 1) ** 2 / 2 + 3 * b)[None], torch.tensor([False]))


@pytest.mark.parametrize("product", ["double_backward", "finite_difference"])
@pytest.mark.parametrize("optimistic", [False, True])
def test_two_parameters_by_hand(product, optimistic):
    chosen = LEARNED.model_copy(update={"inner_steps": 1, "inner_lr": 0.5, "product": product, "optimistic": optimistic})
    # Query losses: 6 at the start, 2 + 9/2 after the step, so optimistic selection stays at the start.
    step = meta_learning(chosen)(two_parameters, inner_rates.initial(POINT, chosen), MetaTask(0, ["support"], ["query"]))
    expected = [0, 3, 0, 0] if optimistic else [-1, 5, 4, -1.5]
    names = ["a", "b", "inner_rate.a", "inner_rate.b"]
    assert [step.gradient[name].item() for name in names] == pytest.approx(expected, abs=TIGHT[product])
    assert (step.loss, step.selected, step.gain) == ((6, 0, 0) if optimistic else (6.5, 1, None))
    # The support gradient is (4, 1) at (1, 2), the query gradient (0, 3) there and (-2, 3) at (-1, 3/2).
    assert step.alignment == pytest.approx(3 / (17**0.5 * 3) if optimistic else (-8 + 3) / (17**0.5 * 13**0.5))


def test_first_order_rates_by_hand():
    chosen = LEARNED.model_copy(update={"hypergradient": "first_order", "inner_steps": 1, "inner_lr": 0.5})
    found = gradient(two_parameters, inner_rates.initial(POINT, chosen), MetaTask(0, ["support"], ["query"]), chosen)
    # With one step the gradient of the rates is exact; that of the weights is the query's at (-1, 3/2).
    assert {name: tensor.item() for name, tensor in found.items()} == {
        "a": -2,
        "b": 3,
        "inner_rate.a": 4,
        "inner_rate.b": -1.5,
    }


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_the_support_share_weighs_the_gradient_of_rates_too(share):
    """Central differences of (1 - w) L + w L_0 in weights and rates."""
    chosen = LEARNED.model_copy(update={"inner_steps": 3, "inner_lr": 0.05, "support_share": share, "optimistic": False})
    task = MetaTask(0, ["support"], ["query"])
    phi = inner_rates.initial(POINT, chosen)

    def objective(at):
        trajectory = adapt(two_parameters, at, task.support, task.query, chosen)
        return (1 - share) * trajectory.query_losses[-1] + share * trajectory.support_loss

    found = gradient(two_parameters, phi, task, chosen)
    for name in phi:
        near = [objective(phi | {name: phi[name] + step}) for step in (1e-5, -1e-5)]
        assert found[name].item() == pytest.approx((near[0] - near[1]) / 2e-5, rel=1e-6)


def test_the_support_loss_is_that_of_the_first_pack_before_the_first_step():
    chosen = EXACT.model_copy(update={"inner_steps": 3, "inner_lr": 0.05, "support_share": 0.5})
    losses = {"first": lambda a, b: a**2 * b, "second": lambda a, b: a**2 + b**2, "query": lambda a, b: a * b}

    def loss(weights, pack):
        return Outcome(losses[pack](weights["a"], weights["b"])[None], torch.tensor([False]))

    half = gradient(loss, POINT, MetaTask(0, ["first", "second"], ["query"]), chosen)
    query = gradient(loss, POINT, MetaTask(0, ["first", "second"], ["query"]), chosen.model_copy(update={"support_share": 0.0}))
    assert (half["a"] - query["a"] / 2).item() == pytest.approx(4 / 2)  # 2 a b at (1, 2)
    assert (half["b"] - query["b"] / 2).item() == pytest.approx(1 / 2)  # a^2


def test_reptile_by_hand():
    chosen = EXACT.model_copy(update={"hypergradient": "reptile", "inner_steps": 2, "inner_lr": 0.5})
    found = gradient(two_parameters, POINT, MetaTask(0, ["support"], ["query"]), chosen)
    # The second step leads from (-1, 3/2), where the support's gradient is (-3, 1), to (1/2, 1): on the way (1/2, 1), over 1/2.
    assert (found["a"].item(), found["b"].item()) == (1, 2)


@pytest.mark.parametrize("changes", [{"optimistic": True}, {"early_stop": True}, {"optimistic": True, "inner_steps": 1}])
def test_reptile_never_stays_where_there_is_no_way_back_from(changes):
    chosen = EXACT.model_copy(
        update={"hypergradient": "reptile", "inner_steps": 2, "inner_lr": 0.5, "optimistic": False, **changes}
    )
    # The query loss is lowest at the start: 6, then 6.5.
    step = meta_learning(chosen)(two_parameters, POINT, MetaTask(0, ["support"], ["query"]))
    assert step.selected > 0 and step.gain is None
    assert all(tensor.any() for tensor in step.gradient.values())


@pytest.mark.parametrize("inner_lr", [1e-2, 1e-7])
def test_reptile_has_the_size_of_a_gradient_at_every_rate(inner_lr):
    chosen = EXACT.model_copy(update={"hypergradient": "reptile", "inner_steps": 1, "inner_lr": inner_lr})
    found = gradient(two_parameters, POINT, MetaTask(0, ["support"], ["query"]), chosen)
    assert (found["a"].item(), found["b"].item()) == (4, 1)  # the support's gradient at (1, 2)


@pytest.fixture(scope="module")
def double(tiny):
    """The tiny backbone with LoRA layers, in float64 throughout."""
    model = backbone.load(tiny, BACKBONE).double()
    for layer in [module for module in model.modules() if hasattr(module, "input_layernorm")]:
        for name in ("input_layernorm", "post_attention_layernorm"):
            setattr(layer, name, in_double(getattr(layer, name)))
    model.model.norm = in_double(model.model.norm)
    return adapter.attach(model, ADAPTER)


def in_double(norm):
    """Torch's own normalization: that of transformers computes in float32 whatever the type."""
    other = torch.nn.RMSNorm(norm.weight.shape, norm.variance_epsilon, dtype=torch.float64)
    other.weight = norm.weight
    return other


@pytest.mark.parametrize("chosen", [EXACT, LEARNED], ids=["fixed", "learned"])
def test_central_differences_of_the_bi_level_objective(chosen, double, task):
    def loss(weights, pack):
        return evaluate(double, weights, pack, TRAIN)

    def objective(phi):
        return adapt(loss, phi, task.support, task.query, chosen).query_losses[-1]

    phi = with_rates({name: tensor.double() for name, tensor in small(double).items()}, chosen)
    found = gradient(loss, phi, task, chosen)
    assert all(tensor.dtype == torch.float64 for tensor in found.values())
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        # Each coordinate of the gradient scaled at random, so that the slope along the direction is not near zero.
        direction = {name: tensor * torch.rand(tensor.shape, generator=generator) for name, tensor in found.items()}
        size = math.sqrt(sum((tensor**2).sum().item() for tensor in direction.values()))
        step = 1e-5 / size
        ahead, behind = (objective({name: phi[name] + h * direction[name] for name in phi}) for h in (step, -step))
        expected = sum((found[name] * direction[name]).sum().item() for name in phi)
        assert (ahead - behind) / (2 * step) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_backbone_in_bfloat16_has_the_hypergradient_of_its_weights_in_float32(steps, tiny, phi, task):
    """Double backward alone: a finite difference is refused in this format, whose rounding it would divide by its step."""
    half = backbone.load(tiny, BACKBONE.model_copy(update={"dtype": "bfloat16"}))
    single = backbone.load(tiny, BACKBONE)
    single.load_state_dict({name: tensor.float() for name, tensor in half.state_dict().items()})
    models = {name: adapter.attach(model, ADAPTER) for name, model in (("half", half), ("single", single))}
    chosen = EXACT.model_copy(update={"inner_steps": steps})

    def found(name, chosen):
        return gradient(lambda weights, pack: evaluate(models[name], weights, pack, TRAIN), phi, task, chosen)

    exact = found("half", chosen)
    assert all(tensor.dtype == torch.float32 for tensor in exact.values())
    # 8 bits of a significand round by up to 1 in 256, through some ten layers' products.
    assert relative_error(exact, found("single", chosen)) < 0.05
    assert (
        relative_error(found("single", chosen.model_copy(update={"hypergradient": "first_order"})), found("single", chosen)) > 0.1
    )


@pytest.mark.parametrize("product", TOLERANCE)
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("learned", [False, True], ids=["fixed", "learned"])
def test_it_is_the_gradient_of_the_unrolled_graph(learned, steps, product, loss, phi, task):
    chosen = EXACT.model_copy(update={"inner_steps": steps, "product": product, "learn_inner_lr": learned})
    phi = with_rates(phi, chosen)
    found, expected = gradient(loss, phi, task, chosen), unrolled(loss, phi, task, chosen)
    assert relative_error(found, expected) < TOLERANCE[product]
    if learned:
        rho = [name for name in phi if name.startswith(inner_rates.PREFIX)]
        assert relative_error(*({name: tensors[name] for name in rho} for tensors in (found, expected))) < TOLERANCE[product]
    # The second-order part is no trifle here: first_order is far off.
    first_order = chosen.model_copy(update={"hypergradient": "first_order"})
    assert relative_error(gradient(loss, phi, task, first_order), expected) > 0.1


@pytest.mark.parametrize("product", TOLERANCE)
def test_it_goes_through_the_steps_to_the_selected_iterate_only(product, loss, phi, task):
    chosen = EXACT.model_copy(update={"inner_steps": 4, "inner_lr": 1.0, "product": product, "optimistic": True})
    step = meta_learning(chosen)(loss, phi, task)
    losses = [
        unrolled_loss(loss, {name: tensor.clone().requires_grad_() for name, tensor in phi.items()}, task, shortened).item()
        for shortened in (chosen.model_copy(update={"inner_steps": steps}) for steps in range(5))
    ]
    assert step.selected == losses.index(min(losses))
    assert 0 < step.selected < 4
    expected = unrolled(loss, phi, task, chosen.model_copy(update={"inner_steps": step.selected}))
    assert relative_error(step.gradient, expected) < TOLERANCE[product]


@pytest.mark.parametrize("chosen", [EXACT, FINITE], ids=TOLERANCE)
def test_without_inner_learning_it_is_fine_tuning_on_the_query(chosen, loss, phi, task):
    found = gradient(loss, phi, task, chosen.model_copy(update={"inner_lr": 0.0}))
    plain = {name: tensor.clone().requires_grad_() for name, tensor in phi.items()}
    (sum(loss(plain, pack).loss for pack in task.query) / 2).backward()
    assert relative_error(found, {name: tensor.grad for name, tensor in plain.items()}) < 1e-6


def test_without_inner_learning_reptile_is_fine_tuning_on_the_support(loss, phi, task):
    found = gradient(loss, phi, task, EXACT.model_copy(update={"hypergradient": "reptile", "inner_lr": 0.0, "inner_steps": 2}))
    plain = {name: tensor.clone().requires_grad_() for name, tensor in phi.items()}
    sum(loss(plain, pack).loss for pack in task.support).backward()
    assert relative_error(found, {name: tensor.grad for name, tensor in plain.items()}) < 1e-6


def test_no_direction_and_no_weights_have_a_product_all_the_same(loss, phi, task):
    """Where nothing is to be multiplied, or theta is 0, the step of the difference still is one."""
    from metatoolagent.meta.products import finite_difference

    nothing = {name: torch.zeros_like(tensor) for name, tensor in phi.items()}
    theta = leaves(phi)
    slope = losses_gradient(loss(theta, task.support[0]).loss, theta)
    product = finite_difference(loss, phi, task.support[0], nothing, slope)
    assert not any(tensor.any() for tensor in product.values())
    zero, along = ({"a": torch.tensor(value), "b": torch.tensor(0.0)} for value in (0.0, 2.0))
    found = finite_difference(two_parameters, zero, "query", along, {"a": torch.tensor(-1.0), "b": torch.tensor(3.0)})
    assert found["a"].item() == pytest.approx(2, rel=1e-3)


class Saved:
    """A tensor that a graph keeps for its backward pass, counted while it lives."""

    alive = peak = 0

    def __init__(self, tensor):
        self.tensor = tensor.detach()  # a saved output holds the node that holds it, and neither would ever go
        Saved.alive += tensor.numel()
        Saved.peak = max(Saved.peak, Saved.alive)

    def __del__(self):
        Saved.alive -= self.tensor.numel()


def peak_of(work, *arguments):
    """Return the most numbers that all graphs together keep at a time."""
    Saved.peak = Saved.alive = 0
    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        work(*arguments)
    return Saved.peak


@pytest.mark.parametrize("hypergradient", HYPERGRADIENTS)
@pytest.mark.parametrize("product", TOLERANCE)
@pytest.mark.parametrize("optimistic", [False, True])
def test_graphs_do_not_grow_with_the_number_of_inner_steps(optimistic, product, hypergradient, loss, phi, task):
    chosen = EXACT.model_copy(update={"hypergradient": hypergradient, "product": product, "optimistic": optimistic})
    short, long = chosen.model_copy(update={"inner_steps": 1}), chosen.model_copy(update={"inner_steps": 6})
    assert peak_of(gradient, loss, phi, task, long) == peak_of(gradient, loss, phi, task, short) > 0
    # The measure itself: it does see what an unrolled graph keeps.
    assert peak_of(unrolled, loss, phi, task, long) > 2.5 * peak_of(unrolled, loss, phi, task, short)
