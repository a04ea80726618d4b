import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from metatoolagent.artifacts import publishing
from metatoolagent.errors import UserError
from metatoolagent.models import adapter, backbone
from model_fixtures import ADAPTER, BACKBONE, close, random_pack, random_parts, random_weights


def publish(tensors, out):
    with publishing(out, (adapter.WEIGHTS, adapter.CONFIG), producer="train") as paths:
        adapter.save(tensors, ADAPTER, "tiny", paths)
    return out


def publish_as_they_are(tensors, out):
    """Publish tensors that `save` would refuse, or under wrong names."""
    with publishing(out, (adapter.WEIGHTS,), producer="train") as paths:
        save_file(tensors, paths[adapter.WEIGHTS])
    return out


def expected_of(adapted):
    return adapter.initial(adapted, torch.Generator().manual_seed(0))


def test_the_initial_adapter_changes_nothing(adapted, model):
    tensors = expected_of(adapted)
    assert len(tensors) == 4 * len(ADAPTER.targets) * 2
    assert all(bool((tensor == 0).all()) for name, tensor in tensors.items() if "lora_B" in name)
    assert all(bool((tensor != 0).any()) for name, tensor in tensors.items() if "lora_A" in name)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    pack = random_pack(3, 2)
    assert torch.equal(adapter.logits(adapted, tensors, pack), adapter.logits(model, None, pack))


def test_the_initial_adapter_follows_its_generator_alone(adapted):
    torch.manual_seed(5)
    first = adapter.initial(adapted, torch.Generator().manual_seed(3))
    torch.manual_seed(6)
    again = adapter.initial(adapted, torch.Generator().manual_seed(3))
    other = adapter.initial(adapted, torch.Generator().manual_seed(4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if "lora_A" in name)


def test_the_initial_a_has_the_spread_of_a_linear_layer(adapted):
    tensors = expected_of(adapted)
    for name, tensor in tensors.items():
        if "lora_A" in name:
            bound = 1 / tensor.shape[1] ** 0.5
            assert 0.8 * bound < tensor.abs().max() <= bound, name


def test_weights_come_from_outside_at_each_call(adapted, weights):
    pack = random_pack(2, 2)
    before = {name: parameter.clone() for name, parameter in adapted.named_parameters() if "lora_" not in name}
    changed = adapter.logits(adapted, weights, pack)
    plain = adapter.logits(adapted, expected_of(adapted), pack)
    assert not close(changed, plain, 1e-2)
    assert torch.equal(adapter.logits(adapted, weights, pack), changed)
    for name, parameter in adapted.named_parameters():
        # What PEFT holds in the adapter's place takes no memory and is never read.
        assert parameter.is_meta if "lora_" in name else torch.equal(parameter, before[name]), name


def test_gradients_reach_every_tensor_and_the_masters_stay_float32(adapted, weights):
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    adapter.logits(adapted, leaves, random_pack(2, 2)).logsumexp(-1).sum().backward()
    for name, leaf in leaves.items():
        assert leaf.grad is not None, name
        assert leaf.grad.abs().max() > 0, name
    half = adapter.cast(leaves, torch.bfloat16)
    assert {tensor.dtype for tensor in half.values()} == {torch.bfloat16}
    assert {leaf.dtype for leaf in leaves.values()} == {torch.float32}
    assert adapter.cast(None, torch.bfloat16) == {}


def test_a_saved_adapter_comes_back_bit_for_bit(adapted, weights, tmp_path):
    loaded = adapter.load(publish(weights, tmp_path / "a"), expected_of(adapted))
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    publish(dict(reversed(weights.items())), tmp_path / "b")
    for name in (adapter.WEIGHTS, adapter.CONFIG):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_peft_loads_the_adapter_and_answers_the_same(adapted, weights, tiny, tmp_path):
    folder = publish(weights, tmp_path)
    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32, attn_implementation="sdpa")
    parts = random_parts(4, 3)
    ours = adapter.logits(adapted, weights, random_pack(4, 3))
    pack = random_pack(4, 3)
    theirs_model = PeftModel.from_pretrained(base, folder).eval()
    scores = torch.zeros(len(pack.branch_A))
    place = 0
    theirs = torch.zeros_like(ours)
    with torch.no_grad():
        for segment in parts["segments"]:
            for answer in parts["answers"]:
                sequence = [*parts["prefix"], *segment, *answer]
                logits = theirs_model(torch.tensor([sequence])).logits[0]
                start = len(parts["prefix"]) + len(segment) - 1
                rows = pack.row_A[place : place + len(answer)]
                theirs[rows] = logits[start : start + len(answer)]
                place += len(answer)
    assert place == len(scores)
    assert close(ours, theirs, 1e-4)
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1))
    # Without the adapter the logits are others, so the comparison can fail.
    with theirs_model.disable_adapter(), torch.no_grad():
        plain = theirs_model(torch.tensor([[*parts["prefix"], *parts["segments"][0]]])).logits[0, -1]
    assert not close(ours[0], plain, 1e-2)


