"""API-Bench's files as published: what is kept, what is left out, and which calls count as one answer."""

import json
from collections import Counter

import polars as pl
import pytest

from metatoolagent.catalog.external import apibench, stage
from metatoolagent.catalog.external.apibench import arguments_schema, normalised, tasks_of_domains, wished_name
from metatoolagent.catalog.external.records import NAME
from metatoolagent.catalog.questions import frame_id

HUGGING_FACE, TENSORFLOW, TORCH = (dict(zip(("api", "eval"), files, strict=True)) for files in apibench.HUBS.values())


@pytest.fixture(scope="module")
def benchmark(published):
    return apibench.read({name: published[name] for name in apibench.FILES})


def test_every_row_is_kept_or_excluded_with_its_reason(benchmark):
    assert benchmark.read == {"tool": 936 + 696 + 94, "question": 911 + 688 + 186}
    assert Counter((row["file"], row["code"]) for row in benchmark.excluded) == {
        (HUGGING_FACE["api"], "E-CALL-REPEATED"): 41,
        (TENSORFLOW["api"], "E-CALL-REPEATED"): 696 - 80,
        (HUGGING_FACE["eval"], "E-ANSWER-UNKNOWN"): 77,
        (HUGGING_FACE["eval"], "E-QA-EMPTY"): 4,
        (TENSORFLOW["eval"], "E-QA-EMPTY"): 1,
    }
    assert Counter(row["domain"] for row in benchmark.tools) == {"hugging_face": 895, "tensorflow_hub": 80, "torch_hub": 94}
    assert Counter(row["domain"] for row in benchmark.questions) == {"hugging_face": 830, "tensorflow_hub": 687, "torch_hub": 186}


def test_names_are_valid_unique_and_lead_back_to_the_call(benchmark, published):
    names = [row["name"] for row in benchmark.tools]
    assert len(set(names)) == len(names)
    assert all(NAME.fullmatch(name) for name in names)
    lines = published[TORCH["api"]].read_text(encoding="utf-8").splitlines()
    for row in benchmark.published:
        if row["file"] == TORCH["api"]:
            assert json.loads(lines[int(row["row"]) - 1])["api_call"].split() == row["published"].split()


def test_no_question_carries_its_answer(benchmark):
    assert not any("Output:" in row["question"] or "<<<" in row["question"] for row in benchmark.questions)


def test_marks_of_the_format_are_no_part_of_a_question_and_what_they_mark_is(benchmark):
    assert benchmark.unmarked == 95
    texts = [row["question"] for row in benchmark.questions]
    assert not any("##" in text or "Input:" in text or "<noinput>" in text for text in texts)
    assert "Create a poem about nature for a school assignment. Once upon a time, in a land of greenery and beauty," in texts
    assert any(text.endswith("Can you generate the code for us?") for text in texts)
    assert any(text.endswith("perform a hop using Decision Transformers.") for text in texts)


def test_how_many_questions_lost_marks_is_said(published, tmp_path, capsys):
    stage.ingest("apibench", tmp_path)
    assert capsys.readouterr().err == "95 questions of apibench are kept without the marks of their format\n"
    assert len(pl.read_parquet(tmp_path / "questions.parquet")) == 830 + 687 + 186


def test_the_id_of_a_question_is_that_of_its_published_text(benchmark):
    row = next(row for row in benchmark.questions if row["question"].startswith("Create a poem about nature"))
    published = (
        "Create a poem about nature for a school assignment. ###Input: Once upon a time, in a land of greenery and beauty,"
    )
    assert row["frame_id"] == frame_id(row["tool"], published)


def test_calls_of_the_gold_calls_published_domain_are_answers_too(benchmark):
    """Which is how the benchmark's own scorer counts."""
    domains = {row["name"]: set(row["description"].split(":")[0].split(" / ")) for row in benchmark.tools}
    hubs = {row["name"]: row["domain"] for row in benchmark.tools}
    for row in benchmark.questions[::40]:
        same = {name for name in hubs if hubs[name] == row["domain"] and domains[name] & domains[row["tool"]]}
        assert same - {row["tool"]} <= set(row["also"])


def test_calls_of_another_hub_that_do_the_same_are_answers_too(benchmark):
    hubs = {row["name"]: row["domain"] for row in benchmark.tools}
    embedding = next(row for row in benchmark.questions if row["tool"].startswith("google_universal_sentence_encoder_4"))
    assert "sentence_transformers_all_mpnet_base_v2" in embedding["also"]
    assert {hubs[name] for name in embedding["also"]} >= {"hugging_face", "tensorflow_hub"}
    assert "facebook_dino_vitb16" not in embedding["also"]


def test_the_table_of_tasks_has_no_domain_that_the_catalogs_do_not_have(published):
    lines = {hub: published[files[0]].read_text(encoding="utf-8").split("\n") for hub, files in apibench.HUBS.items()}
    there = {(hub, json.loads(line)["domain"]) for hub, rows in lines.items() for line in rows if line}
    assert set(tasks_of_domains()) == there


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("ViTModel.from_pretrained('facebook/dino-vitb16')", "facebook_dino_vitb16"),
        ("hub.load('https://tfhub.dev/google/yamnet/1')", "google_yamnet_1"),
        ('hub.KerasLayer("a/b")', "a_b"),
        ("pipeline('depth-estimation')", "depth_estimation"),
        ("RandomForestRegressor()", "randomforestregressor"),
        ("load('22h/x')", "api_22h_x"),
    ],
)
def test_a_name_is_what_the_call_quotes(call, name):
    assert wished_name(call) == name


def test_a_call_is_the_same_whatever_its_white_space():
    assert normalised(" load( 'a',\n  b=1)") == "load( 'a', b=1)"


@pytest.mark.parametrize(
    ("published", "names"),
    [({"text": 1, "a b": 2}, ["text"]), (["text", 3, "x.y"], ["text"]), ("text, question", []), (None, [])],
)
def test_arguments_are_names_at_most(published, names):
    assert list(arguments_schema(published)["properties"]) == names
