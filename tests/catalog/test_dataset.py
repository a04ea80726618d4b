"""The project's own dataset: its size, its limits, and that all that is derived from it is up to date."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from metatoolagent import params, strict_yaml
from metatoolagent.catalog import croissant, measures
from metatoolagent.catalog.check import check, kept
from metatoolagent.catalog.ingest import read_sources
from metatoolagent.catalog.json_schema import argument_faults, validator
from metatoolagent.catalog.limits import Limits
from metatoolagent.catalog.schemas import KINDS
from metatoolagent.tasks.splits import draw_parts, read_list

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data"
DOMAINS = ["app", "daily_life", "education", "iot", "office", "os", "software_development"]
PERSONAL = {
    "an e-mail address": r"[\w.+-]+@[\w-]+\.\w+",
    "a link": r"https?://|www\.|\b[\w-]+\.(com|org|net|io|eu|co\.uk)\b",
    "a phone number": r"(?<![\w.])(\+\d|0\d|\d{3})[\d ()/-]{5,}\d(?![\w.])",
    "an account number": r"\b[A-Z]{2}\d{2} ?([A-Z0-9]{4} ?){3,}",
    "an address of a real network": r"\b(?!(192\.0\.2|198\.51\.100|203\.0\.113)\.)\d+(\.\d+){3}\b",
}


@pytest.fixture(scope="module")
def sources():
    return read_sources(DATA / "tools", DATA / "questions")


@pytest.fixture(scope="module")
def dataset(sources):
    return kept(sources)


@pytest.fixture(scope="module")
def measured(dataset):
    return measures.measure(dataset, Limits())


@pytest.fixture(scope="module")
def committed_measures():
    return json.loads((DATA / "measures.json").read_text(encoding="utf-8"))


def test_there_are_155_tools_of_7_domains_and_9377_questions(sources, dataset):
    assert not sources.failed
    assert (len(sources.tools), len(sources.questions)) == (len(dataset.tools), len(dataset.questions)) == (155, 9377)
    assert sorted({row.record["domain"] for row in dataset.tools}) == DOMAINS
    assert len(dataset.frames) == 3100


def test_all_arguments_are_valid(dataset):
    checkers = {row.record["name"]: validator(row.content["parameters"]) for row in dataset.tools}
    for row in dataset.questions:
        assert not argument_faults(checkers[row.record["tool"]], json.loads(row.record["arguments"])), row.where


def test_every_tool_has_20_frames_of_balanced_kinds_and_45_to_75_questions(dataset):
    rows = Counter(row.record["tool"] for row in dataset.questions)
    kinds = {(row.record["tool"], row.record["frame_id"], row.record["kind"]) for row in dataset.questions}
    balance = Counter((tool, kind) for tool, _, kind in kinds)
    for tool in (row.record["name"] for row in dataset.tools):
        assert 45 <= rows[tool] <= 75
        assert sum(balance[tool, kind] for kind in KINDS) == 20
        assert {balance[tool, kind] for kind in KINDS} <= {2, 3}
    assert {len(rows) for rows in dataset.frames.values()} == {3, 4}


def test_the_authoring_check_finds_nothing():
    # It notes what it finds on the rows, so it reads its own.
    assert not check(read_sources(DATA / "tools", DATA / "questions"), Limits())


def test_word_matching_finds_few_tools(measured):
    difficulty = measured["difficulty"]
    limits = {"bm25_cd": 0.75, "bm25_sd": 0.55, "names_cd": 0.45, "names_sd": 0.3}
    assert {name: difficulty[name]["easiest_tool"] <= most for name, most in limits.items()} == dict.fromkeys(limits, True)
    assert difficulty["distractors"] == 5


def test_questions_are_unique_and_frames_unlike(measured):
    assert measured["unique_questions"] == 1
    assert measured["near_duplicates"]["share"] < 0.01


def test_the_committed_measures_are_those_of_the_data(measured, committed_measures):
    committed_measures = dict(committed_measures)
    assert committed_measures.pop("review") == measures.review(DATA / "review.csv")
    assert committed_measures == measured


def test_the_blind_review_agreed_and_marks_what_was_rewritten(dataset, committed_measures):
    review = committed_measures["review"]
    assert review["read"] == 3100
    assert review["agreement"] >= 0.97
    rows = [line.split(",") for line in (DATA / "review.csv").read_text(encoding="utf-8").splitlines()[1:]]
    assert {row[2] for row in rows} == {tool.record["name"] for tool in dataset.tools}
    frames = dataset.frames
    for _, frame, gold, _, _, rewritten in rows:
        assert (rewritten == "yes") is (frame not in frames), frame
        assert frame.startswith(f"{gold}-")


def test_the_card_has_the_measured_figures(committed_measures):
    card = (DATA / "README.md").read_text(encoding="utf-8")
    difficulty, review = committed_measures["difficulty"], committed_measures["review"]
    figures = [f"{value:,}" for value in committed_measures["counts"].values()]
    figures += [f"{kind} {value:,}" for kind, value in committed_measures["by_kind"].items()]
    figures += [
        f"{difficulty[name]['mean']:.1%} (easiest tool {difficulty[name]['easiest_tool']:.1%})" for name in Limits().chances
    ]
    figures += [f"{committed_measures[name]:.2%}" for name in ("unique_questions", "distinct_3")]
    figures += [f"{review['agreed']:,} of {review['read']:,} ({review['agreement']:.2%})"]
    figures += [f"acceptable tool in {review['second_answer']}", f"{review['rewritten_since']} frames were rewritten"]
    figures += [f"Version {croissant.VERSION}", f"**{croissant.VERSION}**"]
    assert not [figure for figure in figures if figure not in " ".join(card.split())]


def test_the_card_begins_with_the_fields_that_hubs_read():
    _, front, _ = (DATA / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["license"] == "cc-by-4.0"
    assert {"language", "pretty_name", "task_categories", "size_categories", "tags", "configs"} <= fields.keys()
    assert [config["config_name"] for config in fields["configs"]] == ["questions", "tools"]


@pytest.mark.parametrize("what", PERSONAL)
def test_no_personal_data(sources, what):
    pattern = re.compile(PERSONAL[what])
    texts = [(row.where, text) for row in sources.questions for text in (row.record["question"], row.record["arguments"])]
    texts += [(row.where, row.record["description"]) for row in sources.tools]
    assert not [(where, found[0]) for where, text in texts if (found := pattern.search(text))]


def test_every_tool_has_a_part_drawn_from_the_committed_seed(dataset):
    tools, _ = dataset.tables()
    names = tools.sort("domain", "name")["name"].to_list()
    parts = read_list(DATA / "split.csv", names)
    committed = params.load(ROOT / "params.yaml")
    assert committed.split.tools_list == "data/split.csv"
    assert list(parts) == names
    assert parts == draw_parts(tools.sort("domain", "name"), committed.split, 0)
    assert Counter(parts.values()) == {"train": 92, "validation": 21, "test": 42}


@pytest.mark.parametrize("path", sorted(DATA.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_reader_of_yaml_reads_the_same(path):
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    # As JSON, true is not 1 and a date is no text.
    assert json.dumps(yaml.load(path.read_text(encoding="utf-8"), Loader=loader)) == json.dumps(strict_yaml.load(path).content)
