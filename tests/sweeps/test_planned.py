"""What is planned of a sweep, and the key of params.yaml that is named where a point cannot be."""

from pathlib import Path

import pytest

from metatoolagent import params, variants
from metatoolagent.errors import UserError, shown
from metatoolagent.sweeps.runs import NAMES, planned

COMMIT = "4d14e384a4b037942bb3f3016665157c8bcb70ea"


@pytest.fixture
def config():
    return params.load(Path(__file__).parents[2] / "params.yaml").model_dump()


def test_every_override_of_every_sweep_comes_from_a_key_that_params_yaml_has(config, monkeypatch):
    asked, predictions = [], variants.predictions
    monkeypatch.setattr(variants, "predictions", lambda variant, *of: (asked.append(variant), predictions(variant, *of))[1])
    config["sweeps"]["caps"] = {"meta_tasks": 2, "eval_tasks": 3}
    for sweep in NAMES:
        planned(sweep, config)
    for variant in asked:
        # Which part is asked, and the split, are the sweep's own.
        for key in variant.overrides.keys() - {variants.SPLIT, "eval_tasks.part"}:
            assert variants.value_of(config, variant.named(key)) is not None
            assert variant.named(key).startswith("sweeps."), (variant.sweep, key)


@pytest.mark.parametrize(
    ("sweep", "section", "key", "value", "named"),
    [
        ("sensitivity", "sweeps.sensitivity", "tasks", [40000], "sweeps.sensitivity.tasks"),
        ("queries", "sweeps.queries", "query_tasks", [10**9], "sweeps.queries.query_tasks"),
        ("compare", "mta", "learn_inner_lr", True, "sweeps.compare.hypergradients"),
        ("search", "mta", "learn_inner_lr", True, "sweeps.search.hypergradient"),
    ],
)
def test_a_point_that_params_yaml_does_not_allow_is_named_by_the_key_of_the_sweep(config, sweep, section, key, value, named):
    variants.value_of(config, section)[key] = value
    with pytest.raises(UserError) as raised:
        planned(sweep, config)
    assert (raised.value.code, raised.value.exit_code) == ("E-PARAMS", 64)
    assert raised.value.where.endswith(f"from key {named}") and f"change {named}," in raised.value.fix


@pytest.mark.parametrize("source", ["no/such/folder", "some/model", "no-such-folder", f"a/b/c@{COMMIT}", "x" * 300, ""])
def test_a_rung_that_no_backbone_can_be_made_for_stops_the_ladder_when_it_is_planned(config, source, tmp_path):
    config["sweeps"]["scale"]["sources"] = ["tiny", str(tmp_path), f"some/model@{COMMIT}"]
    assert planned("scale", config)
    config["sweeps"]["scale"]["sources"].insert(1, source)
    with pytest.raises(UserError) as raised:
        planned("scale", config)
    error = raised.value
    assert (error.code, error.exit_code, error.where) == ("E-PARAMS", 64, "key sweeps.scale.sources")
    assert error.got == shown(source) and "ORGANISATION/NAME@COMMIT" in error.fix


@pytest.mark.parametrize(("source", "most"), [("embedded", 30), ("tiny", 4)])
def test_more_layers_than_a_backbone_is_known_to_have_stop_the_ladder_when_it_is_planned(config, source, most):
    config["backbone"]["source"] = source
    config["sweeps"]["scale"]["layers"] = [most, 1, 0]
    assert planned("scale", config)
    config["sweeps"]["scale"]["layers"] = [1, most + 1, 500]
    with pytest.raises(UserError) as raised:
        planned("scale", config)
    assert (raised.value.code, raised.value.where) == ("E-PARAMS", "key sweeps.scale.layers")
    assert raised.value.got == f'"{most + 1}, 500"' and f"{source} has {most} layers" in raised.value.fix


def test_layers_of_a_backbone_that_is_not_looked_into_are_planned(config, tmp_path):
    config["backbone"]["source"] = str(tmp_path)
    config["sweeps"]["scale"]["layers"] = [500]
    assert planned("scale", config)


@pytest.mark.parametrize(
    ("sweep", "grid", "label", "rising"),
    [
        ("overlap", {"shares": [60, 0, 30, 60], "methods": ["bm25"]}, "overlap", ["0", "30", "60", "siblings"]),
        ("distractors", [10, 2, 5, 2], "training", [2, 5, 10]),
        ("distractors", [10, 2, 5, 2], "evaluation", [2, 5, 10]),
        ("scale", {"layers": [0, 20, 10], "sources": []}, "backbone", [f"embedded, {n} layers" for n in (10, 20, "all")]),
    ],
)
def test_a_grid_rises_in_whatever_order_it_is_written(config, sweep, grid, label, rising):
    config["sweeps"][sweep] = grid
    assert list(dict.fromkeys(run.labels[label] for run in planned(sweep, config))) == rising
