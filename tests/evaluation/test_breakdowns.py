import polars as pl
import pytest

from metatoolagent.artifacts import publishing, read_manifest
from metatoolagent.catalog.schemas import BREAKDOWNS, CONFUSIONS, read
from metatoolagent.errors import UserError
from metatoolagent.evaluation.breakdowns import FILES, UNSAID, confusions, described, measure, of_method, style
from whole_predictions import whole

TOOLS = pl.DataFrame({"name": ["a_b", "aB", "c"], "domain": ["x", "x", "y"]})
QUESTIONS = pl.DataFrame({"question_id": ["q0", "q1", "q2", "q3"], "kind": ["terse", "terse", None, "goal"]})
FRAME = pl.DataFrame(
    {
        "task_id": ["all-0", "all-1", "all-2", "all-3"],
        "pool": ["all"] * 4,
        "question_id": ["q0", "q1", "q2", "q3"],
        "candidates": [["a_b", "aB", "c"], ["a_b", "aB", "c"], ["aB", "c"], ["c", "aB"]],
        "gold": ["a_b", "a_b", "c", "c"],
        "position": pl.Series([0, 0, 1, 0], dtype=pl.Int16),
        "scored": ["a_b", "aB", "c", "c"],
        "free": [None, "aB", "aB", "c"],
        "outcome": ["cut", "wrong", "wrong", "right"],
    }
)


def accuracy(axis, reading):
    """Accuracy, tasks and tools by value, of the frame above."""
    found = of_method(described(FRAME, TOOLS, QUESTIONS), 100, 0)
    return {
        row["value"]: (row["accuracy"], row["n"], row["tools"])
        for row in found
        if (row["axis"], row["reading"]) == (axis, reading)
    }


@pytest.mark.parametrize(
    ("axis", "scored", "free"),
    [
        ("domain", {"x": (0.5, 2, 1), "y": (1.0, 2, 1)}, {"x": (0.0, 2, 1), "y": (0.5, 2, 1)}),
        (
            "kind",
            {"goal": (1.0, 1, 1), UNSAID: (1.0, 1, 1), "terse": (0.5, 2, 1)},
            {"goal": (1.0, 1, 1), UNSAID: (0.0, 1, 1), "terse": (0.0, 2, 1)},
        ),
        ("position", {"0": (0.666667, 3, 2), "1": (1.0, 1, 1)}, {"0": (0.333333, 3, 2), "1": (0.0, 1, 1)}),
        ("style", {"one word": (1.0, 2, 1), "snake_case": (0.5, 2, 1)}, {"one word": (0.5, 2, 1), "snake_case": (0.0, 2, 1)}),
        ("candidates", {"2": (1.0, 2, 1), "3": (0.5, 2, 1)}, {"2": (0.5, 2, 1), "3": (0.0, 2, 1)}),
    ],
)
def test_every_axis_by_hand(axis, scored, free):
    assert accuracy(axis, "scored") == scored
    assert accuracy(axis, "free") == free


def test_an_interval_holds_its_mean_and_one_cluster_without_variety_has_none():
    rows = list(of_method(described(FRAME, TOOLS, QUESTIONS), 100, 0))
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in rows)
    (sure,) = [row for row in rows if (row["axis"], row["value"], row["reading"]) == ("domain", "y", "scored")]
    assert (sure["low"], sure["high"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("perch", "one word"),
        ("sieve_v2", "snake_case"),
        ("getAnimeDetails", "camelCase"),
        ("LongWeekend", "PascalCase"),
        ("a-b", "kebab-case"),
        ("AirportApi_getAirport", "mixed"),
        ("preferred-routes_get", "mixed"),
    ],
)
def test_styles_of_names(name, expected):
    assert style(name) == expected


def test_confusions_by_hand():
    found = confusions(FRAME, TOOLS)
    counted = {
        (row["reading"], row["gold"], row["distractor"]): (row["offered"], row["selected"], row["siblings"])
        for row in found.iter_rows(named=True)
    }
    assert counted == {
        ("free", "a_b", "aB"): (2, 1, True),
        ("free", "a_b", "c"): (2, 0, False),
        ("free", "c", "aB"): (2, 1, False),
        ("scored", "a_b", "aB"): (2, 1, True),
        ("scored", "a_b", "c"): (2, 0, False),
        ("scored", "c", "aB"): (2, 0, False),
    }


@pytest.fixture
def inputs(tmp_path):
    """The catalog and the predictions above, published."""
    with publishing(tmp_path / "catalog", ["tools.parquet", "questions.parquet"], producer="ingest") as paths:
        TOOLS.write_parquet(paths["tools.parquet"])
        QUESTIONS.write_parquet(paths["questions.parquet"])
    for method in ("ft", "mta"):
        with publishing(tmp_path / method, ["predictions.parquet"], producer="evaluate") as paths:
            whole(FRAME).write_parquet(paths["predictions.parquet"])
    return {method: [tmp_path / method / "predictions.parquet"] for method in ("ft", "mta")}


def test_measure_publishes_both_tables_as_described_and_the_same_again(inputs, tmp_path):
    measure("cd", inputs, tmp_path / "catalog", 100, 0, tmp_path / "out")
    first, second = (tmp_path / "out" / name for name in FILES)
    assert set(read(first, BREAKDOWNS)["method"]) == {"ft", "mta"}
    assert set(read(second, CONFUSIONS)["split"]) == {"cd"}
    assert len(read_manifest(tmp_path / "out")["inputs"]) == 4
    before = first.read_bytes(), second.read_bytes()
    measure("cd", inputs, tmp_path / "catalog", 100, 0, tmp_path / "out")
    assert (first.read_bytes(), second.read_bytes()) == before


def test_methods_on_different_tasks_are_refused(inputs, tmp_path):
    with publishing(tmp_path / "other", ["predictions.parquet"], producer="evaluate") as paths:
        whole(FRAME.reverse()).write_parquet(paths["predictions.parquet"])
    with pytest.raises(UserError, match="E-UNPAIRED"):
        measure("cd", inputs | {"mta": [tmp_path / "other/predictions.parquet"]}, tmp_path / "catalog", 100, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_file_given_twice_is_refused(inputs, tmp_path):
    twice = {method: paths * 2 for method, paths in inputs.items()}
    with pytest.raises(UserError, match="E-REPEATED"):
        measure("cd", twice, tmp_path / "catalog", 100, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("other", [TOOLS.with_columns(name=pl.lit("x_") + pl.col("name")), TOOLS.head(2)])
def test_another_catalog_than_that_of_the_tasks_is_refused(inputs, tmp_path, other):
    with publishing(tmp_path / "other", ["tools.parquet", "questions.parquet"], producer="ingest") as paths:
        other.write_parquet(paths["tools.parquet"])
        QUESTIONS.write_parquet(paths["questions.parquet"])
    with pytest.raises(UserError, match="E-STALE") as raised:
        measure("cd", inputs, tmp_path / "other", 100, 0, tmp_path / "out")
    assert raised.value.where == str(tmp_path / "other")
    assert not (tmp_path / "out").exists()
