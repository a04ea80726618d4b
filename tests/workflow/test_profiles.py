"""The profiles for clusters say what the installed plugins understand; no cluster is needed to parse them."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from snakemake.cli import parse_args
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/cluster.md"


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


def test_the_commands_for_clusters_name_their_targets():
    """`--resources` and `--configfile` take every word up to the next option, a target too."""
    for name in EXECUTORS:
        parsed(name)
    commands = re.findall(r"^snakemake (.*?)(?: +#.*)?$", PAGE.read_text(), re.M)
    named = [(options.targets, options.resources) for _, options in map(parse_args, map(str.split, commands))]
    expected = ["eval_methods", "eval_cd", "sweep_distractors", "eval_cd", "table2", "eval_cd"]
    assert [targets for targets, _ in named] == [[target] for target in expected]
    # Of one machine there is a number of GPUs to say; a cluster knows its own.
    assert ["gpu" in resources for _, resources in named] == [True, True, True, False, False, False]


def test_a_training_that_is_given_two_gpus_has_two_processes(fresh, shell):
    folder, asked = fresh("several"), "--set-resources train:gpu=2 -- results/main/ft/predictions.parquet"
    assert " --processes 2 " in shell(f"snakemake -n -p --resources gpu=2 {asked}", folder).stdout
    assert " --processes 1 " in shell(f"snakemake -n -p {asked.split(' -- ')[1]}", folder).stdout


def test_the_full_form_of_a_sweep_is_one_command_on_a_cluster(fresh, shell):
    """That of docs/cluster.md lists the jobs that profiles/full does."""
    parsed("slurm")
    words = re.search(r"^snakemake (table2 .*profiles/slurm.*?) +#", PAGE.read_text(), re.M)[1]
    assert parse_args(words.split())[1].executor == "slurm"
    folder = fresh("full")
    commands = (words, "table2 --workflow-profile profiles/full")
    on_cluster, here = (shell(f"snakemake -n {command}", folder).stdout for command in commands)
    stats = re.compile(r"^Job stats:\n.*?^total .*?$", re.M | re.S)
    assert stats.search(on_cluster)[0] == stats.search(here)[0] and "variant=sweep/table2/seed=4" in on_cluster
