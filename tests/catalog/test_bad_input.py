"""One row an input that is refused: its code, its place, and that nothing that was there before has changed."""

import os
import shutil
import time

import pytest

from metatoolagent.catalog.ingest import ingest
from metatoolagent.errors import UserError

TOOL = "- {name: alpha, description: Does one thing., parameters: {type: object}}\n"
OTHER = "- {name: beta, description: Does another thing., parameters: {type: object}}\n"
ASK = '- {tool: alpha, ask: "Do one thing.", arguments: {}}\n'
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

T, Q = "tools/desk.yaml", "questions/desk.yaml"

BAD = [
    # What is not YAML that means one thing.
    ("malformed", T, TOOL + "- {name: beta\n", "E-PARSE", f"{T}:3"),
    ("tab indent", T, "- name: alpha\n\tdescription: x\n", "E-PARSE", f"{T}:2"),
    ("not utf-8", Q, "- {tool: alpha, ask: caf\xe9}".encode("latin-1"), "E-ENCODING", f"{Q}:1"),
    ("utf-16", T, TOOL.encode("utf-16"), "E-ENCODING", f"{T}:1"),
    ("control character", T, TOOL + OTHER.replace("another", "a\x07nother"), "E-CONTROL-CHAR", f"{T}:2"),
    ("escaped NUL", Q, ASK.replace("one", "o\\0ne"), "E-CONTROL-CHAR", f"{Q}:1"),
    ("surrogate", Q, ASK.replace("one", "o\\ud800ne"), "E-PARSE", f"{Q}:1"),
    ("duplicate key", T, TOOL + OTHER.replace("name: beta", "name: beta, name: b"), "E-DUP-KEY", f"{T}:2"),
    ("alias bomb", T, BOMB, "E-YAML-ALIAS", f"{T}:1"),
    ("deep nesting", T, "[" * 100_000, "E-DEPTH", f"{T}:1"),
    ("python tag", T, "- !!python/name:os.system\n", "E-YAML-TAG", f"{T}:1"),
    ("two documents", T, TOOL + "---\n" + OTHER, "E-YAML-MULTIDOC", f"{T}:2"),
    ("not a number", Q, ASK.replace("{}}", "{n: .nan}}"), "E-NUMBER", f"{Q}:1"),
    ("5000 digits", Q, ASK.replace("{}}", "{n: " + "1" * 5000 + "}}"), "E-NUMBER", f"{Q}:1"),
    ("too large", T, b"#" * (16 * 2**20 + 1), "E-SIZE", T),
    ("empty file", T, "", "E-EMPTY", T),
    ("only a comment", Q, "# later\n", "E-EMPTY", Q),
    ("empty list", T, "[]\n", "E-EMPTY", f"{T}:1"),
    ("a mapping", T, "alpha: {}\n", "E-FIELD", f"{T}:1"),
    # What is not a file of a domain.
    ("a folder", T, None, "E-NOT-A-FILE", T),
    ("a pipe", Q, os.mkfifo, "E-NOT-A-FILE", Q),
    ("other suffix", "tools/desk.yml", TOOL, "E-FILE-NAME", "tools/desk.yml"),
    ("name of a domain", "tools/Desk;touch b.yaml", TOOL, "E-FILE-NAME", "tools/Desk;touch b.yaml"),
    # Tools.
    ("tool twice", T, TOOL + OTHER + TOOL, "E-TOOL-DUP", f"{T}:3"),
    ("tool twice in two files", "tools/shop.yaml", TOOL + OTHER.replace("beta", "gamma"), "E-TOOL-DUP", "tools/shop.yaml:1"),
    ("collision", T, TOOL + OTHER + OTHER.replace("beta", "be_ta"), "E-TOOL-COLLISION", f"{T}:3"),
    (
        "case twins with an i",
        T,
        TOOL + OTHER.replace("beta", "dim_light") + OTHER.replace("beta", "DIM_LIGHT"),
        "E-TOOL-COLLISION",
        f"{T}:3",
    ),
    ("Cyrillic letter", T, TOOL + OTHER.replace("beta", "bet\u0430"), "E-NAME-CONFUSABLE", f"{T}:2"),
    ("bidi", T, TOOL + OTHER.replace("another", "ano\u202ether"), "E-BIDI", f"{T}:2"),
    ("invisible", T, TOOL + OTHER.replace("another", "ano\u200bther"), "E-INVISIBLE", f"{T}:2"),
    ("tag block", T, TOOL + OTHER.replace("another", "ano\U000e0061ther"), "E-INVISIBLE", f"{T}:2"),
    ("name", T, TOOL + OTHER.replace("beta", "PDF&URLTool"), "E-NAME", f"{T}:2"),
    ("no description", T, TOOL + OTHER.replace("Does another thing.", '""'), "E-DESC-EMPTY", f"{T}:2"),
    ("no parameters", T, TOOL + "- {name: beta, description: x}\n", "E-FIELD", f"{T}:2"),
    ("unknown field", T, TOOL + OTHER.replace("description", "descripton"), "E-FIELD", f"{T}:2"),
    ("not a schema", T, TOOL + OTHER.replace("object", "objekt"), "E-SCHEMA", f"{T}:2"),
    (
        "remote reference",
        T,
        TOOL + OTHER.replace("type: object", "type: object, $ref: 'http://x.org/a'"),
        "E-REF-EXTERNAL",
        f"{T}:2",
    ),
    ("loop", T, TOOL + OTHER.replace("type: object", "type: object, $ref: '#'"), "E-REF-LOOP", f"{T}:2"),
    ("one tool", T, TOOL, "E-DOMAIN-SIZE", f"{T}:1"),
    # Questions.
    ("unknown tool", Q, ASK + ASK.replace("alpha", "alpa"), "E-QA-ANSWER-UNKNOWN", f"{Q}:2"),
    (
        "domain without tools",
        "questions/shop.yaml",
        ASK.replace("alpha", "gamma"),
        "E-QA-NO-TOOLS",
        "questions/shop.yaml:1",
    ),
    ("another name than the tools'", "questions/shop.yaml", ASK.replace("one", "two"), "E-QA-NO-TOOLS", "questions/shop.yaml:1"),
    ("bad arguments", Q, ASK + ASK.replace("one", "no").replace("{}}", "{n: 1}}"), "E-QA-ARGUMENTS", f"{Q}:2"),
    ("empty question", Q, ASK.replace("Do one thing.", ""), "E-QA-EMPTY", f"{Q}:1"),
    ("question twice", Q, ASK + ASK.replace("Do one", "do ONE"), "E-QA-DUP", f"{Q}:2"),
    ("two answers", Q, ASK + ASK.replace("alpha", "beta"), "E-QA-CONFLICT", f"{Q}:1"),
    ("unknown kind", Q, ASK.replace("ask", "kind: funny, ask"), "E-QA-KIND", f"{Q}:1"),
    ("missing slot", Q, ASK.replace("one", "{one}"), "E-QA-SLOT", f"{Q}:1"),
    ("uneven lists", Q, ASK.replace("one", "{a}{b}").replace("ask", "fill: {a: [1], b: [1, 2]}, ask"), "E-QA-FILL", f"{Q}:1"),
]


