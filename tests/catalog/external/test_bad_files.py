"""Benchmark files that are not what was published: one clear error each, and nothing written."""

import hashlib
import json
from pathlib import Path

import pytest

from metatoolagent import cli
from metatoolagent.catalog.external import apibench, stage, toolalpaca
from metatoolagent.errors import UserError
from metatoolagent.sources import MIRRORS, Source

ROOT = Path(__file__).parents[3]
REAL = toolalpaca.FILES[0]
CATALOG, QUESTIONS = apibench.HUBS["torch_hub"]


def operation(name, parameters=()):
    return {"get": {"operationId": name, "parameters": list(parameters)}}


def api(**changes):
    """An API of two functions and one question, as ToolAlpaca has it."""
    word = {"name": "word", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "Name": "Words",
        "Description": "A dictionary",
        "Category": "Dictionaries",
        "Documentation": json.dumps({"paths": {"/define": operation("define", [word]), "/list": operation("list")}}),
        "Function_Description": {"define": "Define a word\nParameters: {}", "list": "List all words", "components": ""},
        "Function_Projection": {"define": ["/define", "get"], "list": ["/list", "get"]},
        "Instructions": ["What does quixotic mean?"],
        "Golden_Answers": [[{"Action": "define", "Action_Input": '{"word": "quixotic"}'}]],
    } | changes


def call(name="net", **changes):
    """A row of a catalog, as API-Bench has it."""
    return {
        "domain": "Object Detection",
        "api_call": f"torch.hub.load('lab/{name}')",
        "description": "Finds things.",
        "api_arguments": [],
    } | changes


