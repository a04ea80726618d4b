"""The estimate of memory, against what autograd really keeps; and what is told of it."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from metatoolagent.errors import UserError
from metatoolagent.meta import available, memory, training
from metatoolagent.meta.job import Job
from metatoolagent.meta.losses import evaluate
from metatoolagent.meta.products import double_backward
from metatoolagent.models import adapter, backbone
from metatoolagent.models.recomputation import recompute_layers
from model_fixtures import ADAPTER, BACKBONE, MTA, TRAIN, random_channel, random_pack, random_weights
from saved import saved_bytes

ALL = ADAPTER.model_copy(update={"targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]})


@pytest.fixture
def job(tiny, catalog, materialized, tmp_path):
    tasks = materialized / "meta_tasks/meta_tasks.parquet"
    return Job("mta", 0, BACKBONE, ADAPTER, TRAIN, MTA, tasks, catalog, tiny, tmp_path / "out", tmp_path / "work")


@pytest.mark.parametrize(("tasks", "candidates"), [(2, 12), (16, 2)])
def test_the_formula_gives_what_autograd_keeps(tasks, candidates, adapted, weights):
    pack = random_pack(tasks, candidates)
    theta = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    measured = saved_bytes(lambda: evaluate(adapted, theta, pack, TRAIN))
    shape = memory.Shape(adapted.config, pack, 4)
    assert shape.kept(ADAPTER, recompute=False) + shape.logits(4) == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("recompute", [False, True])
def test_the_formula_gives_what_a_gradient_keeps_that_is_differentiated_again(recompute, tiny):
    model = adapter.attach(backbone.load(tiny, BACKBONE), ADAPTER)
    if recompute:
        recompute_layers(model)
    weights, pack = random_weights(model, 0), random_pack(8, 6)
    theta = {name: tensor.requires_grad_() for name, tensor in weights.items()}

    def loss(point, pack):
        return evaluate(model, point, pack, TRAIN)

    measured = saved_bytes(lambda: double_backward(loss, theta, pack, {name: torch.ones_like(theta[name]) for name in theta}, {}))
    shape = memory.Shape(model.config, pack, 4)
    expected = memory.TWICE * (shape.kept(ADAPTER, recompute=False) + shape.logits(4))
    assert expected == pytest.approx(measured, rel=0.15)


def test_the_trees_of_a_channel_pack_wait_for_each_other(adapted, weights):
    pack = random_channel(8, 6)
    theta = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    measured = saved_bytes(lambda: evaluate(adapted, theta, pack, TRAIN))
    shapes = [memory.Shape(adapted.config, tree, 4) for tree in pack.trees]
    expected = sum(shape.kept(ADAPTER, recompute=False) + shape.logits(4) for shape in shapes)
    assert expected == pytest.approx(measured, rel=0.15)


def test_recomputation_more_packs_and_more_steps_move_the_estimate(job, adapted):
    def total(job, query_packs=1):
        return sum(memory.estimate(job, adapted, random_pack(8, 6), query_packs, 0).values())

    def changed(section, **changes):
        return Job(**{**vars(job), section: getattr(job, section).model_copy(update=changes)})

    assert total(changed("train", activation_checkpointing=True)) < total(job)
    assert total(job, 2) > total(job) > total(Job(**{**vars(job), "mta": None}))
    assert total(changed("mta", inner_steps=50)) > total(job)
    exact = changed("mta", hypergradient="exact", product="double_backward")
    assert total(exact) > total(job) == total(changed("mta", hypergradient="exact", product="finite_difference"))
    shares = memory.estimate(exact, adapted, random_pack(8, 6), 1, 0)
    assert "finite_difference" in memory.FIXES[max(memory.FIXES, key=lambda name: shares.get(name, 0))]


def test_a_run_that_does_not_fit_is_refused_before_it_computes(job, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: -(2**40))
    monkeypatch.setattr(training, "evaluate", None)
    with pytest.raises(UserError, match="E-MEMORY") as raised:
        training.train(job)
    assert raised.value.exit_code == 64
    assert "most are activations" in raised.value.what
    assert "train.activation_checkpointing" in raised.value.fix
    assert "logits" in raised.value.got
    assert not job.out.exists()


def test_an_adapter_that_does_not_fit_is_refused_before_it_is_made(job, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: 2**30)
    monkeypatch.setattr(adapter, "initial", None)
    with pytest.raises(UserError, match="E-MEMORY") as raised:
        training.train(replace(job, adapter=ADAPTER.model_copy(update={"rank": 10**5})))
    assert "most are adapter" in raised.value.what
    assert raised.value.fix == "lower adapter.rank"
    assert "backbone 0.00," in raised.value.got


def test_a_run_that_has_ended_is_published_again_whatever_memory_there_is(job, monkeypatch):
    training.train(job)
    monkeypatch.setattr(memory, "available", lambda device: -(2**40))
    training.train(replace(job, out=job.out.with_name("again")))
    assert (job.out.with_name("again") / adapter.WEIGHTS).read_bytes() == (job.out / adapter.WEIGHTS).read_bytes()


def test_the_backbone_is_told_without_what_stands_for_the_adapter_in_it(job, adapted, model):
    shares = memory.estimate(job, adapted, random_pack(8, 6), 1, 0)
    assert shares["backbone"] == 4 * sum(tensor.numel() for tensor in model.parameters())
    assert shares["adapter"] == 6 * 4 * sum(tensor.numel() for name, tensor in adapted.named_parameters() if "lora_" in name)


def test_processes_of_one_machine_share_its_memory(job, adapted, monkeypatch):
    """Twice what one needs is enough for two of them, and not for three."""
    needed = 10**13  # beside which what this process of the tests takes already is nothing
    monkeypatch.setattr(memory, "available", lambda device: int(2.1 * needed))
    for processes, fits in (("2", True), ("3", False)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        asked = memory.Memory()
        asked.program = needed
        if fits:
            assert asked.require(job, adapted, random_pack(8, 6), 1)
        else:
            with pytest.raises(UserError, match="E-MEMORY"):
                asked.require(job, adapted, random_pack(8, 6), 1)


def test_estimate_and_peak_are_told(job, capsys):
    training.train(job)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("memory: ")]
    assert len(told) == 2
    assert told[0].startswith("memory: about ")
    assert "GiB expected (program " in told[0]
    assert told[1].startswith("memory: peak ")


@pytest.mark.parametrize(
    ("groups", "files", "left"),
    [
        (
            "0::/job/step\n",
            {"job/memory.max": "1000", "job/memory.current": "400", "job/memory.stat": "inactive_file 50\n"},
            [650],
        ),
        ("0::/\n", {"memory.max": "max", "memory.current": "400", "memory.stat": ""}, []),
        (
            "9:memory:/job\n",
            {
                "memory/job/memory.limit_in_bytes": "1000",
                "memory/job/memory.usage_in_bytes": "300",
                "memory/job/memory.stat": "total_inactive_file 100\n",
            },
            [800],
        ),
    ],
)
def test_control_groups_limit_what_is_available(groups, files, left, tmp_path):
    (tmp_path / "own").write_text(groups)
    for name, content in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(content)
    assert available.control_groups(tmp_path / "root", tmp_path / "own") == left


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process has only what it took itself")
def test_the_peak_is_the_programs_own_and_not_of_the_process_that_started_it(tmp_path):
    """A parent of 1.5 GiB starts a training: a notebook, a test."""
    child = "import torch; from metatoolagent.meta.memory import Memory; print(Memory().peak())"
    parent = f"import subprocess, sys; kept = b'x' * (3 << 29); subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    environment = {**os.environ, "PYTHONPATH": str(Path(memory.__file__).parents[2])}
    said = subprocess.run([sys.executable, "-c", parent], env=environment, capture_output=True, text=True, check=True).stdout
    assert 2**26 < int(said) < 2**30
