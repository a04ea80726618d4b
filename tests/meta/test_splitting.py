"""Out of memory, injected: packs in parts give the same losses, gradients and Hessian-vector products."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from metatoolagent.errors import UserError
from metatoolagent.meta import training
from metatoolagent.meta.job import Job
from metatoolagent.meta.losses import evaluate
from metatoolagent.meta.splitting import evaluate_in_parts, is_out_of_memory
from model_fixtures import ADAPTER, BACKBONE, MTA, TRAIN, close, random_channel, random_pack
from saved import saved_bytes

CPU = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


@pytest.fixture
def loss(adapted):
    """The loss of a pack under LoRA tensors."""
    return lambda weights, pack: evaluate(adapted, weights, pack, TRAIN)


@pytest.fixture
def job(tiny, catalog, materialized, tmp_path):
    """A short run of fine-tuning."""
    tasks = materialized / "meta_tasks/meta_tasks.parquet"
    return Job("ft", 0, BACKBONE, ADAPTER, TRAIN, None, tasks, catalog, tiny, tmp_path / "out", tmp_path / "work")


def derivatives(outcome, theta):
    """Losses, gradient, and the product of the Hessian with a vector."""
    slope = torch.autograd.grad(outcome.loss, list(theta.values()), create_graph=True)
    generator = torch.Generator().manual_seed(7)
    product = sum((value * torch.randn(value.shape, generator=generator)).sum() for value in slope)
    return [outcome.loss_Q, *slope, *torch.autograd.grad(product, list(theta.values()))]


@pytest.mark.parametrize("pack", [random_pack(5, 3), random_channel(5, 3)], ids=["names", "channel"])
@pytest.mark.parametrize("parts", [2, 3, 9])
def test_parts_give_the_losses_gradients_and_hessian_products_of_the_whole(parts, pack, loss, weights):
    theta = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    whole = loss(theta, pack)
    pieces = evaluate_in_parts(loss, theta, pack, parts)
    assert torch.equal(whole.right_Q, pieces.right_Q)
    expected = derivatives(whole, theta)
    for found, value in zip(derivatives(pieces, theta), expected, strict=True):
        assert close(found.detach(), value.detach(), 1e-4)
    assert close(pieces.loss_Q.detach(), whole.loss_Q.detach(), 1e-5)


def test_parts_keep_no_activations(loss, weights):
    pack = random_pack(8, 3)
    theta = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    assert saved_bytes(lambda: evaluate_in_parts(loss, theta, pack, 2)) < 0.2 * saved_bytes(lambda: loss(theta, pack))


@pytest.mark.parametrize(
    "message",
    [CPU, "CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"],
)
def test_a_lack_of_memory_has_many_names(message):
    assert is_out_of_memory(RuntimeError(message))
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))


@pytest.mark.parametrize(
    ("error", "mta"), [(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB."), MTA), (RuntimeError(CPU), None)]
)
def test_out_of_memory_goes_on_in_parts_to_the_same_result(error, mta, job, monkeypatch, capsys):
    """One update of six meta-tasks, whose mean gradient is in the optimizer's first moment."""
    one = TRAIN.model_copy(update={"meta_batch": 6})
    job = replace(job, method="mta" if mta else "ft", mta=mta, train=one)
    training.train(replace(job, work=job.work / "whole"))
    real = training.evaluate

    def scarce(model, weights, pack, train):
        if len(pack.gold_Q) > 1:
            raise error
        return real(model, weights, pack, train)

    capsys.readouterr()
    monkeypatch.setattr(training, "evaluate", scarce)
    training.train(replace(job, work=job.work / "parts"))
    assert capsys.readouterr().err.count("warning[W-OOM] out of memory at update 1: from here on packs are computed in 2") == 1
    whole, parts = (load_file(next(job.work.glob(f"{name}/*/step-000001/*.safetensors"))) for name in ("whole", "parts"))
    moments = [name for name in whole if name.startswith("exp_avg/")]
    scale = max(whole[name].abs().max() for name in moments)
    assert all((parts[name] - whole[name]).abs().max() <= 1e-5 * scale for name in moments)


def test_a_run_in_parts_that_is_killed_goes_on_in_parts_to_the_same_bytes(job, monkeypatch, capsys):
    """Memory is short from the third update on, in a run that checkpoints after every one; then there is plenty again."""
    job = replace(job, train=TRAIN.model_copy(update={"checkpoint_every": 1}))
    real, apply = training.evaluate, training.Trainer._apply
    short = []

    def scarce(model, weights, pack, train):
        if short and len(pack.gold_Q) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return real(model, weights, pack, train)

    def until(last):
        def one(trainer, *given):
            if trainer.update == last:
                raise KeyboardInterrupt
            short[:] = [True] if trainer.update == 2 else []
            return apply(trainer, *given)

        return one

    monkeypatch.setattr(training, "evaluate", scarce)
    monkeypatch.setattr(training.Trainer, "_apply", until(None))
    straight = replace(job, out=job.out / "straight", work=job.work / "straight")
    training.train(straight)
    monkeypatch.setattr(training.Trainer, "_apply", until(4))
    with pytest.raises(KeyboardInterrupt):
        training.train(job)
    monkeypatch.setattr(training.Trainer, "_apply", until(None))
    capsys.readouterr()
    training.train(job)
    assert "W-OOM" not in capsys.readouterr().err
    for name in training.FILES:
        assert (job.out / name).read_bytes() == (straight.out / name).read_bytes()


def test_what_cannot_be_divided_ends_with_the_params_to_lower(job, monkeypatch):
    def none_left(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")

    monkeypatch.setattr(training, "evaluate", none_left)
    with pytest.raises(UserError, match="E-OOM") as raised:
        training.train(job)
    assert raised.value.exit_code == 64
    assert "at update 1 for one question at a time" in raised.value.what
    assert "a pack of 2 questions" in raised.value.where
    assert "lower distractors" in raised.value.fix
    assert not job.out.exists()


def test_other_errors_of_torch_are_not_taken_for_a_lack_of_memory(job, monkeypatch):
    def broken(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(training, "evaluate", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        training.train(job)
