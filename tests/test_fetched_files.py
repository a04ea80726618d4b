import csv
import hashlib
import re
from pathlib import Path

import pooch
import pytest
import requests

from metatoolagent.errors import UserError
from metatoolagent.sources import MIRRORS, Source, fetch_file, source

TABLE = Path(__file__).parents[1] / "data" / "sources.tsv"
CONTENT = b"[]"
NAME = "bench/eval.json"


def pinned(content=CONTENT):
    digest = hashlib.sha256(content).hexdigest()
    return Source(NAME, "1", "https://example.invalid/eval.json", digest, "MIT", "2026-01-01", "")


@pytest.fixture
def web(monkeypatch):
    """The web as one answer, given by `web.content`, or an error; `web.asked` are the addresses."""

    class Web:
        content: bytes | Exception = CONTENT

        def __init__(self):
            self.asked = []

        def __call__(self, url, path, _):
            self.asked.append(url)
            if isinstance(self.content, Exception):
                raise self.content
            Path(path).write_bytes(self.content)

    made = Web()
    monkeypatch.setattr(pooch, "HTTPDownloader", lambda: made)
    monkeypatch.delenv(MIRRORS, raising=False)
    return made


@pytest.mark.parametrize("place", [NAME, "eval.json"])
def test_a_mirror_has_the_file_under_its_path_or_its_bare_name(tmp_path, monkeypatch, web, place):
    file = tmp_path / "second" / place
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    monkeypatch.setenv(MIRRORS, f"{tmp_path / 'first'}:{tmp_path / 'second'}")
    assert fetch_file(pinned(), tmp_path) == file
    assert web.asked == []


def test_without_a_mirror_it_is_downloaded(tmp_path, web):
    assert fetch_file(pinned(), tmp_path).read_bytes() == CONTENT
    assert web.asked == [pinned().url]


def test_another_file_than_the_pinned_one_is_refused_from_the_web_and_from_a_mirror(tmp_path, monkeypatch, web):
    web.content = b"{}"
    for _ in range(2):
        with pytest.raises(UserError) as raised:
            fetch_file(pinned(), tmp_path)
        assert (raised.value.code, raised.value.exit_code) == ("E-HASH", 66)
        assert pinned().sha256[:12] in raised.value.got
        monkeypatch.setenv(MIRRORS, str(tmp_path))
    assert len(web.asked) == 1


def test_without_a_network_the_error_says_what_to_do(tmp_path, web):
    web.content = requests.ConnectionError("no route")
    with pytest.raises(UserError) as raised:
        fetch_file(pinned(), tmp_path)
    assert (raised.value.code, raised.value.exit_code) == ("E-DOWNLOAD", 75)
    assert pinned().url in raised.value.got
    assert MIRRORS in raised.value.fix


def test_a_source_is_a_row_of_the_table(tmp_path):
    table = tmp_path / "sources.tsv"
    row = list(pinned().__dict__.values())
    table.write_text("\t".join(Source.__dataclass_fields__) + "\n" + "\t".join(row) + "\n", encoding="utf-8")
    assert source(NAME, table) == pinned()
    with pytest.raises(UserError) as raised:
        source("large", table)
    assert (raised.value.code, raised.value.exit_code) == ("E-SOURCE", 64)


HEADER = "\t".join(Source.__dataclass_fields__)
ROW = "\t".join(pinned().__dict__.values())


@pytest.mark.parametrize(
    ("text", "code", "line", "told"),
    [
        ("", "E-FIELD", 1, "columns name, version, url"),
        (f"{HEADER.removesuffix('note')}\n{ROW}\n", "E-FIELD", 1, "columns name, version, url"),
        (f"{HEADER}\tmore\n{ROW}\tx\n", "E-FIELD", 1, "columns name, version, url"),
        (f"{HEADER}\n{ROW}\n\nlarge\t1\n", "E-FIELD", 4, "7 columns and has 2"),
        (f"{HEADER}\n{ROW}\tx\n", "E-FIELD", 2, "7 columns and has 8"),
        (f'{HEADER}\n{ROW}\n"large\t1\n', "E-PARSE", 3, "unexpected end"),
        (f"{HEADER}\n{ROW}\n{'x' * 200_000}\n", "E-PARSE", 3, "field larger"),
        (f"{HEADER}\n{ROW}\nlärge\n".encode("latin-1"), "E-ENCODING", 3, "not UTF-8"),
    ],
)
def test_a_malformed_table_of_sources_is_told_with_its_line(tmp_path, text, code, line, told):
    table = tmp_path / "sources.tsv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as raised:
        source(NAME, table)
    error = raised.value
    assert (error.code, error.exit_code) == (code, 65)
    assert error.where.split(",")[0] == f"{table}:{line}" and told in error.what and error.fix


def test_the_columns_and_line_ends_of_a_table_may_differ(tmp_path):
    table = tmp_path / "sources.tsv"
    turned = ("\t".join(reversed(line.split("\t"))) for line in (HEADER, ROW))
    table.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(turned).encode())
    assert source(NAME, table) == Source(**(pinned().__dict__))


def test_the_committed_table_pins_every_file_by_version_and_hash():
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [Source(**row) for row in csv.DictReader(file, delimiter="\t")]
    assert len(rows) == len({row.name for row in rows}) == 9
    for row in rows:
        assert row.version in row.url
        assert re.fullmatch("[0-9a-f]{64}", row.sha256)
        assert row.licence == "Apache-2.0"
        assert row.note
