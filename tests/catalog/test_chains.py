import csv
import shutil
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from metatoolagent import params
from metatoolagent.catalog.chain_stage import ingest
from metatoolagent.catalog.check import add_chains, check
from metatoolagent.catalog.ingest import read_sources
from metatoolagent.catalog.limits import Limits
from metatoolagent.errors import UserError
from metatoolagent.strict_yaml import load

DATA = Path(__file__).parents[2] / "data"
ASK = "Mend the thing, and then paint it."
GOOD = f'{{tools: [oven_preheat, timer_begin], kind: direct, ask: "{ASK}"'


@pytest.fixture
def folder(tmp_path, fixture_catalog):
    shutil.copytree(fixture_catalog, tmp_path / "catalog")
    return tmp_path / "catalog"


def ingested(folder, catalog, out, *, allow_rejected=False):
    ingest(params.Chains(folder=str(folder), benchmarks=[]), catalog, allow_rejected=allow_rejected, out=out)
    return pl.read_parquet(out / "chains.parquet"), pl.read_parquet(out / "rejected.parquet")


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("{tools: [oven_preheat], kind: direct, ask: a}", "E-CHAIN-LENGTH"),
        ("{tools: [oven_preheat, timer_begin, pantry_count, atlas], kind: direct, ask: a}", "E-CHAIN-LENGTH"),
        ("{tools: [oven_preheat, oven_preheat], kind: direct, ask: a}", "E-QA-ANSWER-TWICE"),
        ("{tools: [oven_preheat, timer_began], kind: direct, ask: a}", "E-QA-ANSWER-UNKNOWN"),
        ("{tools: [oven_preheat, [a]], kind: direct, ask: a}", "E-QA-ANSWER-UNKNOWN"),
        ("{tools: [oven_preheat, pulse], kind: direct, ask: a}", "E-CHAIN-FILE"),
        ("{tools: [oven_preheat, timer_begin], kind: drect, ask: a}", "E-QA-KIND"),
        ("{tools: [oven_preheat, timer_begin], ask: a}", "E-FIELD"),
        ("{tools: oven_preheat, kind: direct, ask: a}", "E-FIELD"),
        ('{tools: [oven_preheat, timer_begin], kind: direct, ask: " "}', "E-QA-EMPTY"),
        (f"{GOOD}, also: [timer_begin]}}", "E-QA-ANSWER-TWICE"),
        (f"{GOOD}, also: [nothing]}}", "E-QA-ANSWER-UNKNOWN"),
        ('{tools: [pantry_count, timer_begin], kind: direct, ask: "200 C then SHOUT after 35"}', "E-QA-DUP"),
    ],
)
def test_a_wrong_chain_is_refused_with_its_line(folder, catalog, tmp_path, entry, code):
    path = folder / "chains/kitchen.yaml"
    path.write_text(path.read_text() + f"- {entry}\n")
    with pytest.raises(UserError, match=code) as error:
        ingested(folder / "chains", catalog, tmp_path / "out")
    assert f"{path}:7" in error.value.where
    assert not (tmp_path / "out/chains.parquet").exists()

    kept, rejected = ingested(folder / "chains", catalog, tmp_path / "out", allow_rejected=True)
    assert (len(kept), rejected["code"].to_list()) == (11, [code])


def test_a_chain_that_a_question_of_one_tool_asks_is_refused(folder, catalog, tmp_path):
    path = folder / "chains/kitchen.yaml"
    path.write_text('- {tools: [oven_preheat, timer_begin], kind: direct, ask: "BUY paper towels!"}\n')
    with pytest.raises(UserError, match="E-QA-DUP"):
        ingested(folder / "chains", catalog, tmp_path / "out")


@pytest.mark.parametrize("change", [lambda folder: shutil.rmtree(folder / "chains"), lambda folder: _empty(folder / "chains")])
def test_no_chains_are_an_error(folder, catalog, tmp_path, change):
    change(folder)
    with pytest.raises(UserError, match=r"E-MISSING|E-EMPTY"):
        ingested(folder / "chains", catalog, tmp_path / "out")


def _empty(folder):
    for path in folder.iterdir():
        path.unlink()


def test_a_chain_becomes_a_row(folder, catalog, tmp_path):
    kept, _ = ingested(folder / "chains", catalog, tmp_path / "out")
    row = kept.filter(pl.col("question").str.starts_with("200 C")).row(0, named=True)
    assert row == {
        "chain_id": "chain-d2c26a60",
        "tools": ["oven_preheat", "timer_begin"],
        "also": ["fridge_watch"],
        "domain": "kitchen",
        "kind": "terse",
        "question": "200 C, then shout after 35",
    }
    assert Counter(kept["domain"]) == {"kitchen": 6, "travel": 3, "mixed": 2}


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        ("First the timer begin, then warm the stove for me.", "D-NAMED"),
        ("See whether any rice is there still, and if there is none it ought to come home with my next load.", "D-NEAR"),
        ("Bring the oven to a temperature, count down minutes, ring.", "W-OVERLAP"),
    ],
)
def test_the_check_finds_what_is_worded_badly(folder, ask, code):
    path = folder / "chains/kitchen.yaml"
    path.write_text(path.read_text() + f'- {{tools: [oven_preheat, timer_begin], kind: direct, ask: "{ask}"}}\n')
    sources = read_sources(folder / "tools", folder / "questions")
    add_chains(sources, folder / "chains")
    found = check(sources, Limits(frames=4, rows=(3, 60), description=(3, 55), chances={}))
    assert [item.line for item in found if item.file == str(path) and item.code == code] == [7]


def test_our_own_chains_are_many_varied_and_mostly_over_test_tools():
    parts = dict(csv.reader((DATA / "split.csv").read_text(encoding="utf-8").splitlines()))
    chains = [chain for path in sorted((DATA / "chains").glob("*.yaml")) for chain in load(path).content]
    assert len(chains) == len({chain["ask"] for chain in chains}) == 257
    unseen = [{parts[tool] for tool in chain["tools"]} for chain in chains]
    assert sum(found == {"test"} for found in unseen) == 166
    assert sum("train" not in found for found in unseen) == 217
    used = {tool for chain in chains for tool in chain["tools"]}
    assert {tool for tool, part in parts.items() if part in {"test", "validation"}} <= used
    assert min(Counter(chain["kind"] for chain in chains).values()) >= 20
    assert sum(len(chain["tools"]) == 3 for chain in chains) == 35
