import polars as pl
import pytest

from metatoolagent import artifacts
from metatoolagent.catalog import chunks, schemas
from metatoolagent.errors import UserError

TYPES = {name: column.dtype.type for name, column in schemas.CHAINS.columns.items()}


def chains(keys):
    row = {"tools": ["x", "y"], "also": [], "domain": "d", "kind": None, "question": "Which?"}
    return pl.DataFrame([{"chain_id": key, **row} for key in keys], schema=TYPES)


@pytest.fixture
def published(tmp_path):
    """A table whose rows come in groups of three."""
    with artifacts.publishing(tmp_path / "table", ["chains.parquet"], producer="test") as paths:
        chunks.write(chains("abcdefgh").iter_slices(3), schemas.CHAINS, paths["chains.parquet"], tmp_path)
    return tmp_path / "table/chains.parquet"


@pytest.mark.parametrize("chunk", [1, 3, 5, 2**16])
def test_a_table_is_read_as_it_was_written_whatever_the_chunks(chunk, published, monkeypatch, tmp_path):
    monkeypatch.setattr(chunks, "CHUNK", chunk)
    read = list(chunks.read(published, schemas.CHAINS))
    assert max(map(len, read)) <= chunk
    assert pl.concat(read).equals(chains("abcdefgh"))
    schemas.write(chains("abcdefgh"), schemas.CHAINS, tmp_path / "whole.parquet")
    assert (tmp_path / "whole.parquet").read_bytes() == published.read_bytes()


def test_some_columns_and_no_rows(published, tmp_path):
    (chunk,) = chunks.of(published, ["question", "chain_id"])
    assert set(chunk.columns) == {"question", "chain_id"}
    schemas.write(chains(""), schemas.CHAINS, tmp_path / "empty.parquet")
    (empty,) = chunks.of(tmp_path / "empty.parquet")
    assert empty.equals(chains(""))


@pytest.mark.parametrize("keys", [["a", "b", "b"], ["b", "c", "a"]])
def test_chunks_out_of_order_are_refused(keys, tmp_path):
    with pytest.raises(UserError, match="E-SCHEMA"):
        chunks.write((chains([key]) for key in keys), schemas.CHAINS, tmp_path / "chains.parquet", tmp_path)
    chains(keys).write_parquet(tmp_path / "chains.parquet")
    with pytest.raises(UserError, match="E-SCHEMA"):
        list(chunks.in_order(chunks.of(tmp_path / "chains.parquet"), schemas.CHAINS, "chains.parquet"))


def test_a_damaged_table_is_refused_before_its_first_chunk(published):
    published.write_bytes(published.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="E-CORRUPT"):
        chunks.read(published, schemas.CHAINS)
