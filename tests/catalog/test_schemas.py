import polars as pl
import pytest

from metatoolagent import artifacts, columns
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
    schemas.PREDICTIONS,
    *schemas.PROBE_PREDICTIONS.values(),
]
PARTS = pl.DataFrame({"name": ["ab", "b", "a"], "domain": ["x", "x", "y"], "part": ["train", "test", "validation"]})


def test_every_column_is_described():
    assert all(column.description for table in TABLES for column in table.columns.values())


def test_a_frame_as_described_passes():
    assert schemas.checked(PARTS, schemas.TOOL_PARTS, "here") is PARTS


@pytest.mark.parametrize(
    "change", [lambda frame: frame.drop("part"), lambda frame: frame.with_columns(extra=1), lambda frame: frame.select("name")]
)
def test_another_table_is_refused_with_the_columns_that_it_has_and_should_have(change):
    with pytest.raises(UserError) as raised:
        schemas.checked(change(PARTS), schemas.TOOL_PARTS, "here")
    error = raised.value
    assert (error.code, error.where, error.exit_code) == ("E-SCHEMA", "here", 66)
    assert error.what == "not a table of the parts of tools"
    assert error.got == f'"columns {", ".join(change(PARTS).columns)}"'
    assert error.fix.endswith("with the columns name, domain, part")


@pytest.mark.parametrize(
    ("change", "told", "where"),
    [
        (lambda frame: frame.select("domain", "name", "part"), "a column is not in its place", "here"),
        (lambda frame: frame.with_columns(part=pl.lit("dev")), "isin", "here, column part, row 0"),
        (lambda frame: frame.with_columns(part=pl.lit(None, pl.String)), "a value is missing", "here, column part, row 0"),
        (lambda frame: frame.with_columns(domain=pl.lit("")), "str_length", "here, column domain, row 0"),
        (lambda frame: frame.with_columns(name=pl.lit("a")), "a value stands twice", "here, column name, row 0"),
        (lambda frame: frame.with_columns(domain=pl.lit(["x"])), "a column is not of type String", "here, column domain"),
        (lambda frame: frame.reverse(), "sorted", "here"),
    ],
)
def test_a_frame_that_is_not_as_described_is_refused(change, told, where):
    with pytest.raises(UserError) as raised:
        schemas.checked(change(PARTS), schemas.TOOL_PARTS, "here")
    assert (raised.value.code, raised.value.exit_code) == ("E-SCHEMA", 66)
    assert told in raised.value.what and raised.value.where == where
    assert raised.value.fix and "None" not in raised.value.where and "Error(" not in str(raised.value)


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
    with artifacts.publishing(tmp_path / "other", ["metrics.json"], producer="test") as paths:
        paths["metrics.json"].write_text("{}")
    with pytest.raises(UserError, match="no parquet file"):
        schemas.read(tmp_path / "other/metrics.json", schemas.TOOLS)
    raw = bytearray((tmp_path / "tools.parquet").read_bytes())
    raw[40] ^= 1
    (tmp_path / "tools.parquet").write_bytes(raw)
    with pytest.raises(UserError, match="E-CORRUPT"):
        schemas.read(tmp_path / "tools.parquet", schemas.TOOL_PARTS)


def test_the_columns_that_stages_without_the_dictionary_look_for_are_those_of_the_dictionary():
    for name in ("META_TASKS", "EVAL_TASKS", "INJECTED_TASKS"):
        assert list(getattr(columns, name)) == list(getattr(schemas, name).columns)
