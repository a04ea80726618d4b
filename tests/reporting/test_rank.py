from dataclasses import replace
from math import exp
from pathlib import Path

import polars as pl
import pytest

from metatoolagent import cli, params
from metatoolagent.errors import UserError
from metatoolagent.evaluation.job import Job
from metatoolagent.evaluation.language import load
from metatoolagent.evaluation.methods.likelihood import likelihoods
from metatoolagent.reporting.rank import rank, show
from model_fixtures import BACKBONE, tiny  # noqa: F401

QUESTION = "Warm the oven to 200 degrees."
TOOLS = ["pulse", "oven_preheat", "atlas"]


@pytest.fixture
def job(tiny, catalog, tmp_path):  # noqa: F811
    """The backbone alone over the small catalog."""
    return Job("likelihood", BACKBONE, None, None, Path(), catalog, tiny, None, Path())


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
    monkeypatch.setattr("metatoolagent.reporting.rank.rank", lambda question, job, tools, domain: seen.append(job) or [])
    given = params.load(Path(__file__).parents[2] / "params.yaml").model_dump_json()
    arguments = ["mta", "rank", QUESTION, "--catalog", str(job.catalog), "--backbone", str(job.model), "--params", given]
    monkeypatch.setattr("sys.argv", arguments)
    for expected in ("likelihood", "channel"):
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        assert seen[-1].method == expected
        assert ("ranks untrained" in capsys.readouterr().err) == (expected == "likelihood")
        (tmp_path / "results/main/channel/adapter").mkdir(parents=True, exist_ok=True)
    assert seen[-1].weights == Path("results/main/channel/adapter")
    assert replace(seen[-1], weights=None, method="likelihood", adapter=None) == seen[0]
