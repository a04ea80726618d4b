from itertools import chain, groupby

import polars as pl
import pytest

from metatoolagent.catalog import chunks, schemas, spool
from metatoolagent.catalog.ingest import Sources, answers_of, ingest, read_folder, read_sources, rejected_frame
from metatoolagent.catalog.questions import read_questions

FILES = {
    "tools/desk.yaml": """
- {name: alpha, description: Does one thing., parameters: {type: object}}
- {name: beta, description: Does another thing., parameters: {type: object}}
""",
    "tools/shop.yaml": """
- {name: gamma, description: Sells a thing., parameters: {type: object}}
- {name: also, description: Buys a thing., parameters: {type: object}}
""",
    "questions/desk.yaml": """
- {tool: beta, ask: "Do 3 things!", arguments: {}}
- {tool: alpha, ask: "Do {n} things.", fill: {n: [1, 2, 3]}, arguments: {}}
- {tool: alpha, ask: "do 2 THINGS", arguments: {}}
- {tool: alhpa, ask: "Never expanded.", arguments: {}}
""",
    "questions/shop.yaml": """
- {tool: gamma, ask: "do 1 things", arguments: {}}
- {tool: also, ask: "Another.", arguments: {}}
- {tool: gamma, ask: "Wrong.", arguments: {n: 1}}
""",
}
CODES = [
    *("E-QA-CONFLICT", "E-QA-CONFLICT", "E-QA-CONFLICT", "E-QA-DUP", "E-QA-ANSWER-UNKNOWN"),  # beta, alpha's 1, 3, again, alhpa
    *("E-QA-CONFLICT", "E-QA-ARGUMENTS"),
]


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_what_is_rejected_is_what_is_rejected_in_memory_and_in_its_order(folder, tmp_path_factory):
    sources = read_sources(folder / "tools", folder / "questions")
    expected = [rejection for row in sources.questions for rejection in row.rejections]
    assert [rejection.code for rejection in expected] == CODES
    rows = read_folder(folder / "questions", Sources(), lambda document: read_questions(document, answers_of(sources.tools)))
    spooled = spool.Spool(tmp_path_factory.mktemp("spool"))
    for _, of_file in groupby(rows, key=lambda row: row.document.path):
        spooled.add(list(of_file))
    spooled.reject_repeated()
    assert spooled.rejections == expected
    assert (spooled.rows, spooled.kept, spooled.rejected) == (9, 2, 7)


@pytest.mark.parametrize("chunk", [1, 2**16])
def test_the_tables_hold_each_row_once_whatever_the_chunks(folder, ingest_params, monkeypatch, chunk):
    monkeypatch.setattr(chunks, "CHUNK", chunk)
    ingest(ingest_params(folder, allow_rejected=True), folder / "out")
    questions = schemas.read(folder / "out/questions.parquet", schemas.QUESTIONS)
    assert questions["question"].to_list() == ["Do 2 things.", "Another."]
    expected = rejected_frame(read_sources(folder / "tools", folder / "questions").rejections)
    assert pl.read_parquet(folder / "out/rejected.parquet").equals(expected)


def test_texts_of_one_hash_are_told_apart(folder, ingest_params, monkeypatch):
    monkeypatch.setattr(spool, "hash", lambda _: 0, raising=False)
    ingest(ingest_params(folder, allow_rejected=True), folder / "out")
    assert pl.read_parquet(folder / "out/questions.parquet")["question"].to_list() == ["Do 2 things.", "Another."]


@pytest.mark.parametrize("chunk", [1, 2**16])
def test_questions_of_a_name_that_goes_on_with_a_dash_sort_among_those_of_the_shorter_name(
    tmp_path, ingest_params, monkeypatch, chunk
):
    monkeypatch.setattr(chunks, "CHUNK", chunk)
    # Eight hexadecimal digits begin with 0 to f: they sort before and behind the `a` of list-all.
    domains = {"desk": ["list", "list.one", "lists"], "shop": ["list-all", "list-all-new"]}
    for kind in ("tools", "questions"):
        (tmp_path / kind).mkdir()
    for domain, names in domains.items():
        tools = [f"- {{name: {name}, description: Does {name} of {domain}., parameters: {{type: object}}}}\n" for name in names]
        asked = [
            f"- {{tool: {name}, ask: {domain} {place} {number}, arguments: {{}}}}\n"
            for place, name in enumerate(names)
            for number in range(40)
        ]
        (tmp_path / f"tools/{domain}.yaml").write_text("".join(tools), encoding="utf-8")
        (tmp_path / f"questions/{domain}.yaml").write_text("".join(asked), encoding="utf-8")
    ingest(ingest_params(tmp_path, allow_rejected=False), tmp_path / "out")
    questions = schemas.read(tmp_path / "out/questions.parquet", schemas.QUESTIONS)
    assert questions["tool"].value_counts().sort("tool").rows() == [(name, 40) for name in sorted(chain(*domains.values()))]
    assert len(questions["tool"].rle()) > 5


def test_a_file_of_questions_is_not_opened_anew_for_each_of_its_tools(tmp_path, ingest_params, monkeypatch):
    opened: list[int] = []
    scan = pl.scan_ipc
    monkeypatch.setattr(pl, "scan_ipc", lambda source, **options: opened.append(1) or scan(source, **options))
    counts = []
    for tools in (2, 40):
        folder = tmp_path / str(tools)
        entries = {
            "tools": "- {{name: t{0}, description: Does {0}., parameters: {{type: object}}}}\n",
            "questions": "- {{tool: t{0}, ask: question {0}, arguments: {{}}}}\n",
        }
        for kind, entry in entries.items():
            (folder / kind).mkdir(parents=True)
            (folder / kind / "desk.yaml").write_text("".join(entry.format(number) for number in range(tools)), encoding="utf-8")
        opened.clear()
        ingest(ingest_params(folder, allow_rejected=False), folder / "out")
        counts.append(len(opened))
    assert counts[0] == counts[1]
