import json
import subprocess
import sys
from dataclasses import replace
from math import exp
from pathlib import Path

import polars as pl
import pytest

from metatoolagent import cli, params
from metatoolagent.artifacts import publishing
from metatoolagent.errors import UserError
from metatoolagent.evaluation.job import Job
from metatoolagent.evaluation.language import load
from metatoolagent.evaluation.methods.likelihood import likelihoods
from metatoolagent.reporting import rank as room
from metatoolagent.reporting.rank import show
from model_fixtures import ADAPTER, BACKBONE, SPOILT, spoilt, tiny  # noqa: F401

QUESTION = "Warm the oven to 200 degrees."
TOOLS = ["pulse", "oven_preheat", "atlas"]


@pytest.fixture
def job(tiny, catalog, tmp_path):  # noqa: F811
    """The backbone alone over the small catalog."""
    return Job("likelihood", BACKBONE, None, None, Path(), catalog, tiny, None, Path())


def rank(question, job, tools, domain):
    """Check and rank, as the command does."""
    return room.rank(question, job, room.check(question, job, tools, domain))


def test_tools_are_ranked_by_the_likelihood_that_the_methods_select_by(job):
    found = rank(QUESTION, job, TOOLS, None)
    row = {"question_id": "asked", "question": QUESTION, "candidates": TOOLS, "position": 0}
    expected = dict(zip(TOOLS, likelihoods(load(job), [row])[0].tolist(), strict=True))
    assert [one.name for one in found] == sorted(TOOLS, key=lambda name: -expected[name])
    assert [one.log_probability for one in found] == pytest.approx([expected[one.name] for one in found], abs=1e-3)
    total = sum(exp(value) for value in expected.values())
    assert [one.probability for one in found] == pytest.approx([exp(expected[one.name]) / total for one in found], rel=1e-2)


def test_without_names_all_tools_of_the_domain_or_the_catalog_are_ranked(job):
    everything = rank(QUESTION, job, [], None)
    tools = load(job).renderer.tools
    assert {one.name for one in everything} == {name for name in tools if name != "none of these"}
    kitchen = rank(QUESTION, job, [], "kitchen")
    assert {one.name for one in kitchen} == {name for name, tool in tools.items() if tool.get("domain") == "kitchen"}
    assert sum(one.probability for one in kitchen) == pytest.approx(1)


@pytest.mark.parametrize(
    ("question", "tools", "domain", "code", "told"),
    [
        (" \n", [], None, "E-QUESTION", "what a user would ask"),
        (QUESTION, ["oven_prehaet"], None, "E-TOOL", "oven_preheat"),
        (QUESTION, [], "kitchn", "E-DOMAIN", "kitchen"),
    ],
)
def test_what_cannot_be_ranked_is_one_error(question, tools, domain, code, told, job):
    with pytest.raises(UserError, match=code) as raised:
        rank(question, job, tools, domain)
    assert raised.value.exit_code == 64 and told in raised.value.fix


def test_the_best_are_printed(job, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    show(rank(QUESTION, job, TOOLS, None), 2)
    printed = capsys.readouterr().out
    assert sum(name in printed for name in TOOLS) == 2
    assert "3 tools ranked" in printed


def test_a_tool_named_twice_is_ranked_once(job):
    assert [one.name for one in rank(QUESTION, job, [TOOLS[0], TOOLS[0]], None)] == [TOOLS[0]]


def test_tools_of_another_domain_than_asked_for_are_refused(job):
    catalogued = pl.read_parquet(job.catalog / "tools.parquet")
    other = catalogued.filter(pl.col("domain") != catalogued.filter(name=TOOLS[0])["domain"].item())["domain"][0]
    with pytest.raises(UserError, match="E-TOOL") as raised:
        rank(QUESTION, job, [TOOLS[0]], other)
    assert raised.value.exit_code == 64


def test_the_command_takes_the_trained_adapter_where_there_is_one_and_says_where_not(job, capsys, monkeypatch, tmp_path):
    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("metatoolagent.reporting.rank.rank", lambda question, job, names: seen.append(job) or [])
    given = params.load(Path(__file__).parents[2] / "params.yaml").model_dump_json()
    arguments = ["mta", "rank", QUESTION, "--catalog", str(job.catalog), "--backbone", str(job.model), "--params", given]
    monkeypatch.setattr("sys.argv", arguments)
    for expected in ("likelihood", "channel"):
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        assert seen[-1].method == expected
        assert ("ranks untrained" in capsys.readouterr().err) == (expected == "likelihood")
        with publishing(tmp_path / "results/main/channel/adapter", ["adapter_model.safetensors"], producer="train") as paths:
            paths["adapter_model.safetensors"].touch()
    assert seen[-1].weights == Path("results/main/channel/adapter")
    assert replace(seen[-1], weights=None, method="likelihood", adapter=None) == seen[0]


def test_a_backbone_with_nan_is_refused(job, tmp_path):
    with pytest.raises(UserError, match="E-NONFINITE-WEIGHT") as raised:
        rank(QUESTION, replace(job, model=spoilt(job.model, tmp_path / "nan")), TOOLS, None)
    assert SPOILT in raised.value.got


@pytest.mark.parametrize(
    ("changes", "code", "exit_code", "told"),
    [
        ({"question": " "}, "E-QUESTION", 64, "blank"),
        ({"--tool": "oven_prehaet"}, "E-TOOL", 64, "oven_preheat"),
        ({"--domain": "kitchn"}, "E-DOMAIN", 64, "kitchen"),
        ({"--catalog": "nosuch"}, "E-MISSING", 66, "nosuch/tools.parquet"),
        ({"--backbone": "nosuch"}, "E-MISSING", 66, "nosuch/config.json"),
        ({"--adapter": "nosuch"}, "E-MISSING", 66, "nosuch/adapter_model.safetensors"),
        ({"--params": '{"backbone": {"source": "tiny"}, "seed": 0}'}, "E-PARAMS", 64, "backbone.dtype"),
        ({"--params": "{"}, "E-PARAMS", 64, "not JSON"),
    ],
)
def test_what_can_be_known_without_the_model_is_told_before_torch_is_loaded(changes, code, exit_code, told, job, tmp_path):
    given = json.dumps({"seed": 0, "backbone": BACKBONE.model_dump(), "adapter": ADAPTER.model_dump()})
    options = {"--catalog": str(job.catalog), "--backbone": str(job.model), "--params": given, **changes}
    arguments = ["rank", options.pop("question", QUESTION), *(text for option in options.items() for text in option)]
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == exit_code, ended.stderr
    assert f"error[{code}]" in ended.stderr and told in ended.stderr
    assert "torch was loaded" not in ended.stderr


WITHOUT_TORCH = """
import atexit, sys
from metatoolagent import cli
atexit.register(lambda: "torch" in sys.modules and print("torch was loaded", file=sys.stderr))
cli.main()
"""