def test_the_configuration_is_what_peft_needs(weights, tmp_path):
    config = json.loads((publish(weights, tmp_path) / adapter.CONFIG).read_text(encoding="utf-8"))
    assert (config["r"], config["lora_alpha"]) == (ADAPTER.rank, ADAPTER.alpha)
    assert config["target_modules"] == sorted(ADAPTER.targets)
    assert config["base_model_name_or_path"] == "tiny"


def missing(tensors):
    tensors.pop(sorted(tensors)[0])


def extra(tensors):
    tensors["base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"] = torch.zeros(4, 64)


def reshaped(tensors):
    name = sorted(tensors)[0]
    tensors[name] = tensors[name].T.contiguous()


def renamed(tensors):
    name = sorted(tensors)[-1]
    tensors[name.replace("lora_B", "lora_C")] = tensors.pop(name)


@pytest.mark.parametrize("damage", [missing, extra, reshaped, renamed])
def test_tensors_that_do_not_fit_are_refused_by_name(damage, adapted, weights, tmp_path):
    stored = load_file(publish(weights, tmp_path / "good") / adapter.WEIGHTS)
    damage(stored)
    folder = publish_as_they_are(stored, tmp_path / "bad")
    with pytest.raises(UserError) as raised:
        adapter.load(folder, expected_of(adapted))
    assert (raised.value.code, raised.value.exit_code) == ("E-ADAPTER-KEYS", 66)
    assert "lora_" in raised.value.got


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_refused_on_load_and_on_save(value, adapted, weights, tmp_path):
    stored = load_file(publish(weights, tmp_path / "good") / adapter.WEIGHTS)
    name = sorted(stored)[3]
    stored[name].view(-1)[-1] = value
    with pytest.raises(UserError, match="E-NONFINITE-WEIGHT") as raised:
        adapter.load(publish_as_they_are(stored, tmp_path / "bad"), expected_of(adapted))
    assert raised.value.where == name.replace(".weight", ".default.weight")
    with pytest.raises(UserError, match="E-NONFINITE-WEIGHT"):
        publish({name: torch.full((2,), value)}, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_flipped_bit_is_refused_on_load(adapted, weights, tmp_path):
    path = publish(weights, tmp_path) / adapter.WEIGHTS
    content = bytearray(path.read_bytes())
    content[-7] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match="E-CORRUPT"):
        adapter.load(tmp_path, expected_of(adapted))


@pytest.mark.parametrize("targets", [["no_such_proj"], ["q_proj", "no_such_proj"], ["proj"]])
def test_layers_that_the_backbone_lacks_are_refused(targets, tiny):
    chosen = ADAPTER.model_copy(update={"targets": targets})
    with pytest.raises(UserError) as raised:
        adapter.attach(backbone.load(tiny, BACKBONE), chosen)
    assert (raised.value.code, raised.value.exit_code) == ("E-ADAPTER-TARGETS", 64)
    assert raised.value.what.endswith(targets[-1])


def test_targets_may_be_the_ends_of_names(tiny):
    attached = adapter.attach(backbone.load(tiny, BACKBONE), ADAPTER.model_copy(update={"targets": ["self_attn.q_proj"]}))
    assert {name.split(".")[-4] for name, _ in attached.named_parameters() if "lora_A" in name} == {"q_proj"}


def test_rank_and_alpha_count(tiny, adapted):
    weights = random_weights(adapted, 2)
    pack = random_pack(2, 2)
    doubled = adapter.attach(backbone.load(tiny, BACKBONE), ADAPTER.model_copy(update={"alpha": 2 * ADAPTER.alpha}))
    twice = {name: 2 * tensor if "lora_B" in name else tensor for name, tensor in weights.items()}
    assert close(adapter.logits(doubled, weights, pack), adapter.logits(adapted, twice, pack), 1e-5)
    assert not close(adapter.logits(doubled, weights, pack), adapter.logits(adapted, weights, pack), 1e-2)


def test_a_merged_adapter_computes_the_same(tiny, weights):
    packed = random_pack(3, 4)
    attached = adapter.attach(backbone.load(tiny, BACKBONE), ADAPTER)
    expected = adapter.logits(attached, weights, packed)
    plain = adapter.merged(attached, weights)
    assert not [name for name, _ in plain.named_modules() if "lora" in name]
    assert close(adapter.logits(plain, None, packed), expected, 5e-5)  # W + B A, rounded once, and not two products
    assert not close(adapter.logits(backbone.load(tiny, BACKBONE), None, packed), expected, 1e-2)
