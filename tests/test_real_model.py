"""The embedded 135M model: a few steps of training beat the untrained model, on tools that were not trained on."""

import json
from pathlib import Path

import polars as pl
import pytest
import torch

from metatoolagent import params
from metatoolagent.catalog.ingest import ingest
from metatoolagent.evaluation import metrics, predicting
from metatoolagent.meta import training
from metatoolagent.models import backbone
from metatoolagent.tasks import meta_tasks, splits

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory, monkeypatch_module) -> Path:
    """The embedded backbone, fetched and converted."""
    monkeypatch_module.chdir(ROOT)
    folder = tmp_path_factory.mktemp("backbone")
    backbone.build(params.load(ROOT / "params.yaml").backbone, folder)
    return folder


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_a_few_steps_beat_the_untrained_model(embedded, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    committed = params.load(ROOT / "params.yaml")
    catalog, parts, tasks = tmp_path / "catalog", tmp_path / "parts", tmp_path / "tasks"
    ingest(committed.ingest, catalog)
    splits.split(catalog, "cd", committed.split, 0, parts)
    meta = committed.meta_tasks.model_copy(update={"count": 32, "tasks_per_pack": 6})
    evaluation = committed.eval_tasks.model_copy(update={"count": 84, "part": "validation"})
    meta_tasks.materialize(parts, catalog, "cd", 2, 0, meta, evaluation, tasks)
    train = committed.train.model_copy(update={"loss": "answer", "learning_rate": 0.003, "meta_batch": 1})
    adapter = tmp_path / "mta/adapter"
    training.train(
        training.Job(
            "mta",
            0,
            committed.backbone,
            committed.adapter,
            train,
            committed.mta,
            tasks / "meta_tasks.parquet",
            catalog,
            embedded,
            adapter,
            tmp_path / "work",
        )
    )
    log = pl.read_csv(adapter / "train_log.csv")
    assert log["loss"].tail(4).mean() < log["loss"].head(4).mean() / 2
    for method, lora, weights in (("base", None, None), ("mta", committed.adapter, adapter)):
        predicting.evaluate(
            predicting.Job(
                method,
                committed.backbone,
                lora,
                committed.evaluate.model_copy(update={"max_new_tokens": 4}),
                tasks / "eval_tasks.parquet",
                catalog,
                embedded,
                weights,
                tmp_path / method,
            )
        )
    files = {method: [tmp_path / method / "predictions.parquet"] for method in ("base", "mta")}
    metrics.measure("cd", files, 1000, 0, tmp_path / "metrics")
    found = json.loads((tmp_path / "metrics/metrics.json").read_text())
    torch.set_num_threads(before)
    frames = {method: pl.read_parquet(tmp_path / method / "predictions.parquet") for method in ("base", "mta")}
    gold = {method: frame["log_probabilities"].list.get(frame["position"]) for method, frame in frames.items()}
    assert ((gold["mta"] - gold["base"]) > 3).mean() > 0.9  # nats, for the right name, on tools that were not trained on
    assert found["cd.mta.invalid"] < found["cd.base.invalid"] - 0.3
    assert found["cd.mta_vs_base.free.all.low"] > 0
