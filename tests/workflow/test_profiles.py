"""The profiles for clusters say what the installed plugins understand; no cluster is needed to parse them."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from snakemake.cli import parse_args
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

ROOT = Path(__file__).parents[2]


EXECUTORS = {"slurm": "slurm", "kubernetes": "cluster-generic"}


def parsed(name: str):
    """Return the options of a profile, and its executor's settings."""
    if not find_spec(f"snakemake_executor_plugin_{EXECUTORS[name].replace('-', '_')}"):
        pytest.skip(f"the extra `{name}` is not installed")
    _, options = parse_args(["--workflow-profile", str(ROOT / "profiles" / name), "-n", "eval_cd"])
    return options, ExecutorPluginRegistry().get_plugin(EXECUTORS[name]).get_settings(options)


@pytest.mark.parametrize("name", EXECUTORS)
def test_a_profile_names_its_executor_retries_and_grows_memory(name):
    options, _ = parsed(name)
    assert options.executor == EXECUTORS[name] and options.retries == 2
    memory = options.default_resources["mem_mb"]
    tries = [memory.evaluate(None, attempt=attempt, input=None, threads=1, rulename="x", async_run=None) for attempt in (1, 2)]
    assert [found.value for found in tries] == [2000, 4000]


def test_slurm_asks_squeue_and_requeues():
    options, settings = parsed("slurm")
    assert settings.status_command == "squeue" and settings.requeue
    assert "train" in options.set_resources


def test_kubernetes_submits_what_a_rule_asks_for():
    options, settings = parsed("kubernetes")
    assert options.default_resources["gpu"].value == 0
    for asked in ("{rule}", "{threads}", "{resources.mem_mb}", "{resources.runtime}", "{resources.gpu}"):
        assert asked in settings.submit_cmd
    assert (ROOT / settings.cancel_cmd).stat().st_mode & 0o111  # snakemake runs it as a program
