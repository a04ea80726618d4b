import base64
import json
import shutil

import polars as pl
import pytest

from metatoolagent.errors import UserError
from metatoolagent.look import MARKS
from metatoolagent.reporting import programme
from metatoolagent.sweeps import runs


def test_every_target_has_its_title():
    assert set(programme.TITLES) == {*runs.NAMES, "multi_tool"}


def test_the_table_has_the_rows_of_the_paragraph_and_the_differences_last(swept):
    outcome = programme.read("distractors", swept)
    assert outcome.columns == ["training", "evaluation", "method"]
    assert [row["names"] for row in outcome.rows[:2]] == [["2", "2", "ft"], ["2", "2", "mta"]]
    assert outcome.rows[0] == {"names": ["2", "2", "ft"], "value": "50.0", "interval": "40.0 to 60.0", "p": "", "n": 50}
    assert outcome.rows[-1] == {
        "names": ["5", "5", "mta − ft"],
        "value": "+10.0",
        "interval": "+0.0 to +20.0",
        "p": "0.2500",
        "n": 50,
    }


def test_other_pools_readings_and_seeds_stay_in_the_file():
    common = {"method": "ft", "against": None, "n": 1, "value": 0.5}
    rows = [common | {"pool": pool, "reading": reading, "seed": seed} for pool, reading, seed in HEADED]
    assert programme.headline(pl.DataFrame(rows, schema_overrides={"against": pl.String})).to_dicts() == [common]


HEADED = [("all", "scored", "all"), ("unseen", "scored", "all"), ("all", "free", "all"), ("all", "scored", "0")]


def test_a_method_has_the_colour_that_it_has_in_every_figure():
    rows = [{"method": "mta"}, {"method": "ft"}]
    drawn = {"datasets": {"a": rows}, "layer": [{"encoding": {"color": {"field": "method"}, "y": {"field": "value"}}}]}
    found = programme.marked(drawn)
    assert found["layer"][0]["encoding"]["color"]["scale"] == {
        "domain": ["mta", "ft"],
        "range": [MARKS["mta"][0], MARKS["ft"][0]],
    }
    assert found["datasets"] == {"a": rows} and found["layer"][0]["encoding"]["y"] == {"field": "value"}


def test_what_is_coloured_by_something_else_or_has_no_mark_stays_as_it_is():
    for rows, field in (([{"method": "mta"}], "training"), ([{"method": "exact"}], "method")):
        drawn = {"datasets": {"a": rows}, "encoding": {"color": {"field": field}}}
        assert programme.marked(drawn) == drawn


def test_the_figure_is_an_svg_in_the_page(swept):
    kind, _, content = programme.image(json.loads((swept / "figure.json").read_text())).partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(content).decode().startswith("<svg")


def test_the_folder_of_another_target_is_refused(swept, tmp_path):
    shutil.copytree(swept, tmp_path / "multi_tool")
    for name, folder in (("scale", swept), ("multi_tool", tmp_path / "multi_tool")):
        with pytest.raises(UserError, match="E-PROGRAMME") as raised:
            programme.read(name, folder)
        assert raised.value.exit_code == 64 and str(folder) in raised.value.where
    with pytest.raises(UserError, match="E-MISSING"):
        programme.read("distractors", tmp_path)
