"""What a manifest says of the machine and the packages."""

import json
import os
import platform
from importlib.metadata import version

from metatoolagent import environment
from metatoolagent.artifacts import publishing, read_manifest


def test_a_manifest_says_what_its_stage_ran_on_in_the_same_bytes_each_time(tmp_path):
    for name in ("first", "second"):
        with publishing(tmp_path / name, ["a"], producer="test") as paths:
            paths["a"].write_text("a", encoding="utf-8")
        environment.environment.cache_clear()
    first, second = ((tmp_path / name / "manifest.json").read_bytes() for name in ("first", "second"))
    assert first == second
    found = read_manifest(tmp_path / "first")["environment"]
    assert found["cores"] == os.cpu_count() and found["processor"]
    assert found["versions"] == {"python": platform.python_version()} | {
        name: version(name) for name in ("torch", "transformers", "peft")
    }
    assert json.loads(first)["environment"] == found


def test_processor_and_gpus_as_linux_has_them(tmp_path):
    cpus = tmp_path / "cpuinfo"
    cpus.write_text("processor\t: 0\nmodel name\t: Fast CPU @ 2 GHz\nmodel name\t: Fast CPU @ 2 GHz\n", encoding="utf-8")
    assert environment.processor(cpus) == "Fast CPU @ 2 GHz"
    for number, model in enumerate(("NVIDIA A", "NVIDIA B")):
        (tmp_path / f"gpus/000{number}").mkdir(parents=True)
        text = f"Model: \t\t {model}\nIRQ: 5\nGPU UUID: GPU-1\n"
        (tmp_path / f"gpus/000{number}/information").write_text(text, encoding="utf-8")
    assert environment.gpus(tmp_path / "gpus") == ["NVIDIA A", "NVIDIA B"]
    assert environment.gpus(tmp_path / "none") == []
    assert environment.processor(tmp_path / "none")
