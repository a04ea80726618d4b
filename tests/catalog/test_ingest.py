import json
import os
import shutil
import subprocess
import sys

import polars as pl
import pytest

from metatoolagent import artifacts
from metatoolagent.catalog import ingest as module
from metatoolagent.catalog import schemas
from metatoolagent.catalog.ingest import ingest, read_sources
from metatoolagent.errors import UserError

TABLES = ["tools.parquet", "questions.parquet", "rejected.parquet"]


@pytest.fixture
def folder(tmp_path, fixture_catalog):
    shutil.copytree(fixture_catalog, tmp_path / "catalog")
    return tmp_path / "catalog"


def hashes(out):
    return [artifacts.sha256(out / name) for name in TABLES]


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_small_catalog_is_read_whole(catalog):
    tools = schemas.read(catalog / "tools.parquet", schemas.TOOLS)
    questions = schemas.read(catalog / "questions.parquet", schemas.QUESTIONS)
    assert tools["domain"].value_counts().sort("domain").rows() == [("kitchen", 10), ("travel", 10)]
    assert questions.group_by("tool").len()["len"].to_list() == [12] * 20
    assert schemas.read(catalog / "rejected.parquet", schemas.REJECTED).is_empty()
    assert len(artifacts.read_manifest(catalog)["inputs"]) == 4


