import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoolagent import strict_yaml
from metatoolagent.errors import UserError


def load(tmp_path, content):
    path = tmp_path / "a.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return strict_yaml.load(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("010", "010"),
        ("12:30:45", "12:30:45"),
        ("2024-05-01", "2024-05-01"),
        ("1_000", "1_000"),
        ("Nan", "Nan"),
        ('"1"', "1"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("-3", -3),
        ("1.5e3", 1500.0),
        ("0.5", 0.5),
        (".5", ".5"),
        ("9" * 400, int("9" * 400)),
    ],
)
def test_scalars_are_as_in_json(tmp_path, text, value):
    content = load(tmp_path, f"a: {text}\n").content["a"]
    assert content == value
    assert type(content) is type(value)


def test_every_value_knows_its_line(tmp_path):
    document = load(tmp_path, "# note\n- name: a\n  fill:\n    x: [1,\n      2]\n- b\n")
    assert document.line(0, "name") == 2
    assert document.line(0, "fill", "x", 1) == 5
    assert document.line(1) == 6
    assert document.line(0, "fill", "missing") == 3
    assert document.where(0).endswith("a.yaml:2")


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", b"a: 1\rb: 2\r", b"a: 1\nb: 2"])
def test_byte_order_mark_and_line_ends_do_not_matter(tmp_path, content):
    document = load(tmp_path, content)
    assert document.content == {"a": 1, "b": 2}
    assert document.line("b") == 2


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "code", "place"),
    [
        ("", "E-EMPTY", ""),
        ("# only a comment\n", "E-EMPTY", ""),
        ("a: [1,\nb: 2\n", "E-PARSE", ":3"),
        ("a:\n\t- 1\n", "E-PARSE", ":2"),
        ("a: 'x\n", "E-PARSE", ":"),
        ("? [a]\n: 1\n", "E-PARSE", ":1"),
        ("a: 1\nb: 2\na: 3\n", "E-DUP-KEY", ":3"),
        (BOMB, "E-YAML-ALIAS", ":1"),
        ("a: &a\n  - *a\n", "E-YAML-ALIAS", ":1"),
        ("a: !!python/object/apply:os.system [id]\n", "E-YAML-TAG", ":1"),
        ("a: 1\n---\nb: 2\n", "E-YAML-MULTIDOC", ":2"),
        ("a: " + "[" * 70 + "]" * 70, "E-DEPTH", ":1"),
        ("[" * 100_000, "E-DEPTH", ":1"),
        ("- .nan\n", "E-NUMBER", ":1"),
        ("- 1\n- 1e999\n", "E-NUMBER", ":2"),
        ("- " + "1" * 5000 + "\n", "E-NUMBER", ":1"),
        ("a: 1\nb: x\x07y\n", "E-CONTROL-CHAR", ":2:5"),
        ('a: "x\\0y"\n', "E-CONTROL-CHAR", ":1"),
        ('"a\\0": 1\n', "E-CONTROL-CHAR", ":1"),
        ("a: 1\nb: é\n".encode("latin-1"), "E-ENCODING", ":2, byte 8"),
        ("a: 1\n".encode("utf-16"), "E-ENCODING", ":1, byte 0"),
        (b"\xef\xbb\xbfa: \xe9\n", "E-ENCODING", ":1, byte 6"),
    ],
)
def test_what_is_refused(tmp_path, content, code, place):
    start = time.process_time()
    with pytest.raises(UserError) as raised:
        load(tmp_path, content)
    assert raised.value.code == code
    assert f"a.yaml{place}" in raised.value.where
    assert time.process_time() - start < 2


@pytest.mark.parametrize("encoding", ["UTF-16-LE", "UTF-16-BE", "UTF-32-LE", "UTF-32-BE"])
def test_an_encoding_that_its_byte_order_mark_tells_is_named(tmp_path, encoding):
    with pytest.raises(UserError, match="E-ENCODING") as raised:
        load(tmp_path, "\ufeffa: 1\n".encode(encoding))
    assert raised.value.what == f"not UTF-8 but {encoding[:6]}"
    assert f"iconv -f {encoding[:6]} -t UTF-8 {tmp_path}/a.yaml > utf8.yaml" in raised.value.fix


@pytest.mark.parametrize(("text", "encoding"), [("é", "latin-1"), ("Привет", "koi8-r"), ("日本語", "euc-jp")])
def test_no_encoding_is_guessed_without_a_byte_order_mark(tmp_path, text, encoding):
    with pytest.raises(UserError, match="E-ENCODING") as raised:
        load(tmp_path, f"a: 1\nb: {text}\n".encode(encoding))
    assert raised.value.where.endswith("a.yaml:2, byte 8")
    assert raised.value.got == f"0x{text.encode(encoding)[0]:02x}"
    assert "iconv -f ENCODING -t UTF-8" in raised.value.fix and "LATIN1" not in raised.value.fix


def test_the_command_that_converts_takes_any_name(tmp_path):
    (tmp_path / "a {b};c.yaml").write_bytes(b"\xff")
    with pytest.raises(UserError, match="E-ENCODING") as raised:
        strict_yaml.load(tmp_path / "a {b};c.yaml")
    assert f"'{tmp_path}/a {{b}};c.yaml'" in raised.value.fix


def test_size_and_number_of_values_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(strict_yaml, "MAX_NODES", 10)
    with pytest.raises(UserError, match="E-LIMIT"):
        load(tmp_path, "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]")
    monkeypatch.setattr(strict_yaml, "MAX_BYTES", 3)
    with pytest.raises(UserError, match="E-SIZE"):
        load(tmp_path, "abcd")


def test_only_regular_files_are_read(tmp_path):
    with pytest.raises(UserError, match="E-MISSING"):
        strict_yaml.load(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="E-NOT-A-FILE"):
        strict_yaml.load(tmp_path)


@given(st.binary(max_size=200) | st.text(alphabet="a:-[]{}\"'\n\t #&*!|>?,0.\\ux", max_size=60).map(str.encode))
def test_any_bytes_give_a_document_or_an_error_of_ours(tmp_path_factory, content):
    try:
        load(tmp_path_factory.mktemp("fuzz"), content)
    except UserError as error:
        assert error.code.startswith("E-")
