"""The profiles for clusters say what the installed plugins understand; no cluster is needed to parse them."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from snakemake.cli import parse_args
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

ROOT = Path(__file__).parents[2]


def parsed(name: str):
    """Return the options of a profile, and its executor's settings."""
    if not find_spec(f"snakemake_executor_plugin_{name}"):
        pytest.skip(f"the extra `{name}` is not installed")
    _, options = parse_args(["--workflow-profile", str(ROOT / "profiles" / name), "-n", "eval_cd"])
    return options, ExecutorPluginRegistry().get_plugin(name).get_settings(options)


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_profile_names_its_executor_retries_and_grows_memory(name):
    options, _ = parsed(name)
    assert options.executor == name and options.retries == 2
    memory = options.default_resources["mem_mb"]
    tries = [memory.evaluate(None, attempt=attempt, input=None, threads=1, rulename="x", async_run=None) for attempt in (1, 2)]
    assert [found.value for found in tries] == [2000, 4000]


def test_slurm_asks_squeue_and_requeues():
    options, settings = parsed("slurm")
    assert settings.status_command == "squeue" and settings.requeue
    assert "train" in options.set_resources


def test_kubernetes_limits_what_it_requests_and_keeps_checkpoints():
    options, settings = parsed("kubernetes")
    assert options.default_resources["scale"].value == 0
    assert [(volume.name, str(volume.path)) for volume in settings.persistent_volumes] == [
        ("metatoolagent-work", "/workdir/work")
    ]
