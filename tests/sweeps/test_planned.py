"""What is planned of a sweep, and the key of params.yaml that is named where a point cannot be."""

from pathlib import Path

import pytest

from metatoolagent import params, variants
from metatoolagent.errors import UserError
from metatoolagent.sweeps.runs import NAMES, planned


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