def test_line_ends_and_a_byte_order_mark_change_nothing(catalog, folder, tmp_path, ingest_params):
    for path in folder.rglob("*.yaml"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    ingest(ingest_params(folder), tmp_path / "out")
    assert hashes(tmp_path / "out") == hashes(catalog)


def test_the_order_of_entries_changes_nothing(catalog, folder, tmp_path, ingest_params):
    for path in folder.rglob("*.yaml"):
        path.write_text("\n".join(reversed(path.read_text(encoding="utf-8").splitlines())), encoding="utf-8")
    ingest(ingest_params(folder), tmp_path / "out")
    assert hashes(tmp_path / "out") == hashes(catalog)


def test_a_number_is_asked_as_it_is_written(folder, tmp_path, ingest_params):
    added = '- {tool: oven_preheat, ask: "{n} or {m}", fill: {n: [180.50, 1e2], m: [70, 190]}, arguments: {celsius: "{m}"}}\n'
    with (folder / "questions/kitchen.yaml").open("a", encoding="utf-8") as file:
        file.write(added)
    ingest(ingest_params(folder), tmp_path / "out")
    questions = schemas.read(tmp_path / "out/questions.parquet", schemas.QUESTIONS)
    rows = questions.filter(pl.col("question").str.contains("^[0-9e.]+ or "))
    assert rows.select("question", "arguments").sort("question").rows() == [
        ("180.50 or 70", '{"celsius":70}'),
        ("1e2 or 190", '{"celsius":190}'),
    ]


@pytest.mark.parametrize("threads", ["1", "4"])
def test_bytes_do_not_depend_on_threads_or_the_hash_seed(catalog, fixture_catalog, tmp_path, threads, ingest_params):
    code = (
        "import sys; from pathlib import Path; from metatoolagent import params; from metatoolagent.catalog.ingest import ingest;"
        "ingest(params.Ingest.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    source = str(fixture_catalog.parents[2] / "src")
    environment = {**os.environ, "PYTHONPATH": source, "POLARS_MAX_THREADS": threads, "PYTHONHASHSEED": threads}
    subprocess.run(
        [sys.executable, "-c", code, ingest_params(fixture_catalog).model_dump_json(), str(tmp_path)], check=True, env=environment
    )
    assert hashes(tmp_path) == hashes(catalog)


def test_rejected_rows_are_left_out_and_listed_if_that_is_allowed(folder, tmp_path, ingest_params):
    edit(folder / "tools/kitchen.yaml", "name: wine_match", "name: wine match")
    edit(folder / "questions/travel.yaml", "tool: trail_map", "tool: trial_map")
    ingest(ingest_params(folder, allow_rejected=True), tmp_path / "out")
    rejected = schemas.read(tmp_path / "out/rejected.parquet", schemas.REJECTED)
    assert rejected["code"].value_counts().sort("code").rows() == [("E-NAME", 1), ("E-QA-ANSWER-UNKNOWN", 5)]
    assert pl.read_parquet(tmp_path / "out/tools.parquet").height == 19
    assert pl.read_parquet(tmp_path / "out/questions.parquet").height == 240 - 12 - 3
    row = rejected.filter(pl.col("file").str.ends_with("travel.yaml")).row(0, named=True)
    assert (row["line"], row["field"], row["value"]) == (37, "tool", "trial_map")
    assert row["reason"].endswith("did you mean trail_map?")


def test_a_blank_question_is_told_with_its_line_and_can_be_left_out(folder, tmp_path, ingest_params, capsys):
    with (folder / "questions/travel.yaml").open("a", encoding="utf-8") as file:
        file.write('- {tool: trail_map, ask: "{q}", fill: {q: [hello there friend, " "]}, arguments: {region: Ridge}}\n')
    with pytest.raises(UserError, match="E-QA-EMPTY") as raised:
        ingest(ingest_params(folder), tmp_path / "out")
    assert raised.value.where == f"{folder}/questions/travel.yaml:41, field fill.q.1"
    capsys.readouterr()
    ingest(ingest_params(folder, allow_rejected=True), tmp_path / "out")
    rejected = schemas.read(tmp_path / "out/rejected.parquet", schemas.REJECTED)
    assert rejected.select("line", "code").rows() == [(41, "E-QA-EMPTY")]
    assert pl.read_parquet(tmp_path / "out/questions.parquet").height == 241
    assert capsys.readouterr().err.splitlines() == [
        "warning[W-REJECTED] 262 rows read, 261 kept (20 tools and 241 questions), 1 left out; "
        f"1 findings, all in {tmp_path}/out/rejected.parquet"
    ]


def test_the_warning_of_rows_left_out_is_one_line_of_json_where_that_is_asked_for(
    folder, tmp_path, ingest_params, capsys, monkeypatch
):
    monkeypatch.setenv("METATOOLAGENT_LOG_JSON", "1")
    with (folder / "questions/travel.yaml").open("a", encoding="utf-8") as file:
        file.write('- {tool: trail_map, ask: "{q}", fill: {q: [hello there friend, " "]}, arguments: {region: Ridge}}\n')
    ingest(ingest_params(folder, allow_rejected=True), tmp_path / "out")
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert told["code"] == "W-REJECTED" and told["what"].startswith("262 rows read, 261 kept") and set(told) == {"code", "what"}


def test_a_row_of_two_faults_is_one_row_and_two_findings(folder, tmp_path, ingest_params, capsys):
    edit(
        folder / "tools/kitchen.yaml",
        "name: wine_match, description: Suggest which bottle goes with a meal.",
        "name: w m, description: ''",
    )
    edit(folder / "questions/travel.yaml", "- {tool: trail_map, kind: direct", "- {tool: trial_map, kind: drect")
    (folder / "questions/Travel.yml").write_text("[]")
    ingest(ingest_params(folder, allow_rejected=True), tmp_path / "out")
    told = capsys.readouterr().err
    rejected = schemas.read(tmp_path / "out/rejected.parquet", schemas.REJECTED)
    rows = rejected.filter(pl.col("field") != "").select("file", "line").unique().height
    assert (rejected.height, rows) == (9, 6)
    assert told == (
        "warning[W-REJECTED] 250 rows read, 244 kept (19 tools and 225 questions), 6 left out, 1 files could not be read; "
        f"9 findings, all in {tmp_path}/out/rejected.parquet\n"
    )


def test_a_domain_without_a_file_of_tools_is_told_once_and_first(folder, tmp_path, ingest_params):
    (folder / "tools/kitchen.yaml").unlink()
    edit(folder / "questions/travel.yaml", "kind: direct", "kind: drect")
    with pytest.raises(UserError, match="E-QA-NO-TOOLS") as raised:
        ingest(ingest_params(folder), tmp_path / "out")
    assert raised.value.where == f"{folder}/questions/kitchen.yaml:1"
    assert raised.value.what.endswith("whose 40 entries are all rejected")
    assert raised.value.fix == f"add {folder}/tools/kitchen.yaml, or give both files one name"
    assert raised.value.more.splitlines()[1].split()[0] == "E-QA-KIND"
    codes = pl.read_parquet(tmp_path / "out/errors/rejected.parquet")["code"].value_counts().sort("code").rows()
    assert codes == [("E-QA-KIND", 1), ("E-QA-NO-TOOLS", 1), ("E-QA-TOOL-UNREAD", 40)]


def test_files_of_one_domain_under_two_names_are_told_once(folder, tmp_path, ingest_params):
    (folder / "tools/kitchen.yaml").rename(folder / "tools/cooking.yaml")
    with pytest.raises(UserError, match="E-QA-NO-TOOLS") as raised:
        ingest(ingest_params(folder), tmp_path / "out")
    assert raised.value.fix.endswith("or give both files one name (answers are tools of cooking)")
    codes = pl.read_parquet(tmp_path / "out/errors/rejected.parquet")["code"].value_counts().sort("code").rows()
    assert codes == [("E-QA-NO-TOOLS", 1), ("E-QA-TOOL-UNREAD", 40)]


def test_where_the_folder_of_tools_is_not_there_that_alone_is_the_cause(folder, tmp_path, ingest_params):
    shutil.rmtree(folder / "tools")
    with pytest.raises(UserError, match="E-MISSING"):
        ingest(ingest_params(folder), tmp_path / "out")
    codes = pl.read_parquet(tmp_path / "out/errors/rejected.parquet")["code"].value_counts().sort("code").rows()
    assert codes == [("E-MISSING", 1), ("E-QA-TOOL-UNREAD", 80)]


def test_where_nothing_is_left_the_rejections_are_told(folder, tmp_path, ingest_params):
    for path in (folder / "questions").iterdir():
        path.write_text("- {tool: nosuch, ask: Where is it?, arguments: {}}\n")
    with pytest.raises(UserError, match="E-QA-ANSWER-UNKNOWN"):
        ingest(ingest_params(folder, allow_rejected=True), tmp_path / "out")
    rejected = pl.read_parquet(tmp_path / "out/errors/rejected.parquet")
    assert set(rejected["code"]) == {"E-QA-ANSWER-UNKNOWN"}


def test_where_nothing_is_rejected_nothing_is_said(fixture_catalog, tmp_path, ingest_params, capsys):
    ingest(ingest_params(fixture_catalog, allow_rejected=True), tmp_path)
    assert capsys.readouterr().err == ""


def test_rows_in_are_rows_kept_and_rows_rejected(folder):
    edit(folder / "questions/travel.yaml", "tool: trail_map", "tool: trial_map")
    edit(folder / "questions/kitchen.yaml", "n: [180, 200, 220]", "n: [180, 20, 220]")
    sources = read_sources(folder / "tools", folder / "questions")
    assert (len(sources.tools), len(sources.questions)) == (20, 238)  # a frame that cannot be expanded is one row
    assert sum(bool(row.rejections) for row in sources.questions) == 2


def test_a_rejected_tool_takes_its_questions_with_it(folder, tmp_path, ingest_params):
    edit(folder / "tools/kitchen.yaml", "Suggest which bottle goes with a meal.", "a\u200bb")
    with pytest.raises(UserError) as raised:
        ingest(ingest_params(folder), tmp_path / "out")
    assert raised.value.code == "E-INVISIBLE"
    assert raised.value.more.startswith("4 further")
    assert "E-QA-TOOL-REJECTED" in raised.value.more


def test_faults_of_all_files_are_told_at_once_and_listed(folder, tmp_path, ingest_params):
    (folder / "tools/kitchen.yaml").write_bytes(b"- name: \xff")
    edit(folder / "tools/travel.yaml", "name: pulse", "name: p!")
    edit(folder / "questions/travel.yaml", "kind: direct", "kind: drect")
    with pytest.raises(UserError) as raised:
        ingest(ingest_params(folder), tmp_path / "out")
    assert raised.value.code == "E-ENCODING"
    report = tmp_path / "out/errors/rejected.parquet"
    assert str(report) in raised.value.more
    listed = schemas.checked(pl.read_parquet(report), schemas.REJECTED, "report")
    assert {"E-ENCODING", "E-NAME", "E-QA-KIND", "E-QA-ANSWER-UNKNOWN", "E-QA-TOOL-UNREAD"} == set(listed["code"])
    told = [line.split()[0] for line in raised.value.more.splitlines()[1:-1]]
    assert told == sorted(told, key=lambda code: code == "E-QA-TOOL-UNREAD")  # what follows from another is told last
    assert not (tmp_path / "out/rejected.parquet").exists()


def test_the_list_of_errors_goes_when_they_are_mended(folder, tmp_path, ingest_params):
    edit(folder / "tools/travel.yaml", "name: pulse", "name: p")
    with pytest.raises(UserError):
        ingest(ingest_params(folder), tmp_path / "out")
    edit(folder / "tools/travel.yaml", "name: p,", "name: pulse,")
    ingest(ingest_params(folder), tmp_path / "out")
    assert not (tmp_path / "out/errors/rejected.parquet").exists()


def test_a_file_that_changes_meanwhile_stops_the_run(folder, tmp_path, monkeypatch, ingest_params):
    read = module.read_questions

    def change(document, *tools, **options):
        with document.path.open("a", encoding="utf-8") as file:
            file.write("# changed\n")
        return read(document, *tools, **options)

    monkeypatch.setattr(module, "read_questions", change)
    with pytest.raises(UserError, match="E-CHANGED"):
        ingest(ingest_params(folder), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == []


def test_tools_without_questions_are_taken(folder, tmp_path, ingest_params):
    (folder / "questions/travel.yaml").unlink()
    ingest(ingest_params(folder), tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out/tools.parquet").height == 20
