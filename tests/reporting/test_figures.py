import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest

from metatoolagent.errors import UserError
from metatoolagent.look import MARKS
from metatoolagent.params import OF_METHOD
from metatoolagent.reporting import figures, page

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def measured(results, drawn):
    logs = {method: results / method / "adapter" / "train_log.csv" for method in ("ft", "mta")}
    return figures.load(figures.Sources([results / "metrics.json"], [results / "breakdowns"], logs), 2)


def test_the_rules_the_captions_and_the_page_have_every_figure(measured):
    names = list(figures.draw(measured))
    rule = re.search(r"FIGURES = \[(.*?)\]", (ROOT / "workflow/rules/page.smk").read_text(), re.S)[1]
    assert re.findall(r'"(\w+)"', rule) == names
    assert all((ROOT / f"workflow/report/{name}.rst").read_text().strip() for name in names)
    assert ["accuracy", *(name for section in page.SECTIONS.values() for name in section)] == names


def test_every_method_has_a_mark_of_its_own():
    assert list(MARKS) == list(OF_METHOD)
    assert len({colour for colour, _ in MARKS.values()}) == len({shape for _, shape in MARKS.values()}) == len(MARKS)


def luminance(colour):
    """Relative luminance of #rrggbb, after WCAG."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_trained_methods_keep_apart_in_greyscale():
    ft, masking, mta = (luminance(MARKS[name][0]) for name in ("ft", "masking", "mta"))
    for light, dark in ((ft, masking), (masking, mta)):
        assert (light + 0.05) / (dark + 0.05) > 1.8


def test_svg_and_csv_stand_beside_each_other_with_the_same_rows(drawn, measured):
    for name, figure in figures.draw(measured).items():
        assert ElementTree.parse(drawn / f"{name}.svg").getroot().tag.endswith("svg")
        with (drawn / f"{name}.csv").open() as file:
            assert (
                len(list(csv.DictReader(file)))
                == len(figure.rows)
                == len(json.loads((drawn / f"{name}.json").read_text())["rows"])
            )


def test_alternatives_say_the_numbers(measured):
    drawn = figures.draw(measured)
    assert "mta 75.0%" in drawn["accuracy"].alt and "ft 50.0%" in drawn["accuracy"].alt
    assert "ft from 2.50 at the first to 1.50 at the last of 2 updates" in drawn["training_loss"].alt


def test_one_number_of_candidates_is_said_in_a_sentence_and_two_are_drawn(measured):
    assert "3 candidates" in figures.candidates(measured).sentence
    more = measured.accuracies.filter(axis="candidates").with_columns(value=pl.lit("11"))
    rows = figures.by_candidates(pl.concat([measured.accuracies, more]), None, 2)
    found = figures.candidates(replace(measured, candidates=rows))
    assert found.sentence == ""
    assert sorted(found.rows["candidates"].unique()) == [3, 11]


def test_places_and_numbers_of_candidates_stand_in_their_order(measured):
    one = measured.accuracies.filter(axis="position").head(1).drop("split", "pool", "reading", "method")
    one = one.with_columns(method=pl.lit("mta"), **{name: pl.lit(value) for name, value in figures.FIRST.items()})
    texts = sorted(str(place) for place in range(12))
    rows = pl.concat(one.with_columns(value=pl.lit(text)) for text in texts)
    found = figures.axis(replace(measured, accuracies=rows), "position", "By place")
    assert found.rows["value"].to_list() == [f"place {place}" for place in range(1, 13)]
    assert re.findall(r"place (\d+):", found.alt) == [str(place) for place in range(1, 13)]
    parted = figures.by_candidates(rows.with_columns(axis=pl.lit("candidates")), None, 2)
    drawn = figures.candidates(replace(measured, candidates=parted))
    assert re.findall(r"[.;] (\d+): mta", drawn.alt) == [str(number) for number in range(12)]


def test_the_sweep_over_distractors_draws_the_candidates_where_the_tasks_have_one_number(measured, swept):
    rows = figures.by_candidates(measured.accuracies, swept / "table.csv", 5)
    assert rows.select("split", "method", "candidates", "accuracy").rows() == [
        ("cd", "ft", 3, pytest.approx(0.5)),
        ("cd", "mta", 3, pytest.approx(0.6)),
        ("cd", "ft", 6, pytest.approx(0.2)),
        ("cd", "mta", 6, pytest.approx(0.3)),
    ]
    assert figures.candidates(replace(measured, candidates=rows)).sentence == ""
    # No run of the sweep has as many distractors in training as the main job.
    assert set(figures.by_candidates(measured.accuracies, swept / "table.csv", 10)["candidates"]) == {3}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (lambda results, probed: {"logs": {"ft": results / "ft/predictions.parquet"}}, "E-SCHEMA"),
        (lambda results, probed: {"logs": {"ft": results / "accuracies.csv"}}, "E-SCHEMA"),
        (lambda results, probed: {"sweep": results / "accuracies.csv"}, "E-SCHEMA"),
        (lambda results, probed: {"metrics": [results / "accuracies.csv"]}, "E-METRICS"),
        (lambda results, probed: {"metrics": [probed]}, "E-METRICS"),
    ],
)
def test_figures_of_another_file_are_one_error(results, swept, probed, changes, code):
    logs = {"ft": results / "ft/adapter/train_log.csv"}
    sources = figures.Sources([results / "metrics.json"], [results / "breakdowns"], logs, swept / "table.csv")
    figures.load(sources, 2)
    changed = changes(results, probed)
    with pytest.raises(UserError, match=code) as raised:
        figures.load(replace(sources, **changed), 2)
    assert raised.value.where in str(changed) and raised.value.fix


def test_the_chance_of_a_blind_guess_is_one_in_the_number_of_candidates(measured):
    assert set(figures.draw(measured)["accuracy"].rows["chance"]) == {0.3333}
