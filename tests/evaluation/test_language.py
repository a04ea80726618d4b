"""An adapter is used as it was trained, or not at all."""

import json
from dataclasses import replace

import pytest

from metatoolagent.errors import Exit, UserError
from metatoolagent.evaluation import language
from model_fixtures import ADAPTER, published


@pytest.fixture
def trained(job, weights, tmp_path):
    """Makes a job with an adapter whose manifest has other facts than it should."""

    def make(**facts):
        folder = published(weights, tmp_path / "adapter", facts.pop("method", "mta"), job.model, **facts)
        return replace(job, method="mta", adapter=ADAPTER, weights=folder)

    return make


def test_an_adapter_loads_as_it_was_trained(trained, weights):
    loaded = language.adaptable(trained())[1]
    assert loaded.keys() == weights.keys() and all(loaded[name].equal(weights[name]) for name in weights)


@pytest.mark.parametrize(
    ("facts", "changed", "code", "told"),
    [
        ({"backbone": "0" * 64}, {}, "E-BASE-MISMATCH", "backbone"),
        ({"backbone": "0" * 64, "prompt": "0" * 64}, {}, "E-BASE-MISMATCH", "backbone"),  # other tokens, too
        ({"prompt": "0" * 64}, {}, "E-ADAPTER", "prompt"),
        ({"method": "channel"}, {}, "E-ADAPTER", 'method "channel", asked for "mta"'),
        ({"method": "channel", "prompt": "0" * 64}, {}, "E-ADAPTER", 'method "channel", asked for "mta"'),
        ({}, {"alpha": ADAPTER.alpha + 1}, "E-ADAPTER", f'alpha "{ADAPTER.alpha}", asked for "{ADAPTER.alpha + 1}"'),
        ({}, {"rank": ADAPTER.rank + 1}, "E-ADAPTER", f'rank "{ADAPTER.rank}", asked for "{ADAPTER.rank + 1}"'),
    ],
)
def test_an_adapter_that_was_trained_otherwise_is_refused(trained, facts, changed, code, told):
    job = trained(**facts)
    with pytest.raises(UserError) as raised:
        language.load(replace(job, adapter=ADAPTER.model_copy(update=changed)))
    assert (raised.value.code, raised.value.exit_code) == (code, Exit.ARTIFACT)
    assert told in raised.value.got and str(job.weights) in raised.value.where


def test_an_adapter_of_before_prompts_were_recorded_says_so(trained):
    job = trained()
    manifest = job.weights / "manifest.json"
    facts = json.loads(manifest.read_text(encoding="utf-8"))
    del facts["prompt"]
    manifest.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(UserError) as raised:
        language.load(job)
    assert 'prompt "of a version without lines of one form"' in raised.value.got
