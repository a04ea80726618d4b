"""The number format that the backbone computes in: as params.yaml says, or what is fastest here."""

from pathlib import Path

import torch

from metatoolagent import params


def dtype_of(chosen: params.Backbone) -> torch.dtype:
    """Return the dtype of the backbone's weights and activations."""
    return getattr(torch, name_of(chosen))  # type: ignore[no-any-return]


def name_of(chosen: params.Backbone) -> str:
    """Return that dtype's name; which one `auto` is depends on the machine, and on nothing else."""
    if chosen.dtype != "auto":
        return chosen.dtype
    return "bfloat16" if multiplies_bfloat16() else "float32"


def multiplies_bfloat16() -> bool:
    """Return whether this process's device is faster in bfloat16 than in float32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return processor_multiplies_bfloat16()


def processor_multiplies_bfloat16(path: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether a processor's bfloat16 is faster than its float32; False where Linux does not say.

    It is with AVX-512's bfloat16 products on AMD (measured: 2.5 times the products, 2 times the steps of training) and with
    Intel's matrix tiles (AMX: 6 and 1.7 times). Those products alone are no sign on Intel, where they were half as fast as
    float32; without either, bfloat16 is emulated, and matrix products are fifty times slower (docs/log.md). The processor is
    asked, not timed, so that a run goes on as it began.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    fields = {name.strip(): value.split() for name, _, value in (line.partition(":") for line in lines)}
    flags = set(fields.get("flags", []))
    return "amx_bf16" in flags or (fields.get("vendor_id") == ["AuthenticAMD"] and "avx512_bf16" in flags)
