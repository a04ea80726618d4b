import re

import polars as pl
import pytest
import vl_convert

from metatoolagent.artifacts import publishing
from metatoolagent.errors import UserError
from metatoolagent.evaluation.chain_metrics import of_chain, table
from metatoolagent.evaluation.statistics import mean_bootstrap
from metatoolagent.reporting.chains import FILES, figure, finding, metrics, report

BY_HAND = [
    # gold, chosen: order, set, prefix, step
    ("ab", "ab", (1, 1, 1, 1)),
    ("ab", "ba", (0, 1, 0, 0)),
    ("ab", "ac", (0, 0, 1 / 2, 1 / 2)),
    ("ab", "cb", (0, 0, 0, 1 / 2)),
    ("abc", "acb", (0, 1, 1 / 3, 1 / 3)),
    ("abc", "ab", (0, 0, 2 / 3, 2 / 3)),
    ("abc", "abb", (0, 0, 2 / 3, 2 / 3)),
    ("ab", "", (0, 0, 0, 0)),
]


@pytest.mark.parametrize(("gold", "chosen", "expected"), BY_HAND)
def test_measures_of_a_chain(gold, chosen, expected):
    found = [of_chain(name, list(gold), list(chosen)) for name in ("order", "set", "prefix", "step")]
    assert found == pytest.approx(expected)


@pytest.fixture
def predictions(tmp_path):
    """Publishes choices, the same for all ways, on chains of given parts."""

    def make(method, *choices, parts="ttttvt"):
        gold = ["ab", "ac", "bc", "bcd", "ab", "cab"][: len(choices)]
        rows = [
            {
                "task_id": f"chain-{number}",
                "part": {"t": "test", "v": "validation"}[part],
                "question": "Q",
                "candidates": list("abcde"),
                "gold": list(names),
                **{reading: list(chosen) for reading in ("scored", "free", "forced")},
            }
            for number, (names, chosen, part) in enumerate(zip(gold, choices, parts, strict=False))
        ]
        with publishing(tmp_path / method, ["chain_predictions.parquet"], producer="test") as paths:
            pl.DataFrame(rows).write_parquet(paths["chain_predictions.parquet"])
        return tmp_path / method / "chain_predictions.parquet"

    return make


RIGHT = ("ab", "ac", "bc", "bcd", "ab", "cab")
HALF = ("ab", "ca", "be", "bdc", "ba", "cab")


def value(made, chains, length, method, measure, against=None, reading="scored"):
    rows = made.filter(chains=chains, length=length, method=method, measure=measure, reading=reading)
    rows = rows.filter(pl.col("against").is_null() if against is None else pl.col("against") == against)
    return rows.row(0, named=True)


def test_the_table_has_each_measure_by_part_and_length(predictions):
    files = {"v": {"base": predictions("base", *HALF), "ft": predictions("ft", *RIGHT)}}
    made = table(files, 200, seed=0)
    # Test chains: ab right, ac reversed, bc half, bcd 1 of 3 and the set, cab right.
    assert value(made, "test", "all", "base", "order")["value"] == 2 / 5
    assert value(made, "test", "all", "base", "set")["value"] == 4 / 5
    assert value(made, "test", "all", "base", "prefix")["value"] == pytest.approx((1 + 0 + 1 / 2 + 1 / 3 + 1) / 5, abs=1e-4)
    forced = value(made, "test", "all", "base", "step", reading="forced")
    assert forced["value"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1) / 5, abs=1e-4)
    assert value(made, "test", "2", "base", "order") | {"low": 0, "high": 0} == {
        "variant": "v",
        "chains": "test",
        "length": "2",
        "method": "base",
        "against": None,
        "reading": "scored",
        "measure": "order",
        "n": 3,
        "value": 0.333333,
        "low": 0,
        "high": 0,
        "p": None,
        "p_holm": None,
    }
    assert (value(made, "test", "3", "base", "set")["n"], value(made, "test", "3", "base", "set")["value"]) == (2, 1)
    assert value(made, "unseen", "all", "base", "order")["value"] == pytest.approx(2 / 6, abs=1e-4)
    assert value(made, "unseen", "all", "base", "order")["n"] == 6
    row = value(made, "test", "all", "ft", "order", against="base")
    assert row["value"] == 3 / 5
    # Differences by first tool: a 1, b 2, c 0. Of the four signs of the first two, two sum to 3.
    assert row["p"] == row["p_holm"] == 2 / 4