def ask(**changes):
    text = "###Instruction: Find the cat.\n###Output: <<<api_call>>>: torch.hub.load('lab/net')"
    return {"code": text, "api_call": "torch.hub.load('lab/net')"} | changes


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with small benchmark files in a mirror, and data/sources.tsv; `checkout(name, text)` replaces a file."""
    files = {name: "[]" if name.startswith("toolalpaca") else "" for name in (*toolalpaca.FILES, *apibench.FILES)}
    files |= {REAL: json.dumps([api()]), CATALOG: lines(call(), call("other")), QUESTIONS: lines(ask())}
    (tmp_path / "data").mkdir()
    (tmp_path / "data/apibench_tasks.tsv").write_bytes((ROOT / "data/apibench_tasks.tsv").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(MIRRORS, str(tmp_path / "mirror"))

    def write(name="", text="", *, pin=True):
        rows = ["\t".join(Source.__dataclass_fields__)]
        for file, usual in files.items():
            content = text.encode() if file == name else usual.encode()
            digest = hashlib.sha256(content if pin else usual.encode()).hexdigest()
            rows.append("\t".join([file, "1", f"https://example.invalid/{file}", digest, "MIT", "2026-01-01", "x"]))
            path = tmp_path / "mirror" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (tmp_path / "data/sources.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    write()
    return write


BAD = [
    ("truncated JSON", REAL, json.dumps([api()])[:-20], "E-PARSE", f"{REAL}:1"),
    ("truncated JSON line", QUESTIONS, lines(ask()) + '{"code": "###Ins\n', "E-PARSE", f"{QUESTIONS}:2"),
    ("a mapping", REAL, "{}", "E-FIELD", f"{REAL}:1"),
    ("no name", REAL, json.dumps([{"Description": "x"}]), "E-FIELD", f"{REAL}, entry 0"),
    ("no list of answers", REAL, json.dumps([api(Golden_Answers="define")]), "E-FIELD", f"{REAL}, entry 0, field Golden_Answers"),
    ("fewer answers than questions", REAL, json.dumps([api(Golden_Answers=[])]), "E-FIELD", f"{REAL}, entry 0"),
    (
        "an answer without an action",
        REAL,
        json.dumps([api(Golden_Answers=[[{}]])]),
        "E-FIELD",
        f"{REAL}, entry 0, row 0 of Golden_Answers",
    ),
    (
        "no list",
        REAL,
        json.dumps([api(Golden_Answers=["define"])]),
        "E-FIELD",
        f"{REAL}, entry 0, row 0 of Golden",
    ),
    (
        "no text",
        REAL,
        json.dumps([api(Instructions=[3])]),
        "E-FIELD",
        f"{REAL}, entry 0, row 0 of Instructions",
    ),
    ("documentation is not JSON", REAL, json.dumps([api(Documentation="{")]), "E-PARSE", f"{REAL}, entry 0, field Documentation"),
    (
        "an operation that is not there",
        REAL,
        json.dumps([api(Documentation="{}")]),
        "E-FIELD",
        f"{REAL}, entry 0, function define",
    ),
    ("two APIs of one name", REAL, json.dumps([api(), api()]), "E-FIELD", f"{REAL}, entry 1"),
    ("no call in the catalog", CATALOG, lines(call(), {"domain": "x", "description": "x"}), "E-FIELD", f"{CATALOG}:2"),
    ("a call that is no text", CATALOG, lines(call(api_call=3)), "E-FIELD", f"{CATALOG}:1, field api_call"),
    ("a domain without a task", CATALOG, lines(call(domain="Chess")), "E-FIELD", f"{CATALOG}:1"),
    ("no code", QUESTIONS, lines({"api_call": "x"}), "E-FIELD", f"{QUESTIONS}:1"),
    ("a number for a row", QUESTIONS, "3\n", "E-FIELD", f"{QUESTIONS}:1"),
]


@pytest.mark.parametrize(("name", "text", "code", "place"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_files(checkout, name, text, code, place, tmp_path):
    checkout(name, text)
    with pytest.raises(UserError) as raised:
        stage.ingest(name.split("/")[0], tmp_path / "out")
    assert (raised.value.code, raised.value.exit_code) == (code, 65)
    assert raised.value.where.startswith(place)
    assert raised.value.fix and raised.value.kept
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("framework\ttask\n", "E-FIELD", 1),
        ("framework\tpublished_domain\ttask\ntorch_hub\tClassification\n", "E-FIELD", 2),
        ('framework\tpublished_domain\ttask\n"torch_hub\t', "E-PARSE", 2),
    ],
)
def test_a_malformed_table_of_tasks_is_told_with_its_line(checkout, text, code, line, tmp_path):
    (tmp_path / "data/apibench_tasks.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        stage.ingest("apibench", tmp_path / "out")
    assert (raised.value.code, raised.value.exit_code) == (code, 65)
    assert raised.value.where == f"data/apibench_tasks.tsv:{line}" and raised.value.fix
    assert not (tmp_path / "out").exists()


def test_a_file_with_another_hash_is_refused(checkout, tmp_path):
    checkout(REAL, "[{}]", pin=False)
    with pytest.raises(UserError) as raised:
        stage.ingest("toolalpaca", tmp_path / "out")
    assert (raised.value.code, raised.value.exit_code) == ("E-HASH", 66)


def test_a_benchmark_that_there_is_not(checkout, tmp_path):
    with pytest.raises(UserError, match="E-BENCHMARK") as raised:
        stage.ingest("bfcl", tmp_path / "out")
    assert raised.value.exit_code == 64
    assert "apibench, toolalpaca" in raised.value.fix


def test_the_command_ends_with_the_exit_code_and_no_traceback(checkout, tmp_path, monkeypatch, capsys):
    checkout(REAL, "[")
    monkeypatch.setattr("sys.argv", ["mta", "ingest-external", "toolalpaca", "--out", "out", "--log", "out.log"])
    with pytest.raises(SystemExit) as raised:
        cli.main()
    printed = capsys.readouterr()
    assert (raised.value.code, printed.out) == (65, "")
    assert printed.err.startswith("error[E-PARSE]")
    assert "Traceback" not in printed.err
    assert (tmp_path / "out.log").read_text() == printed.err


def test_rows_that_do_not_fit_are_listed_and_the_rest_is_kept(checkout, tmp_path):
    broken = {"name": "x", "schema": {"type": "thing"}}
    document = {"paths": {"/define": operation("define"), "/list": operation("list", [broken])}}
    answers = [[{"Action": name, "Action_Input": "{}"}] for name in ("define", "list", "define")]
    questions = ["What does it mean?", "Which words are there?", "What does it  mean?"]
    changed = api(Documentation=json.dumps(document), Instructions=questions, Golden_Answers=answers)
    checkout(REAL, json.dumps([changed]))
    made = toolalpaca.read({name: tmp_path / "mirror" / name for name in toolalpaca.FILES})
    assert [(row["row"], row["code"]) for row in made.excluded] == [
        ("0.Function_Description.list", "E-SCHEMA"),
        ("0.Function_Description.components", "E-PSEUDO-FUNCTION"),
        ("0.Instructions.1", "E-ANSWER-UNKNOWN"),
        ("0.Instructions.2", "E-QA-DUP"),
    ]
    assert len(made.questions) == 1


def test_the_good_files_are_good(checkout, tmp_path):
    for benchmark in stage.READERS:
        stage.ingest(benchmark, tmp_path / benchmark)
        assert {path.name for path in (tmp_path / benchmark).iterdir()} == {*stage.TABLES, "manifest.json"}
