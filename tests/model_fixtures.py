"""Fixtures of the model side: a tiny backbone, its adapted form, and tasks over the small catalog.

The conftest files of the folders that use models import them; `tests/conftest.py` stays free of torch.
"""

import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from metatoolagent import cli, params
from metatoolagent.artifacts import publishing
from metatoolagent.models import adapter, backbone
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks import eval_tasks, meta_tasks, splits
from metatoolagent.tasks.channel import Channel
from metatoolagent.tasks.packing import Pack, pack
from metatoolagent.tasks.prompts import Template, read_template
from metatoolagent.tasks.rendering import Renderer

__all__ = ["adapted", "materialized", "metaspace", "model", "renderer", "template", "tiny", "weights"]

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for the command line in processes of its own: the bytes depend on it

BACKBONE = params.Backbone(source="tiny", dtype="float32", layers=0)
ADAPTER = params.Adapter(rank=4, alpha=8.0, targets=["q_proj", "k_proj", "v_proj", "down_proj"])
TRAIN = params.Train(
    loss="selection",
    answer_share=0.1,
    learning_rate=0.01,
    weight_decay=0.0,
    warmup=0.1,
    clip_norm=1.0,
    meta_batch=1,
    activation_checkpointing=False,
    checkpoint_every=2,
)
MTA = params.Mta(
    hypergradient="first_order",
    product="double_backward",
    inner_steps=1,
    inner_lr=0.05,
    support_share=0.0,
    learn_inner_lr=False,
    optimistic=True,
    early_stop=True,
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny backbone, in float32."""
    out = tmp_path_factory.mktemp("tiny")
    backbone.build(BACKBONE, out)
    return out


@pytest.fixture(scope="session")
def model(tiny: Path) -> nn.Module:
    """The tiny backbone as the stages load it."""
    return backbone.load(tiny, BACKBONE)


@pytest.fixture(scope="session")
def adapted(tiny: Path) -> nn.Module:
    """The tiny backbone with LoRA layers."""
    return adapter.attach(backbone.load(tiny, BACKBONE), ADAPTER)


@pytest.fixture(scope="session")
def weights(adapted: nn.Module) -> Tensors:
    """LoRA tensors that change what the model says: A and B both random."""
    return random_weights(adapted, 1)


@pytest.fixture(scope="session")
def template(tiny: Path) -> Template:
    """The tiny backbone's template."""
    return read_template(backbone.load_tokenizer(tiny))


@pytest.fixture(scope="session")
def metaspace() -> Template:
    """The template of a tokenizer as Llama 2 has: it begins each text with `<s>` and a space, and spells by characters."""
    special, letters = ["<unk>", "<s>", "</s>"], "".join(map(chr, range(33, 127))) + "▁"
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *letters, "->", "▁->"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = [("-", ">"), ("▁", "->")]
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    stripped = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    core.decoder = decoders.Sequence(stripped)
    core.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
    )
    return read_template(tokenizer)


