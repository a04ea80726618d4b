"""The embedded 135M model: training beats the untrained model on new tools, and hypergradients are those of an unrolled graph."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from metatoolagent import params
from metatoolagent.artifacts import publishing
from metatoolagent.catalog.ingest import ingest
from metatoolagent.evaluation import metrics, predicting
from metatoolagent.meta.losses import evaluate
from metatoolagent.meta.objectives import MetaTask, meta_learning
from metatoolagent.models import adapter, backbone
from metatoolagent.tasks import eval_tasks, meta_tasks, splits
from model_fixtures import BACKBONE, MTA, random_pack
from unrolled import relative_error, unrolled

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


def trained_by_the_command(*arguments):
    """Train in a process of its own, whose memory is the run's alone, and return what it told."""
    command = [sys.executable, "-m", "metatoolagent", "train", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_its_layers_are_as_many_as_params_say(embedded):
    config = json.loads((embedded / "config.json").read_text(encoding="utf-8"))
    assert config["num_hidden_layers"] == params.LAYERS["embedded"]


def test_a_few_steps_beat_the_untrained_model(embedded, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # pytest's other worker has the other core, and two threads would wait for each other
    committed = params.load(ROOT / "params.yaml")
    catalog, parts, tasks = tmp_path / "catalog", tmp_path / "parts", tmp_path / "tasks"
    ingest(committed.ingest, catalog)
    splits.split(catalog, "cd", committed.split, 0, parts)
    meta = committed.meta_tasks.model_copy(update={"count": 24, "tasks_per_pack": 6, "documentation": 0.0})
    evaluation = committed.eval_tasks.model_copy(update={"count": 21, "part": "validation"})
    meta_tasks.materialize(parts, catalog, "cd", 2, 0, meta, tmp_path / "meta_tasks")
    eval_tasks.materialize(parts, catalog, "cd", 2, 0, evaluation, meta, tasks)
    asked = tmp_path / "asked"
    with publishing(asked, ["eval_tasks.parquet"], producer="test") as paths:  # one pool: nothing is said of the other
        pl.read_parquet(tasks / "eval_tasks.parquet").filter(pool="all").write_parquet(paths["eval_tasks.parquet"])
    train = committed.train.model_copy(update={"loss": "answer", "learning_rate": 0.003, "meta_batch": 1})
    trained = tmp_path / "mta/adapter"
    sections = {"backbone": committed.backbone, "adapter": committed.adapter, "train": train, "mta": committed.mta}
    given = json.dumps({"seed": 0} | {name: section.model_dump() for name, section in sections.items()})
    # fmt: off
    told = trained_by_the_command(
        "mta", "--tasks", tmp_path / "meta_tasks/meta_tasks.parquet", "--catalog", catalog, "--backbone", embedded,
        "--out", trained, "--work", tmp_path / "work", "--params", given,
    )
    # fmt: on
    peak, expected = map(float, re.search(r"peak ([\d.]+) GiB, ([\d.]+) GiB expected", told).groups())
    assert expected == pytest.approx(peak, rel=0.25)
    log = pl.read_csv(trained / "train_log.csv")
    assert log["loss"].tail(4).mean() < log["loss"][0] / 2  # the first is the untrained model's
    for method, lora, weights in (("base", None, None), ("mta", committed.adapter, trained)):
        predicting.evaluate(
            predicting.Job(
                method,
                committed.backbone,
                lora,
                committed.evaluate.model_copy(update={"max_new_tokens": 4}),
                asked / "eval_tasks.parquet",
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
    assert ((gold["mta"] - gold["base"]) > 1).mean() > 0.8  # nats, for the right name, on tools that were not trained on
    assert found["cd.mta.invalid"] < found["cd.base.invalid"] - 0.3
    assert found["cd.mta.free.all.accuracy"] > found["cd.base.free.all.accuracy"]


def test_the_exact_hypergradient_is_that_of_an_unrolled_graph(embedded):
    """In float32, on packs of random tokens: two inner steps, large enough that first_order would be far off."""
    committed = params.load(ROOT / "params.yaml")
    model = adapter.attach(backbone.load(embedded, BACKBONE), committed.adapter)
    generator = torch.Generator().manual_seed(0)
    phi = adapter.initial(model, generator)
    for name in phi:
        if "lora_B" in name:
            phi[name] = 0.01 * torch.randn(phi[name].shape, generator=generator)
    first, second, query = (random_pack(2, 3, seed=seed) for seed in range(3))
    task = MetaTask(0, [first, second], [query])

    def loss(weights, pack):
        return evaluate(model, weights, pack, committed.train)

    def found(**changes):
        return meta_learning(chosen.model_copy(update=changes))(loss, phi, task).gradient

    chosen = MTA.model_copy(
        update={"hypergradient": "exact", "inner_steps": 2, "inner_lr": 0.001, "optimistic": False, "early_stop": False}
    )
    expected = unrolled(loss, phi, task, chosen)
    assert relative_error(found(), expected) < 1e-4
    assert relative_error(found(product="finite_difference"), expected) < 5e-3
