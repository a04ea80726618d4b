import torch
from peft import LoraConfig
from peft.tuners.lora import Linear
from torch import nn

from metatoolagent.models import lora


def layer(**options):
    """PEFT's layer over 3 outputs and 5 inputs, rank 2, scale 3; float64."""
    torch.manual_seed(0)
    base = nn.Linear(5, 3, bias=options.pop("bias", False), dtype=torch.float64).requires_grad_(False)
    made = Linear(base, "default", config=LoraConfig(**options), r=2, lora_alpha=6).double()
    nn.init.normal_(made.lora_B["default"].weight)
    return made


def test_output_and_gradients_are_those_of_peft():
    plain, fused = layer(), layer()
    lora.fuse(fused)
    results = []
    for each in (plain, fused):
        x = torch.linspace(-1, 1, 40, dtype=torch.float64).reshape(2, 4, 5).requires_grad_()
        y = each(x)
        weights = [each.lora_A["default"].weight, each.lora_B["default"].weight]
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, *weights])])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert "forward" in vars(fused) and "forward" not in vars(plain)


def test_first_and_second_derivatives_agree_with_differences():
    generator = torch.Generator().manual_seed(1)
    shapes = [(4, 5), (3, 5), (2, 5), (3, 2)]
    x, w, a, b = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    inputs = [tensor.requires_grad_() for tensor in (x, a, b)]

    def product(x, a, b):
        return lora._Product.apply(x, w, a, b, 0.5)

    assert torch.autograd.gradcheck(product, inputs)
    assert torch.autograd.gradgradcheck(product, inputs)


def test_a_layer_with_a_bias_is_left_to_peft():
    biased = layer(bias=True)
    lora.fuse(biased)
    assert "forward" not in vars(biased)
