"""Few-shot adaptation on the tiny model: it begins where the plain evaluation stands, and takes the inner loop's steps."""

import signal
from dataclasses import replace

import polars as pl
import pytest
import torch

from metatoolagent.artifacts import read_manifest
from metatoolagent.errors import UserError
from metatoolagent.evaluation import adapting, predicting
from metatoolagent.evaluation.language import adaptable
from metatoolagent.meta.losses import evaluate, gradient, leaves
from metatoolagent.tasks import splits
from metatoolagent.tasks.probes.stage import SUPPORT, TASKS, materialize_adaptation
from model_fixtures import ADAPTER, MTA, TRAIN, published

STEPS = [0, 1, 2]


@pytest.fixture(scope="module")
def drawn(catalog, committed, tmp_path_factory):
    """The tasks of the probe: two episodes, six questions to answer."""
    parts, out = tmp_path_factory.mktemp("parts"), tmp_path_factory.mktemp("probe")
    splits.split(catalog, "cd", committed.split, 0, parts)
    probes = committed.probes.model_copy(update={"count": 6, "shots": 1})
    materialize_adaptation(parts, 2, 0, committed.eval_tasks, probes, out)
    return out


@pytest.fixture
def adaptation(job, drawn, weights, tmp_path):
    """The probe of a trained method."""
    folder = published(weights, tmp_path / "adapter", "mta", job.model)
    trained = replace(job, method="mta", adapter=ADAPTER, weights=folder, tasks=drawn / TASKS)
    return adapting.Adaptation(trained, drawn / SUPPORT, TRAIN, MTA, STEPS)


def plain(job, tmp_path):
    """The predictions of the plain evaluation on the same tasks."""
    predicting.evaluate(replace(job, out=tmp_path / "plain"))
    return pl.read_parquet(tmp_path / "plain" / predicting.FILE)


def alike(first, second):
    """Make sure that two tables have the same selections, and the same scores but for rounding."""
    names = ["task_id", "question_id", "gold", "scored", "free", "free_text", "outcome"]
    assert first.select(names).equals(second.select(names))
    scores = [torch.tensor(table["log_probabilities"].to_list()) for table in (first, second)]
    assert torch.allclose(*scores, atol=1e-3)


def test_without_a_step_the_answers_are_those_of_the_plain_evaluation(adaptation, tmp_path):
    adapting.run(adaptation)
    found = pl.read_parquet(adaptation.job.out / predicting.FILE)
    assert found.group_by("steps").len().sort("steps").rows() == [(0, 6), (1, 6), (2, 6)]
    before, after = found.filter(steps=0), found.filter(steps=2)
    alike(before, plain(adaptation.job, tmp_path))
    assert not torch.allclose(*(torch.tensor(table["log_probabilities"].to_list()) for table in (before, after)), atol=1e-3)
    manifest = read_manifest(adaptation.job.out)
    assert manifest["method"] == "mta" and str(adaptation.support) in manifest["inputs"]


def test_a_fresh_adapter_begins_as_the_backbone_alone(adaptation, tmp_path):
    base = replace(adaptation.job, method="base", weights=None)
    adapting.run(replace(adaptation, job=base))
    found = pl.read_parquet(base.out / predicting.FILE)
    alike(found.filter(steps=0), plain(base, tmp_path))
    first, last = (found.filter(steps=steps)["log_probabilities"].to_list() for steps in (0, 2))
    assert first != last


def test_the_steps_are_plain_gradient_steps_on_the_support_pack(adaptation, drawn):
    language, phi = adaptable(adaptation.job)
    examples, _ = next(adapting.episodes(pl.read_parquet(drawn / SUPPORT), pl.read_parquet(drawn / TASKS)))
    theta_K = adapting.iterates(language, phi, examples, adaptation)
    assert len(theta_K) == 3
    pack = language.renderer.pack(examples.to_dicts(), gold_only=True)
    by_hand = phi
    for theta in theta_K:
        assert all(torch.allclose(theta[name], by_hand[name], atol=1e-6) for name in phi)
        point = leaves(by_hand)
        slope = gradient(evaluate(language.model, point, pack, TRAIN).loss, point)
        by_hand = {name: by_hand[name] - MTA.inner_lr * slope[name] for name in phi}


def test_each_task_is_answered_in_the_episode_of_its_tool(drawn):
    support, tasks = pl.read_parquet(drawn / SUPPORT), pl.read_parquet(drawn / TASKS)
    parts = list(adapting.episodes(support, tasks))
    assert sum(asked.height for _, asked in parts) == tasks.height
    for examples, asked in parts:
        assert set(asked["gold"]) <= set(examples["gold"])


@pytest.mark.usefixtures("handlers")
def test_a_paused_adaptation_goes_on_with_the_episode_that_comes_next(adaptation, tmp_path, monkeypatch):
    adapting.run(adaptation)
    expected, adapted = (adaptation.job.out / predicting.FILE).read_bytes(), []

    def counted(language, phi, examples, given, real=adapting.iterates):
        adapted.append(examples["meta_task"][0])
        if len(adapted) == 1:
            signal.raise_signal(signal.SIGTERM)
        return real(language, phi, examples, given)

    monkeypatch.setattr(adapting, "iterates", counted)
    kept = replace(adaptation, job=replace(adaptation.job, work=tmp_path / "work", out=tmp_path / "kept"))
    with pytest.raises(UserError, match="I-PAUSED"):
        adapting.run(kept)
    adapting.run(kept)
    assert len(adapted) == len(set(adapted)) == 2
    assert (kept.job.out / predicting.FILE).read_bytes() == expected
    # Other steps are other answers.
    adapting.run(replace(kept, steps=[0, 1]))
    assert len(adapted) == 4


def test_steps_into_infinity_end_with_one_error_and_no_output(adaptation):
    far = replace(adaptation, mta=MTA.model_copy(update={"inner_lr": 1e30}))
    with pytest.raises(UserError, match="E-NONFINITE") as raised:
        adapting.run(far)
    assert raised.value.fix == "lower mta.inner_lr"
    assert not (adaptation.job.out / predicting.FILE).exists()


def test_tasks_and_support_that_do_not_belong_together_are_refused(adaptation, materialized):
    tasks = materialized / "tasks/eval_tasks.parquet"
    with pytest.raises(UserError, match="E-SUPPORT") as raised:
        adapting.run(replace(adaptation, job=replace(adaptation.job, tasks=tasks)))
    assert str(tasks) in raised.value.where and str(adaptation.support) in raised.value.where
    with pytest.raises(UserError, match="not a table of meta-tasks"):
        adapting.run(replace(adaptation, support=adaptation.job.tasks))
    assert not adaptation.job.out.exists()