def test_an_interval_holds_its_mean_and_takes_first_tools_as_clusters():
    import numpy as np

    same = mean_bootstrap([1 / 3] * 4, list("aabb"), 100, np.random.default_rng(0))
    assert (same.mean, same.low, same.high, same.n) == pytest.approx((1 / 3, 1 / 3, 1 / 3, 4))
    # One cluster is always drawn whole, so nothing varies.
    one = mean_bootstrap([0, 1, 1, 0], list("aaaa"), 100, np.random.default_rng(0))
    assert (one.low, one.high) == (0.5, 0.5)
    two = mean_bootstrap([0, 0, 1, 1], list("aabb"), 1000, np.random.default_rng(0))
    assert (two.low, two.mean, two.high) == (0, 0.5, 1)
    with pytest.raises(ValueError, match="there must be values"):
        mean_bootstrap([], [], 10, np.random.default_rng(0))


def test_methods_on_different_chains_are_not_compared(predictions):
    files = {"v": {"base": predictions("base", *HALF), "ft": predictions("ft", *RIGHT[:5])}}
    with pytest.raises(UserError, match="E-UNPAIRED"):
        table(files, 100, seed=0)


def test_the_report_tells_the_numbers_of_the_table(predictions, tmp_path):
    files = {"chains": {"base": predictions("base", *HALF), "ft": predictions("ft", *RIGHT)}}
    report(files, 200, 0, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*FILES, "manifest.json"}
    told = (tmp_path / "out/finding.md").read_text()
    assert "chains, 5 chains over test tools: base 40.0 % [" in told
    assert "In order, ft is the highest (+60.0 points [" in told
    assert "ft by length: 100.0 % [100.0, 100.0] of 3 chains of 2, 100.0 % [100.0, 100.0] of 2 chains of 3." in told
    flat = metrics(table(files, 200, seed=0))
    assert flat["chains.test.all.base.scored.set.value"] == 0.8
    assert flat["chains.test.all.ft_vs_base.scored.order.value"] == 0.6
    assert (tmp_path / "out/figure.png").read_bytes()[:4] == b"\x89PNG"


def test_a_difference_that_the_test_does_not_find_is_not_resolved(predictions):
    made = table({"chains": {"base": predictions("base", *HALF), "ft": predictions("ft", *RIGHT)}}, 200, seed=0)
    compared = pl.col("against").is_not_null()
    above = made.with_columns(
        low=pl.when(compared).then(0.2).otherwise("low"), high=pl.when(compared).then(1.0).otherwise("high")
    )
    # Two first tools are too few for any p-value below 0.05.
    assert "(+60.0 points [+20.0, +100.0] to base, p = 0.5, not resolved)" in finding(above)
    told = above.with_columns(p_holm=pl.when(compared).then(0.01))
    assert "(+60.0 points [+20.0, +100.0] to base, p = 0.01)" in finding(told)


def test_measures_are_told_apart_without_colour(predictions):
    drawn = vl_convert.vegalite_to_svg(figure(table({"v": {"ft": predictions("ft", *HALF)}}, 100, seed=0)).to_json())
    marks = re.findall(r'aria-label="[^"]*measure: (\w+)[^"]*"[^>]*aria-roledescription="point"[^>]* d="([^"]+)"', drawn)
    assert {measure for measure, _ in marks} == {"order", "set", "prefix"}
    assert len(set(dict(marks).values())) == 3


def test_no_method_is_told_to_be_the_highest_where_several_are(predictions, tmp_path):
    report({"v": {"base": predictions("base", *HALF), "ft": predictions("ft", *HALF)}}, 200, 0, tmp_path / "out")
    assert "In order, base, ft are the highest, and the same." in (tmp_path / "out/finding.md").read_text()


def test_methods_that_choose_alike_do_not_differ(predictions):
    files = {"v": {"base": predictions("base", *HALF), "ft": predictions("ft", *HALF)}}
    row = value(table(files, 100, seed=0), "test", "all", "ft", "order", against="base")
    assert (row["value"], row["p"], row["p_holm"]) == (0, 1, 1)