@pytest.fixture(scope="session")
def materialized(catalog: Path, committed: params.Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of small meta-tasks (`meta_tasks`) and evaluation tasks (`tasks`) over the small catalog."""
    parts, out = tmp_path_factory.mktemp("parts"), tmp_path_factory.mktemp("materialized")
    splits.split(catalog, "cd", committed.split, 0, parts)
    meta = committed.meta_tasks.model_copy(update={"count": 6, "tasks_per_pack": 2})
    evaluation = committed.eval_tasks.model_copy(update={"count": 12})
    meta_tasks.materialize(parts, catalog, "cd", 2, 0, meta, out / "meta_tasks")
    eval_tasks.materialize(parts, catalog, "cd", 2, 0, evaluation, meta, out / "tasks")
    return out


@pytest.fixture(scope="session")
def renderer(catalog: Path, template: Template) -> Renderer:
    """Renders tasks over the small catalog."""
    return Renderer(catalog, template, 8192)


def random_weights(model: nn.Module, seed: int) -> Tensors:
    """Return LoRA tensors with random A and B, large enough to change selections."""
    generator = torch.Generator().manual_seed(seed)
    shapes = adapter.initial(model, torch.Generator().manual_seed(seed))
    return {name: 0.3 * torch.randn(tensor.shape, generator=generator) for name, tensor in shapes.items()}


def published(weights: Tensors, folder: Path, method: str, model: Path, **facts: str) -> Path:
    """Publish LoRA tensors as the trainer does, for a method and a backbone; `facts` stand in the manifest in place of these."""
    template = read_template(backbone.load_tokenizer(model))
    prompt = template.form(turns=method == "channel")
    extra = {"method": method, "backbone": backbone.fingerprint(model), "prompt": prompt, **facts}
    with publishing(folder, (adapter.WEIGHTS, adapter.CONFIG), producer="train", extra=extra) as paths:
        adapter.save(weights, ADAPTER, "tiny", paths)
    return folder


SPOILT = "model.layers.1.mlp.up_proj.weight"
"""The tensor with the NaN in a spoilt backbone."""


def spoilt(tiny: Path, folder: Path) -> Path:
    """Publish the tiny backbone with one NaN, under a manifest that fits, as another program than `build` may have made it."""
    tensors = load_file(tiny / "model.safetensors")
    tensors[SPOILT].view(-1)[5] = torch.nan
    with publishing(folder, backbone.FILES, producer="backbone") as paths:
        for name, path in paths.items():
            path.write_bytes((tiny / name).read_bytes())
        save_file(tensors, paths["model.safetensors"], metadata={"format": "pt"})
    return folder


def ids(generator: torch.Generator, length: int) -> list[int]:
    """Return random tokens of the tiny model's alphabet."""
    return torch.randint(0, 256, (length,), generator=generator).tolist()


def random_pack(tasks: int, candidates: int, *, seed: int = 0, gold_only: bool = False) -> Pack:
    """Return a pack of random tokens with uneven segments and answers."""
    return pack(**random_parts(tasks, candidates, seed), context=8192, gold_only=gold_only)


def random_channel(tasks: int, candidates: int, *, seed: int = 0) -> Channel:
    """Return a channel pack of random tokens: candidates of uneven documentation, questions of uneven length."""
    generator = torch.Generator().manual_seed(seed)
    questions = [ids(generator, 2 + 3 * index % 5) for index in range(tasks)]
    names = [f"q-{index}" for index in range(tasks)]
    trees = [
        pack(ids(generator, 9 + index), [[1, 2]] * tasks, questions, list(range(tasks)), names, context=8192, gold_only=True)
        for index in range(candidates)
    ]
    return Channel(tuple(trees), torch.randint(0, candidates, (tasks,), generator=generator))


def random_parts(tasks: int, candidates: int, seed: int = 0) -> dict[str, list]:
    """Return the arguments of `pack` for random tokens."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "prefix": ids(generator, 11),
        "segments": [ids(generator, 3 + 2 * index % 7) for index in range(tasks)],
        "answers": [[*ids(generator, 2 + index), 257] for index in range(candidates)],
        "gold": torch.randint(0, candidates, (tasks,), generator=generator).tolist(),
        "task_ids": [f"q-{index}" for index in range(tasks)],
    }


def alone(parts: dict[str, list], index: int) -> dict[str, list]:
    """Return the arguments of `pack` for one task alone."""
    return parts | {name: [parts[name][index]] for name in ("segments", "gold", "task_ids")}


def close(first: Tensor, second: Tensor, tolerance: float) -> bool:
    """Return whether the largest difference is within `tolerance` of the largest value."""
    return bool((first - second).abs().max() <= tolerance * second.abs().max())


def tree(folder: Path) -> dict[str, bytes]:
    """Return the content of each file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run_cli(arguments: list[str], said: str, **environment: str) -> None:
    """Run the command line in this process, which ends; what it prints goes to the file `said`."""
    os.environ.update(environment)
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["mta", *arguments]
    cli.main()
