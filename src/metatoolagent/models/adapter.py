"""LoRA through PEFT, as a dictionary of tensors that is passed in and returned.

The masters are float32. The forward pass sees them in the backbone's type: float32 adapters on a bfloat16 backbone
make every adapted layer compute in float32, which is several times slower.
"""

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.func import functional_call

from metatoolagent import params
from metatoolagent.artifacts import verify
from metatoolagent.errors import Exit, UserError
from metatoolagent.models import lora
from metatoolagent.models.attention import layout
from metatoolagent.tasks.packing import Pack

Tensors = dict[str, Tensor]
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
NAME = ".default.weight"
"""How PEFT ends a tensor's name in the model; in a file it ends `.weight`."""


def attach(model: nn.Module, chosen: params.Adapter) -> nn.Module:
    """Return the backbone with LoRA layers, all of whose weights come from outside at each call: its own are on the meta device.

    Args:
        model: the frozen backbone.
        chosen: rank, alpha and the names of the adapted layers.

    Raises:
        UserError: E-ADAPTER-TARGETS if the backbone has no layers of one of the names, or PEFT cannot adapt them.
    """
    # PEFT itself takes what it finds, as long as it finds one.
    names = [f".{name}" for name, _ in model.named_modules()]
    if missing := [target for target in chosen.targets if not any(name.endswith(f".{target}") for name in names)]:
        raise _targets_error(f"the backbone has no layer {', '.join(missing)}")
    config = LoraConfig(r=chosen.rank, lora_alpha=chosen.alpha, target_modules=chosen.targets, task_type="CAUSAL_LM")
    try:
        with warnings.catch_warnings():
            # PEFT asks transformers for an attribute under its old name.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
            # Shapes alone: no call reads PEFT's own tensors, and what they would take is not known to fit yet.
            adapted: nn.Module = get_peft_model(model, config, autocast_adapter_dtype=False, low_cpu_mem_usage=True)
    except ValueError as error:
        raise _targets_error(str(error).splitlines()[0]) from None
    lora.fuse(adapted)
    return adapted.requires_grad_(False).eval()


def _targets_error(what: str) -> UserError:
    where, fix = "params.yaml, key adapter.targets", "name layers that the backbone has"
    return UserError("E-ADAPTER-TARGETS", what, where, fix=fix, exit_code=Exit.PARAMS)


def initial(adapted: nn.Module, generator: torch.Generator) -> Tensors:
    """Return fresh float32 LoRA tensors: A uniform as `nn.Linear` is initialized, B zero, so that nothing changes.

    Args:
        adapted: what `attach` returned.
        generator: on the CPU; the draws follow the sorted names.
    """
    shapes = {name: parameter.shape for name, parameter in adapted.named_parameters() if "lora_" in name}
    device, tensors = next(adapted.parameters()).device, {}
    for name in sorted(shapes):
        tensor = torch.zeros(shapes[name])
        if "lora_A" in name:
            nn.init.kaiming_uniform_(tensor, a=math.sqrt(5), generator=generator)
        tensors[name] = tensor.to(device)
    return tensors


def merged(adapted: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return the backbone with the adapter's products added to its weights, W + alpha / rank B A: no layer more to compute.

    Args:
        adapted: what `attach` returned; it is used up.
        tensors: the LoRA tensors, all of them.
    """
    adapted.load_state_dict(dict(tensors), strict=False, assign=True)
    plain: nn.Module = adapted.merge_and_unload()  # type: ignore[operator]
    return plain.requires_grad_(False).eval()


def forward(model: nn.Module, weights: Mapping[str, Tensor] | None, pack: Pack, **options: Any) -> Any:
    """Return the model's output on a pack.

    Args:
        model: the backbone, or what `attach` returned.
        weights: the LoRA tensors, differentiable; None for the backbone alone.
        pack: on the model's device.
        options: further arguments of the model's forward.
    """
    dtype = next(model.parameters()).dtype
    # Kernels round differently, in bfloat16 by as much as an inner step moves a loss (docs/log.md). So tensors that are trained
    # are always computed by those that can be differentiated, also where they are only looked at, to choose among iterates.
    trained = weights is not None and any(tensor.requires_grad for tensor in weights.values())
    call = {
        "input_ids": pack.input_ids_T[None],
        "position_ids": pack.position_ids_T[None],
        "tree": layout(pack, dtype, fused=not trained),
        **options,
    }
    return functional_call(model, cast(weights, dtype), (), call)


def cast(weights: Mapping[str, Tensor] | None, dtype: torch.dtype) -> Tensors:
    """Return the LoRA tensors in the backbone's type; none for no adapter."""
    return {} if weights is None else {name: tensor.to(dtype) for name, tensor in weights.items()}


def logits(model: nn.Module, weights: Mapping[str, Tensor] | None, pack: Pack) -> Tensor:
    """Return the logits (K, V) at the kept positions of a pack, in float32 or better; arguments as `forward`."""
    logits_KV: Tensor = forward(model, weights, pack, logits_to_keep=pack.keep_K, use_cache=False).logits[0]
    return logits_KV.to(torch.promote_types(logits_KV.dtype, torch.float32))


def save(tensors: Tensors, chosen: params.Adapter, base: str, paths: Mapping[str, Path]) -> None:
    """Write an adapter in PEFT's format.

    Args:
        tensors: the LoRA tensors.
        chosen: rank, alpha and the names of the adapted layers.
        base: where the backbone lies.
        paths: where `adapter_model.safetensors` and `adapter_config.json` go.

    Raises:
        UserError: E-NONFINITE-WEIGHT if a tensor holds NaN or infinity.
    """
    check_finite(tensors)
    plain = {name.replace(NAME, ".weight"): tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    save_file(plain, paths[WEIGHTS], metadata={"format": "pt"})
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": chosen.rank,
        "lora_alpha": chosen.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(chosen.targets),
        "inference_mode": True,
    }
    paths[CONFIG].write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load(folder: Path, expected: Mapping[str, Tensor]) -> Tensors:
    """Return the LoRA tensors of an adapter.

    PEFT itself loads an adapter with missing, unexpected or non-finite tensors without an error.

    Args:
        folder: a published adapter.
        expected: tensors of the names and shapes that the model needs.

    Raises:
        UserError: E-CORRUPT, E-ADAPTER-KEYS or E-NONFINITE-WEIGHT.
    """
    stored = load_file(verify(folder / WEIGHTS))
    tensors = {name.replace(".weight", NAME): tensor for name, tensor in stored.items()}
    wrong = sorted(set(tensors) ^ set(expected)) or sorted(
        name for name in expected if tensors[name].shape != expected[name].shape
    )
    if wrong:
        raise UserError(
            "E-ADAPTER-KEYS",
            f"{len(wrong)} tensors of the adapter do not fit the backbone",
            str(folder / WEIGHTS),
            ", ".join(wrong[:3]),
            "train the adapter anew, or restore the backbone and adapter params that it was trained with",
            exit_code=Exit.ARTIFACT,
        )
    check_finite(tensors)
    return {name: tensor.to(expected[name].device) for name, tensor in tensors.items()}


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors with NaN or infinity.

    Raises:
        UserError: E-NONFINITE-WEIGHT with the first one's name.
    """
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise UserError(
                "E-NONFINITE-WEIGHT", "a LoRA tensor holds NaN or infinity", name, fix="train anew with a lower learning rate"
            )
