import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from metatoolagent import params
from metatoolagent.artifacts import publishing
from metatoolagent.errors import UserError
from metatoolagent.models import adapter, backbone, precision
from model_fixtures import BACKBONE, SPOILT, random_pack, spoilt


def from_source(source):
    return BACKBONE.model_copy(update={"source": str(source)})


def refusal(source, out):
    with pytest.raises(UserError) as raised:
        backbone.build(from_source(source), out)
    assert not out.exists() or list(out.iterdir()) == []
    return raised.value


def test_the_tiny_model_is_small_and_its_files_are_in_the_manifest(tiny, model):
    assert sum(parameter.numel() for parameter in model.parameters()) <= 500_000
    manifest = json.loads((tiny / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["files"]) == set(backbone.FILES)
    assert {path.name for path in tiny.iterdir()} == {*backbone.FILES, "manifest.json"}
    assert manifest["source"] == "tiny"
    assert backbone.fingerprint(tiny) == manifest["files"]["model.safetensors"]["sha256"]


def test_the_tiny_model_has_the_same_bytes_every_time(tiny, tmp_path):
    torch.manual_seed(99)  # the global generator must not matter
    backbone.build(BACKBONE, tmp_path)
    for name in (*backbone.FILES, "manifest.json"):
        assert (tmp_path / name).read_bytes() == (tiny / name).read_bytes(), name


def test_building_leaves_the_global_generator_alone(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    backbone.build(BACKBONE, tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_a_loaded_backbone_is_frozen_and_of_the_type_that_was_asked_for(tiny, model, tmp_path):
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    half = params.Backbone(source="tiny", dtype="bfloat16", layers=0)
    backbone.build(half, tmp_path)
    assert {parameter.dtype for parameter in backbone.load(tmp_path, half).parameters()} == {torch.bfloat16}
    assert (tmp_path / "model.safetensors").stat().st_size < 0.6 * (tiny / "model.safetensors").stat().st_size


@pytest.mark.parametrize("faster", [True, False])
def test_a_backbone_of_dtype_auto_is_kept_whole_for_machines_of_either_kind(tiny, tmp_path, monkeypatch, faster):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: faster)
    backbone.build(BACKBONE.model_copy(update={"dtype": "auto"}), tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (tiny / "model.safetensors").read_bytes()


def test_few_kernels_are_kept_but_for_a_limit_of_the_users_own(monkeypatch):
    for name in backbone.KERNELS:
        monkeypatch.setenv(name, "")  # so that monkeypatch restores what is there
        monkeypatch.delenv(name)
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    backbone.keep_few_kernels()
    assert {name: os.environ[name] for name in backbone.KERNELS} == backbone.KERNELS | {"LRU_CACHE_CAPACITY": "7"}


def test_a_local_folder_comes_back_the_same(tiny, model, tmp_path):
    backbone.build(from_source(tiny), tmp_path)
    before, after = load_file(tiny / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    pack = random_pack(2, 2)
    assert torch.equal(adapter.logits(backbone.load(tmp_path, BACKBONE), None, pack), adapter.logits(model, None, pack))
    text = "Look <|im_start|> up 12 €"
    assert backbone.load_tokenizer(tmp_path)(text).input_ids == backbone.load_tokenizer(tiny)(text).input_ids


def test_the_name_of_a_folder_may_hold_an_at_sign(tiny, tmp_path):
    folder = tmp_path / "tiny@home"
    shutil.copytree(tiny, folder)
    backbone.build(from_source(folder), tmp_path / "out")
    assert backbone.fingerprint(tmp_path / "out") == backbone.fingerprint(tiny)


def test_a_folder_with_pickled_weights_alone_is_refused(tiny, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(tiny, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    error = refusal(folder, tmp_path / "out")
    assert error.code == "E-FORMAT"
    assert "pickle" in error.what


def test_pickle_bytes_under_the_name_of_safetensors_are_not_read(tiny, tmp_path):
    folder = tmp_path / "disguised"
    shutil.copytree(tiny, folder)
    torch.save(load_file(tiny / "model.safetensors"), folder / "model.safetensors")
    error = refusal(folder, tmp_path / "out")
    assert error.code == "E-FORMAT"
    assert "safetensors" in error.what


def altered(tiny, folder, tensors=lambda stored: stored, **config):
    """A copy of the tiny model with other tensors, and with other values in its config.json."""
    shutil.copytree(tiny, folder)
    stored = load_file(folder / "model.safetensors")
    save_file(tensors(stored), folder / "model.safetensors", metadata={"format": "pt"})
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(content | config), encoding="utf-8")
    return folder


NORM = "model.layers.0.input_layernorm.weight"


@pytest.mark.parametrize(
    ("tensors", "config", "counts", "first"),
    [
        (lambda kept: {name: kept[name] for name in kept if name != NORM}, {}, (1, 0, 0), f"no {NORM}"),
        (lambda kept: {f"a.{name}": kept[name] for name in kept}, {}, (39, 38, 0), "unexpected a.model.embed_tokens.weight"),
        (dict, {"num_hidden_layers": 3}, (0, 9, 0), "unexpected model.layers.3.input_layernorm.weight"),
        (dict, {"num_hidden_layers": 5}, (9, 0, 0), "no model.layers.4.input_layernorm.weight"),
        (dict, {"hidden_size": 32}, (0, 0, 38), "shape of model.embed_tokens.weight"),
        (dict, {"model_type": "bert"}, (76, 38, 0), "no bert.embeddings.LayerNorm.bias"),
        (dict, {"tie_word_embeddings": False}, (1, 0, 0), "no lm_head.weight"),
    ],
)
def test_weights_that_are_not_all_in_the_files_are_not_made_up(tensors, config, counts, first, tiny, tmp_path):
    error = refusal(altered(tiny, tmp_path / "altered", tensors, **config), tmp_path / "out")
    assert (error.code, error.exit_code, error.where) == ("E-BACKBONE", 66, str(tmp_path / "altered"))
    assert error.what.endswith("{} are missing, {} unexpected, {} of another shape".format(*counts))
    assert f'"{first}"' in error.got


def test_a_head_that_is_tied_may_be_in_the_files_too(tiny, tmp_path):
    def with_head(stored):
        return stored | {"lm_head.weight": stored["model.embed_tokens.weight"].clone()}

    backbone.build(from_source(altered(tiny, tmp_path / "tied", with_head)), tmp_path / "out")
    assert backbone.fingerprint(tmp_path / "out") == backbone.fingerprint(tiny)


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"hidden_size": "a"}, "'hidden_size'"),
        ({"hidden_size": -4}, "negative dimension"),
        ({"num_attention_heads": 0}, "ZeroDivisionError"),
        ({"hidden_act": "none"}, "'none'"),
    ],
)
def test_a_config_that_no_model_has_is_refused(config, what, tiny, tmp_path):
    error = refusal(altered(tiny, tmp_path / "broken", **config), tmp_path / "out")
    assert (error.code, error.exit_code) == ("E-BACKBONE", 66)
    assert what in error.what


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_with_nan_or_infinity_are_not_built(value, tiny, tmp_path):
    def spoilt(stored):
        stored[NORM].view(-1)[0] = value
        return stored

    error = refusal(altered(tiny, tmp_path / "spoilt", spoilt), tmp_path / "out")
    assert (error.code, error.exit_code, error.got) == ("E-NONFINITE-WEIGHT", 66, f'"{NORM}"')


COMMIT = "4d14e384a4b037942bb3f3016665157c8bcb70ea"
UNPINNED = ["some/model", "some/model@", "some/model@main", f"some/model@{COMMIT[:7]}", "no-such-folder", f"a/b/c@{COMMIT}", ""]


@pytest.mark.parametrize("name", UNPINNED)
def test_a_name_without_a_commit_is_refused_before_any_network(name, tmp_path, monkeypatch):
    def reached(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(backbone.AutoConfig, "from_pretrained", reached)
    error = refusal(name, tmp_path / "out")
    assert (error.code, error.exit_code) == ("E-BACKBONE", 64)
    assert "backbone.source" in error.where


def test_a_pinned_commit_is_passed_on(monkeypatch, tmp_path):
    asked = {}

    def reached(name, **options):
        asked.update(options, name=name)
        raise OSError("no network\nand much more text")

    monkeypatch.setattr(backbone.AutoConfig, "from_pretrained", reached)
    error = refusal(f"some/model@{COMMIT}", tmp_path / "out")
    assert asked == {"name": "some/model", "revision": COMMIT, "trust_remote_code": False}
    assert (error.what, error.exit_code) == ("no network", 66)


def test_a_tokenizer_without_a_chat_template_is_refused(tiny, tmp_path):
    folder = tmp_path / "plain"
    shutil.copytree(tiny, folder)
    (folder / "chat_template.jinja").unlink()
    error = refusal(folder, tmp_path / "out")
    assert (error.code, error.what) == ("E-BACKBONE", "the tokenizer has no chat template")


@pytest.mark.parametrize("name", backbone.FILES)
def test_a_missing_file_is_refused_on_load(name, tiny, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(tiny, folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match="E-MISSING") as raised:
        backbone.load(folder, BACKBONE)
    assert raised.value.exit_code == 66


def test_a_flipped_bit_and_a_shorter_file_are_refused_on_load(tiny, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(tiny, folder)
    content = bytearray((tiny / "model.safetensors").read_bytes())
    content[-1000] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="E-CORRUPT") as raised:
        backbone.load(folder, BACKBONE)
    assert (raised.value.exit_code, "sha256" in raised.value.got) == (66, True)
    (folder / "model.safetensors").write_bytes(content[:-1])
    with pytest.raises(UserError, match="expected") as raised:
        backbone.load(folder, BACKBONE)
    assert raised.value.got.startswith("size")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "auto"])
def test_published_weights_with_nan_are_refused_on_load(dtype, tiny, tmp_path):
    folder = spoilt(tiny, tmp_path / "nan")
    with pytest.raises(UserError, match="E-NONFINITE-WEIGHT") as raised:
        backbone.load(folder, BACKBONE.model_copy(update={"dtype": dtype}))
    assert (raised.value.exit_code, raised.value.where, raised.value.got) == (66, str(folder), f'"{SPOILT}"')


def test_weights_that_a_type_cannot_hold_are_refused_on_load(tiny, tmp_path):
    largest = torch.finfo(torch.float32).max  # infinite in bfloat16
    with publishing(tmp_path / "large", backbone.FILES, producer="backbone") as paths:
        for name, path in paths.items():
            path.write_bytes((tiny / name).read_bytes())
        tensors = load_file(tiny / "model.safetensors")
        tensors[NORM].view(-1)[0] = largest
        save_file(tensors, paths["model.safetensors"], metadata={"format": "pt"})
    backbone.load(tmp_path / "large", BACKBONE)
    with pytest.raises(UserError, match="E-NONFINITE-WEIGHT"):
        backbone.load(tmp_path / "large", BACKBONE.model_copy(update={"dtype": "bfloat16"}))


def test_weights_with_nan_in_place_of_what_was_published_are_caught_by_the_manifest(tiny, tmp_path):
    folder = tmp_path / "nan"
    shutil.copytree(tiny, folder)
    tensors = load_file(tiny / "model.safetensors")
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="E-CORRUPT"):
        backbone.load(folder, BACKBONE)


def test_the_device_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert backbone.device() == torch.device("cpu")


def test_a_model_is_cut_to_its_first_layers(tiny, tmp_path):
    two = BACKBONE.model_copy(update={"layers": 2})
    backbone.build(two, tmp_path)
    whole, cut = load_file(tiny / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert cut.keys() == {name for name in whole if "layers.2." not in name and "layers.3." not in name}
    assert all(torch.equal(cut[name], whole[name]) for name in cut)
    assert backbone.load(tmp_path, two).config.num_hidden_layers == 2
    assert adapter.logits(backbone.load(tmp_path, two), None, random_pack(2, 2)).isfinite().all()


def test_more_layers_than_there_are_are_refused(tmp_path):
    with pytest.raises(UserError, match="E-BACKBONE") as raised:
        backbone.build(BACKBONE.model_copy(update={"layers": 5}), tmp_path)
    assert "4 layers" in raised.value.what and raised.value.exit_code == 64
