import polars as pl
import pytest

from metatoolagent import artifacts
from metatoolagent.catalog import schemas
from metatoolagent.errors import UserError

TABLES = [
    schemas.TOOLS,
    schemas.QUESTIONS,
    schemas.REJECTED,
    schemas.PUBLISHED,
    schemas.EXCLUDED,
    schemas.TOOL_PARTS,
    schemas.QUESTION_PARTS,
    schemas.META_TASKS,
    schemas.EVAL_TASKS,
    schemas.UNUSED_QUESTIONS,
]
PARTS = pl.DataFrame({"name": ["ab", "b", "a"], "domain": ["x", "x", "y"], "part": ["train", "test", "validation"]})


def test_every_column_is_described():
    assert all(column.description for table in TABLES for column in table.columns.values())


def test_a_frame_as_described_passes():
    assert schemas.checked(PARTS, schemas.TOOL_PARTS, "here") is PARTS


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda frame: frame.drop("part"), "column_in_dataframe"),
        (lambda frame: frame.with_columns(extra=1), "column_in_schema"),
        (lambda frame: frame.select("domain", "name", "part"), "column_ordered"),
        (lambda frame: frame.with_columns(part=pl.lit("dev")), "isin"),
        (lambda frame: frame.with_columns(part=pl.lit(None, pl.String)), "not_nullable"),
        (lambda frame: frame.with_columns(domain=pl.lit("")), "str_length"),
        (lambda frame: frame.with_columns(name=pl.lit("a")), "field_uniqueness"),
        (lambda frame: frame.reverse(), "sorted"),
    ],
)
def test_a_frame_that_is_not_as_described_is_refused(change, told):
    with pytest.raises(UserError) as raised:
        schemas.checked(change(PARTS), schemas.TOOL_PARTS, "here")
    assert (raised.value.code, raised.value.exit_code) == ("E-SCHEMA", 66)
    assert told in raised.value.what
    assert raised.value.where.startswith("here")


def test_all_failures_are_told_at_once():
    wrong = PARTS.with_columns(domain=pl.lit(""), part=pl.lit("dev"))
    with pytest.raises(UserError) as raised:
        schemas.checked(wrong, schemas.TOOL_PARTS, "here")
    assert raised.value.more.startswith("5 further")


def test_a_table_is_verified_when_it_is_read(tmp_path):
    with artifacts.publishing(tmp_path, ["tools.parquet"], producer="test") as paths:
        schemas.write(PARTS, schemas.TOOL_PARTS, paths["tools.parquet"])
    assert schemas.read(tmp_path / "tools.parquet", schemas.TOOL_PARTS).equals(PARTS)
    with pytest.raises(UserError, match="E-SCHEMA"):
        schemas.read(tmp_path / "tools.parquet", schemas.TOOLS)
    raw = bytearray((tmp_path / "tools.parquet").read_bytes())
    raw[40] ^= 1
    (tmp_path / "tools.parquet").write_bytes(raw)
    with pytest.raises(UserError, match="E-CORRUPT"):
        schemas.read(tmp_path / "tools.parquet", schemas.TOOL_PARTS)
