"""Activation checkpointing: the same gradients from less memory."""

import pytest
import torch

from metatoolagent.meta.losses import evaluate
from metatoolagent.models import adapter, backbone
from metatoolagent.models.recomputation import recompute_layers
from model_fixtures import ADAPTER, BACKBONE, TRAIN, close, random_pack
from saved import saved_bytes

PACK = random_pack(4, 3)


@pytest.fixture(scope="module")
def recomputed(tiny):
    """The adapted backbone, whose layers recompute themselves."""
    model = adapter.attach(backbone.load(tiny, BACKBONE), ADAPTER)
    recompute_layers(model)
    return model


def derivatives(model, weights):
    """The loss, its gradient, and a second derivative."""
    theta = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    loss = evaluate(model, theta, PACK, TRAIN).loss
    slope = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
    second = torch.autograd.grad(sum((value**2).sum() for value in slope), list(theta.values()))
    return [tensor.detach() for tensor in (loss, *slope, *second)]


def test_names_and_derivatives_are_the_same(adapted, recomputed, weights):
    assert list(dict(recomputed.named_parameters())) == list(dict(adapted.named_parameters()))
    for found, expected in zip(derivatives(recomputed, weights), derivatives(adapted, weights), strict=True):
        assert close(found, expected, 1e-6)


def test_bfloat16_with_float32_masters_gives_the_same_gradients(tiny, weights):
    plain, recomputed = (
        adapter.attach(backbone.load(tiny, BACKBONE.model_copy(update={"dtype": "bfloat16"})), ADAPTER) for _ in range(2)
    )
    recompute_layers(recomputed)
    for found, expected in zip(derivatives(recomputed, weights), derivatives(plain, weights), strict=True):
        assert torch.equal(found, expected)


def test_activations_are_not_kept(adapted, recomputed, weights):
    theta = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    plain = saved_bytes(lambda: evaluate(adapted, theta, PACK, TRAIN))
    assert saved_bytes(lambda: evaluate(recomputed, theta, PACK, TRAIN)) < 0.35 * plain


def test_without_gradients_nothing_is_recomputed(adapted, recomputed, weights):
    with torch.no_grad():
        found, expected = (evaluate(model, weights, PACK, TRAIN).loss_Q for model in (recomputed, adapted))
    assert torch.equal(found, expected)
