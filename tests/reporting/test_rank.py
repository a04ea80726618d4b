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
from metatoolagent.catalog.ingest import ingest_tools
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
    (found,) = room.rank([question], job, room.check([question], job, tools, domain))
    return found


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
    show([QUESTION], [rank(QUESTION, job, TOOLS, None)], 2)
    printed = capsys.readouterr().out
    assert sum(name in printed for name in TOOLS) == 2
    assert "3 tools ranked" in printed


def test_many_questions_are_ranked_as_each_alone_and_told_apart(job, capsys):
    questions = [f"{QUESTION} And again, {number}." for number in range(room.TOGETHER + 1)]
    found = room.rank(questions, job, TOOLS)
    for question, ranked in zip(questions, found, strict=True):
        alone = rank(question, job, TOOLS, None)
        assert [one.name for one in ranked] == [one.name for one in alone]
        assert [one.log_probability for one in ranked] == pytest.approx([one.log_probability for one in alone], abs=1e-3)
    show(questions, found, 1)
    printed = capsys.readouterr().out
    assert all(question in printed for question in questions)


def test_a_question_is_one_line_of_json(job):
    ranked = rank(QUESTION, job, TOOLS, None)
    line = room.as_json(QUESTION + " \u2028é", ranked, 2)
    assert line.splitlines() == [line]
    read = json.loads(line)
    assert (read["question"], read["ranked"]) == (QUESTION + " \u2028é", 3)
    assert read["tools"] == [
        {"name": one.name, "probability": one.probability, "log_probability": one.log_probability} for one in ranked[:2]
    ]


@pytest.mark.parametrize(("given", "told"), [([], "there is no question"), ([QUESTION, " "], "the question is blank")])
def test_no_question_and_a_blank_one_among_many_are_errors(given, told, job):
    with pytest.raises(UserError, match="E-QUESTION") as raised:
        room.check(given, job, TOOLS, None)
    assert told in raised.value.what and raised.value.exit_code == 64
    assert not given or raised.value.where == "question 2 of 2"


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
    monkeypatch.setattr("metatoolagent.reporting.rank.rank", lambda questions, job, names: seen.append(job) or [[]])
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
        ({"--only": "oven_prehaet"}, "E-TOOL", 64, "oven_preheat"),
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


def run(arguments, job, cwd, **more):
    """Run the command on the tiny backbone, untrained."""
    given = json.dumps({"seed": 0, "backbone": BACKBONE.model_dump(), "adapter": ADAPTER.model_dump()})
    command = [sys.executable, "-m", "metatoolagent", "rank", *arguments, "--backbone", str(job.model), "--params", given]
    return subprocess.run(command, cwd=cwd, capture_output=True, check=False, **more)


def test_tools_that_nobody_has_asked_for_are_ranked_from_their_files(job, tmp_path):
    folder = tmp_path / "tools"
    folder.mkdir()
    entry = "- {{name: {}, description: {}, parameters: {{type: object}}}}\n"
    (folder / "home.yaml").write_text(entry.format("setHeating", "Sets a temperature."), encoding="utf-8")
    (folder / "desk.yaml").write_text(entry.format("a.b-c", "Lists files."), encoding="utf-8")
    ended = run(["-", "--tools", str(folder), "--json"], job, tmp_path, input=b"Warm it\x0c\xc2\x85up.\r\nWhich files?\n")
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["question"] for line in lines] == ["Warm it\x0c\x85up.", "Which files?"]  # one answer for each line
    assert all({tool["name"] for tool in line["tools"]} == {"setHeating", "a.b-c"} for line in lines)
    (folder / "desk.yaml").write_text(entry.format("a b", "Lists files."), encoding="utf-8")
    refused = run(["Which files?", "--tools", str(folder)], job, tmp_path)
    assert refused.returncode == 65 and b"error[E-NAME]" in refused.stderr and b"desk.yaml:1" in refused.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"tools"}


@pytest.mark.parametrize(
    ("arguments", "given", "code", "exit_code", "told"),
    [
        (["-", "--tools", "tools"], b"caf\xe9\n", "E-ENCODING", 65, "standard input:1"),
        (["-", "another"], b"one\n", "E-QUESTION", 64, "beside it"),
        ([b"caf\xe9"], b"", "E-QUESTION", 64, "no UTF-8"),
        (["-"], b"", "E-QUESTION", 64, "there is no question"),
        (["-"], b"one\n\ntwo\n", "E-QUESTION", 64, "question 2 of 3"),
        (["one", "--tools", "tools", "--catalog", "catalog"], b"", "E-OPTION", 64, "--catalog"),
        (["one", "--tools", "nosuch"], b"", "E-MISSING", 65, "nosuch"),
        (["one", "--tools", "file"], b"", "E-NOT-A-FOLDER", 65, "file"),
        (["one", "--tools", "tools"], b"", "E-EMPTY", 65, "tools"),
    ],
)
def test_what_cannot_be_asked_is_one_error(arguments, given, code, exit_code, told, job, tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "file").touch()
    where = [] if {"--tools", "--catalog"} & set(arguments) else ["--catalog", str(job.catalog)]
    ended = run([*arguments, *where], job, tmp_path, input=given)
    assert ended.returncode == exit_code, ended.stderr
    assert f"error[{code}]" in ended.stderr.decode() and told in ended.stderr.decode()


def test_a_tool_that_is_too_long_is_named(job, tmp_path, monkeypatch):
    long = " ".join(["word"] * 3000)
    folder = tmp_path / "tools"
    folder.mkdir()
    entry = "- {{name: {}, description: {}, parameters: {{type: object}}}}\n"
    (folder / "home.yaml").write_text(entry.format("short", "Sets.") + entry.format("endless", long), encoding="utf-8")
    ingest_tools(folder, tmp_path / "catalog")
    with pytest.raises(UserError, match="E-CTX") as raised:
        rank(QUESTION, replace(job, catalog=tmp_path / "catalog"), [], None)
    assert raised.value.where == "tool endless"


WITHOUT_TORCH = """
import atexit, sys
from metatoolagent import cli
atexit.register(lambda: "torch" in sys.modules and print("torch was loaded", file=sys.stderr))
cli.main()
"""
