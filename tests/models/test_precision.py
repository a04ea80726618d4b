"""models/precision.py: the number format of the backbone."""

import pytest
import torch

from metatoolagent import params
from metatoolagent.models import precision

AMD = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2 avx512f {more}\n"
INTEL = "vendor_id\t: GenuineIntel\nflags\t\t: fpu avx2 avx512f {more}\n"


@pytest.mark.parametrize(
    ("processor", "more", "faster"),
    [
        (AMD, "", False),
        (AMD, "avx512_bf16", True),
        (INTEL, "avx512_bf16", False),
        (INTEL, "avx512_bf16 amx_bf16 amx_tile", True),
        ("model name: another, which says nothing\n", "", False),
    ],
)
def test_bfloat16_is_taken_where_the_processor_is_faster_in_it(tmp_path, processor, more, faster):
    (tmp_path / "cpuinfo").write_text(2 * processor.format(more=more))
    assert precision.processor_multiplies_bfloat16(tmp_path / "cpuinfo") is faster


def test_a_system_that_does_not_say_computes_in_float32(tmp_path):
    assert not precision.processor_multiplies_bfloat16(tmp_path / "absent")


@pytest.mark.parametrize(("faster", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_what_is_faster_here(monkeypatch, faster, expected):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: faster)
    assert precision.dtype_of(chosen("auto")) == expected
    assert precision.dtype_of(chosen("float32")) == torch.float32
    assert precision.dtype_of(chosen("bfloat16")) == torch.bfloat16


def chosen(dtype):
    return params.Backbone(source="tiny", dtype=dtype, layers=0)