@pytest.fixture
def folder(tmp_path):
    for name, text in ((T, TOOL + OTHER), (Q, ASK)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def refused(folder, params):
    """Ingest into a folder with an earlier artifact, which must stay; return the error."""
    out = folder.parent / f"{folder.name}-out"
    out.mkdir()
    for name in ("tools.parquet", "questions.parquet", "rejected.parquet", "manifest.json"):
        (out / name).write_text(f"earlier {name}", encoding="utf-8")
    start = time.process_time()
    with pytest.raises(UserError) as raised:
        ingest(params, out)
    assert time.process_time() - start < 2
    left = {path.name: path.read_text(encoding="utf-8") for path in out.iterdir() if path.is_file()}
    assert left == {name: f"earlier {name}" for name in left}
    assert len(left) == 4
    assert raised.value.exit_code == 65
    assert raised.value.fix or raised.value.code == "E-FIELD"
    assert "earlier artifacts are as they were" in raised.value.kept
    return raised.value


@pytest.mark.parametrize(("name", "content", "code", "place"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input(folder, ingest_params, name, content, code, place):
    path = folder / name
    path.unlink(missing_ok=True)
    if content is None:
        path.mkdir()
    elif callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    error = refused(folder, ingest_params(folder))
    assert error.code == code
    assert error.where.startswith(str(folder / place))


@pytest.mark.parametrize(
    ("change", "code", "place"),
    [
        (lambda folder: shutil.rmtree(folder / "tools"), "E-MISSING", "tools"),
        (lambda folder: (shutil.rmtree(folder / "questions"), (folder / "questions").touch()), "E-NOT-A-FOLDER", "questions"),
        (lambda folder: [(folder / name).unlink() for name in (T, Q)], "E-EMPTY", "tools"),
        (lambda folder: (folder / Q).unlink(), "E-EMPTY", "tools"),
    ],
)
def test_bad_folders(folder, ingest_params, change, code, place):
    change(folder)
    error = refused(folder, ingest_params(folder))
    assert error.code == code
    assert error.where.startswith(str(folder / place))


def test_the_good_input_is_good(folder, ingest_params, tmp_path_factory):
    ingest(ingest_params(folder), tmp_path_factory.mktemp("out"))
