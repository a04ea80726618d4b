import csv
import itertools
import math
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch

from metatoolagent import params
from metatoolagent.artifacts import canonical_json, publishing, read_manifest
from metatoolagent.errors import UserError
from metatoolagent.meta import checkpoints, inner_rates, training
from metatoolagent.meta.losses import Outcome
from metatoolagent.meta.training import Job
from metatoolagent.models import adapter, backbone, precision
from metatoolagent.tasks import meta_tasks, splits
from metatoolagent.tasks.abstention import NONE
from metatoolagent.tasks.prompts import read_template
from model_fixtures import ADAPTER, BACKBONE, MTA, SPOILT, TRAIN, run_cli, spoilt, tree

pytestmark = pytest.mark.usefixtures("handlers")

UPDATES = 6
KILLS = 10
RESUMED = [
    {"hypergradient": "first_order"},
    {"hypergradient": "exact", "product": "double_backward", "learn_inner_lr": True},
    {"hypergradient": "exact", "product": "finite_difference"},
    {"hypergradient": "reptile"},
]


@pytest.fixture
def job(tiny, catalog, materialized, tmp_path):
    """A short meta-learning run in folders of its own."""
    tasks = materialized / "meta_tasks/meta_tasks.parquet"
    return Job("mta", 0, BACKBONE, ADAPTER, TRAIN, MTA, tasks, catalog, tiny, tmp_path / "out", tmp_path / "work")


def test_a_run_of_dtype_auto_is_another_one_on_machines_of_another_kind(job, monkeypatch):
    auto, names = replace(job, backbone=BACKBONE.model_copy(update={"dtype": "auto"})), set()
    for faster in (True, False):
        monkeypatch.setattr(precision, "multiplies_bfloat16", lambda faster=faster: faster)
        names.add(auto.run_id())
    assert len(names) == 2


@pytest.fixture(scope="module")
def uninterrupted(tiny, catalog, materialized, tmp_path_factory):
    """The files of the run `job` and the seconds it takes, not interrupted."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    started = time.monotonic()
    training.train(
        Job(
            "mta",
            0,
            BACKBONE,
            ADAPTER,
            TRAIN,
            MTA,
            materialized / "meta_tasks/meta_tasks.parquet",
            catalog,
            tiny,
            folder / "out",
            folder / "work",
        )
    )
    return tree(folder / "out"), time.monotonic() - started


def command(job):
    """The command line of a run."""
    sections = {"backbone": job.backbone, "adapter": job.adapter, "train": job.train, "mta": job.mta}
    given = {"seed": job.seed, **{name: section.model_dump() for name, section in sections.items() if section}}
    places = {"tasks": job.tasks, "catalog": job.catalog, "backbone": job.model, "out": job.out, "work": job.work}
    options = [text for name, path in places.items() for text in (f"--{name}", str(path))]
    return ["train", job.method, *options, "--params", canonical_json(given)]


def start(job, dies_at=None):
    """Start `mta train` in a process of its own that has the imports behind it; its output goes beside `out`.

    Args:
        job: the run.
        dies_at: the call of the loss at which the process is killed; None for never.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["model_fixtures", "metatoolagent.meta.training"])
    process = context.Process(target=run, args=(command(job), str(job.out.parent / "said"), dies_at))
    process.start()
    return process


def run(arguments, said, dies_at):
    """Run the command line in this process, which is killed at a call of the loss, or ends by itself."""
    if dies_at is not None:
        real, calls = training.evaluate, itertools.count()
        training.evaluate = lambda *args: real(*args) if next(calls) < dies_at else os.kill(os.getpid(), signal.SIGKILL)
    run_cli(arguments, said)


def said(job):
    return (job.out.parent / "said").read_text(encoding="utf-8")


def log(job):
    with (job.out / training.LOG).open(encoding="utf-8") as file:
        return [{name: float(value) if value else None for name, value in row.items()} for row in csv.DictReader(file)]


def in_a_row(monkeypatch, change):
    """Pass what the loss gives through `change`, with the number of the call."""
    calls = iter(range(10**6))
    real = training.evaluate
    monkeypatch.setattr(training, "evaluate", lambda *args: change(next(calls), real(*args)))


@pytest.fixture
def same_task(materialized, tmp_path):
    """Meta-tasks that are all the same one, so that nothing but training moves the loss."""
    rows = pl.read_parquet(materialized / "meta_tasks/meta_tasks.parquet")
    first = rows.filter(pl.col("meta_task") == 0)
    repeated = pl.concat(
        [first.with_columns(pl.lit(index, rows.schema["meta_task"]).alias("meta_task")) for index in range(UPDATES)]
    )
    with publishing(tmp_path / "repeated", ["meta_tasks.parquet"], producer="materialize") as paths:
        repeated.write_parquet(paths["meta_tasks.parquet"])
    return tmp_path / "repeated" / "meta_tasks.parquet"


@pytest.mark.parametrize("method", ["ft", "mta"])
def test_the_loss_falls_and_the_log_tells_of_every_update(method, job, same_task):
    job = replace(job, method=method, mta=MTA if method == "mta" else None, tasks=same_task)
    training.train(job)
    rows = log(job)
    assert list(rows[0]) == list(training.LOG_COLUMNS)
    assert [row["update"] for row in rows] == list(range(1, UPDATES + 1))
    gains = [row.pop("gain") for row in rows]
    assert gains == [None] * UPDATES if method == "ft" else min(gains) >= 0  # the better of both iterates is taken
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert {row["selected"] for row in rows} <= ({0.0} if method == "ft" else {0.0, 1.0})
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    assert max(row["learning_rate"] for row in rows) == pytest.approx(TRAIN.learning_rate)


def test_a_backbone_with_nan_is_refused_before_the_first_update(job, tmp_path):
    with pytest.raises(UserError, match="E-NONFINITE-WEIGHT") as raised:
        training.train(replace(job, model=spoilt(job.model, tmp_path / "nan")))
    assert SPOILT in raised.value.got and not job.out.exists()


def test_another_table_than_meta_tasks_is_refused(job, materialized):
    tasks = materialized / "tasks/eval_tasks.parquet"
    with pytest.raises(UserError, match="not a table of meta-tasks") as raised:
        training.train(replace(job, tasks=tasks))
    assert raised.value.where == str(tasks) and not job.out.exists()


def test_what_is_published_can_be_loaded_and_names_its_origin(job, adapted, tiny):
    training.train(job)
    manifest = read_manifest(job.out)
    assert set(manifest["files"]) == set(training.FILES)
    assert (manifest["producer"], manifest["method"]) == ("train", "mta")
    assert manifest["prompt"] == read_template(backbone.load_tokenizer(tiny)).form(turns=False)
    assert manifest["backbone"] == read_manifest(tiny)["files"]["model.safetensors"]["sha256"]
    assert set(manifest["inputs"]) == {path.as_posix() for path in job.inputs()}
    start = adapter.initial(adapted, torch.Generator().manual_seed(job.seed))
    trained = adapter.load(job.out, start)
    assert not any(torch.equal(trained[name], start[name]) for name in start)


def test_the_same_run_gives_the_same_bytes(job, uninterrupted):
    training.train(job)
    assert tree(job.out) == uninterrupted[0]


def test_learned_rates_stand_in_the_manifest_and_in_checkpoints_but_not_in_the_adapter(job, uninterrupted, adapted):
    """They start at inner_lr and move; PEFT's files are the same as those of fixed rates, but for the numbers."""
    learned = replace(job, mta=MTA.model_copy(update={"learn_inner_lr": True, "hypergradient": "exact"}))
    training.train(learned)
    expected = adapter.initial(adapted, torch.Generator())
    rates = read_manifest(job.out)["inner_rates"]
    assert rates.keys() == expected.keys()
    assert all(rate != MTA.inner_lr for rate in rates.values())
    furthest = UPDATES * inner_rates.PACE * TRAIN.learning_rate
    assert all(abs(math.log(rate / MTA.inner_lr)) < furthest for rate in rates.values())
    assert max(abs(math.log(rate / MTA.inner_lr)) for rate in rates.values()) > UPDATES * TRAIN.learning_rate
    state = checkpoints.newest(learned.work / learned.run_id()).tensors
    assert {name: MTA.inner_lr * math.exp(state[f"phi/inner_rate.{name}"]) for name in expected} == pytest.approx(rates)
    adapter.load(job.out, expected)
    training.train(job)
    assert "inner_rates" not in read_manifest(job.out)
    assert tree(job.out) == uninterrupted[0]


MASKING = {"method": "masking", "mta": None, "masking": params.Masking(share=0.667)}


@pytest.mark.parametrize("changes", [{}, {"method": "channel", "mta": None}, MASKING], ids=["mta", "channel", "masking"])
def test_memory_is_estimated_for_a_pack_that_is_hardly_shorter_than_any(changes, job):
    """Text is counted, not tokens; what is counted is what the pack asks, under the names that it has."""
    job = replace(job, **changes)
    tasks = training.MetaTasks(job, backbone.load(job.model, job.backbone))
    read = [tasks.read(index) for index in range(tasks.count)]
    assert tasks.longest().tokens >= 0.95 * max(pack.tokens for task in read for pack in (*task.support, *task.query))


@pytest.mark.parametrize("changes", [{"seed": 1}, {"method": "ft", "mta": None}, MASKING])
def test_another_run_gives_others(job, uninterrupted, changes):
    other = replace(job, **changes)
    assert other.run_id() != job.run_id()
    training.train(other)
    assert (other.out / adapter.WEIGHTS).read_bytes() != uninterrupted[0][adapter.WEIGHTS]


def test_a_run_gives_a_sign_before_the_first_meta_task_and_after_each(job, monkeypatch):
    """One update may take longer than who waits for its lock has patience."""
    happened = []
    contribute = training.Trainer._contribute
    monkeypatch.setattr(training.Supervisor, "give_sign", lambda self: happened.append("sign"))
    monkeypatch.setattr(
        training.Trainer, "_contribute", lambda trainer, task: happened.append("task") or contribute(trainer, task)
    )
    training.train(replace(job, train=job.train.model_copy(update={"meta_batch": 3})))
    assert happened == ["sign", *(6 * ["task", "sign"])]


def test_the_same_training_for_another_folder_is_not_done_again(job, uninterrupted, tmp_path, monkeypatch):
    """Two sweeps have the same seed in common, each with a folder of its own."""
    training.train(job)
    shutil.copytree(job.tasks.parent, tmp_path / "sweep/meta_tasks")
    other = replace(job, tasks=tmp_path / "sweep/meta_tasks" / job.tasks.name, out=tmp_path / "sweep/mta/adapter")
    monkeypatch.setattr(training.Trainer, "_apply", lambda *_: pytest.fail("an update"))
    training.train(other)
    assert all((other.out / name).read_bytes() == uninterrupted[0][name] for name in training.FILES)
    assert set(read_manifest(other.out)["inputs"]) == {path.as_posix() for path in other.inputs()}


def test_masking_trains_as_ft_does_on_other_names_for_a_share_of_the_packs(job, monkeypatch):
    def tokens(job):
        seen = []
        with monkeypatch.context() as patched:
            real = training.evaluate
            patched.setattr(
                training,
                "evaluate",
                lambda model, weights, pack, train: seen.append(pack.target_A.tolist()) or real(model, weights, pack, train),
            )
            training.train(job)
        return seen

    ft = tokens(replace(job, method="ft", mta=None, out=job.out / "ft"))
    masking = replace(job, **MASKING, out=job.out / "masking")
    found = tokens(masking)
    assert len(found) == len(ft) == 2 * UPDATES
    assert sum(one != other for one, other in zip(found, ft, strict=True)) == round(0.667 * len(ft))
    assert len(log(masking)) == UPDATES
    assert read_manifest(masking.out)["method"] == "masking"


def test_masking_goes_on_after_a_pause_with_the_same_names(job, monkeypatch):
    whole = replace(job, **MASKING, out=job.out / "whole", work=job.work / "whole")
    training.train(whole)
    halved = replace(job, **MASKING, out=job.out / "halved", work=job.work / "halved")
    with monkeypatch.context() as patched:
        patched.setattr(training.Supervisor, "reason_to_pause", lambda self: "received SIGTERM")
        for _ in range(2):
            with pytest.raises(UserError, match="I-PAUSED"):
                training.train(halved)
    training.train(halved)
    assert tree(halved.out) == tree(whole.out)


def test_channel_trains_on_the_questions_that_documentation_stands_for_otherwise(job, monkeypatch):
    rows = pl.read_parquet(job.tasks)
    assert rows["documentation"].any()
    seen = []
    real = training.evaluate
    monkeypatch.setattr(
        training, "evaluate", lambda model, weights, pack, train: seen.append(pack) or real(model, weights, pack, train)
    )
    channel = replace(job, method="channel", mta=None, out=job.out / "channel")
    training.train(channel)
    catalog = pl.read_parquet(job.catalog / "questions.parquet")
    question = dict(catalog.select("question_id", "question").iter_rows())
    assert sum(len(pack.gold_Q) for pack in seen) == len(rows)
    tokenizer = backbone.load_tokenizer(job.model)
    for pack in seen:
        for one in pack.trees:
            parts = [one.target_A[one.branch_A == index].tolist() for index in range(len(one.task_ids))]
            assert [tokenizer.decode(part) for part in parts] == [question[name] for name in one.task_ids]
    assert read_manifest(channel.out)["method"] == "channel"
    assert len(log(channel)) == UPDATES


def test_channel_learns_what_it_is_trained_on(job):
    """Questions of the same meta-tasks, over and over: the share that is right rises above chance by far."""
    rows = pl.read_parquet(job.tasks).filter(pl.col("meta_task") == 0)
    repeated = pl.concat([rows.with_columns(meta_task=pl.lit(index, pl.Int32)) for index in range(30)])
    path = job.out.parent / "repeated/meta_tasks.parquet"
    with publishing(path.parent, (path.name,), producer="test", inputs=[]) as paths:
        repeated.write_parquet(paths[path.name])
    channel = replace(job, method="channel", mta=None, tasks=path, out=job.out / "channel")
    training.train(channel)
    falling = [row["loss"] for row in log(channel)]
    assert sum(falling[-5:]) / 5 < 0.5 * sum(falling[:5]) / 5


def test_meta_batches_average_meta_tasks(job, monkeypatch):
    """Four meta-tasks an update, and the two that are left: as many updates, each with the mean of their losses."""
    frozen = TRAIN.model_copy(update={"learning_rate": 1e-30})
    training.train(replace(job, train=frozen, out=job.out / "one"))
    training.train(replace(job, train=frozen.model_copy(update={"meta_batch": 4}), out=job.out / "four"))
    one, four = (log(replace(job, out=job.out / name)) for name in ("one", "four"))
    assert len(four) == math.ceil(UPDATES / 4)
    expected = [sum(row["loss"] for row in part) / len(part) for part in (one[:4], one[4:])]
    assert [row["loss"] for row in four] == pytest.approx(expected, abs=1e-5)


def test_a_meta_task_without_a_value_leaves_the_mean_to_the_others(job, monkeypatch):
    """As where its inner loop ended before the support set was read: an update of which one has no alignment logs the others'."""
    known = iter([0.5, None, 0.1, None, None, None])
    contribute = training.Trainer._contribute

    def partly(trainer, task):
        done = contribute(trainer, task)
        return replace(done, step=replace(done.step, alignment=next(known)))

    monkeypatch.setattr(training.Trainer, "_contribute", partly)
    training.train(replace(job, train=TRAIN.model_copy(update={"meta_batch": 3})))
    assert [row["alignment"] for row in log(job)] == [0.3, None]


def test_one_update_of_four_meta_tasks_has_the_mean_of_their_gradients(job, monkeypatch):
    gradients = []
    real = training.Outer.apply

    def apply(self, gradient, rate):
        gradients.append({name: tensor.clone() for name, tensor in gradient.items()})  # clipping writes into them
        return real(self, gradient, rate)

    monkeypatch.setattr(training.Outer, "apply", apply)
    frozen = TRAIN.model_copy(update={"learning_rate": 1e-30})
    training.train(replace(job, train=frozen, out=job.out / "one"))
    singles, gradients[:] = list(gradients), []
    training.train(replace(job, train=frozen.model_copy(update={"meta_batch": 4}), out=job.out / "four"))
    assert len(singles) == 6  # so the last update has the mean of two
    for gradient, part in zip(gradients, (singles[:4], singles[4:]), strict=True):
        for name, found in gradient.items():
            expected = sum(single[name] for single in part) / len(part)
            assert torch.allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_differences_of_numbers_too_coarse_for_them_are_refused_without_a_params_file_too(job):
    exact = MTA.model_copy(update={"hypergradient": "exact", "product": "finite_difference"})
    coarse = replace(job, mta=exact, backbone=job.backbone.model_copy(update={"dtype": "bfloat16"}))
    with pytest.raises(UserError, match=r"E-PARAMS.*bfloat16 rounds away") as raised:
        training.train(coarse)
    assert raised.value.exit_code == 64
    assert not job.work.exists()


def test_a_checkpoint_is_saved_after_a_minute_however_few_updates_were_done(job, monkeypatch):
    seldom = replace(job, train=TRAIN.model_copy(update={"checkpoint_every": 1000}))
    saved = []
    monkeypatch.setattr(training.checkpoints, "save", lambda folder, checkpoint: saved.append(checkpoint.update))
    training.train(replace(seldom, work=job.work / "quick"))
    assert saved == [UPDATES]
    monkeypatch.setattr(training, "LONGEST", -1.0)
    training.train(replace(seldom, work=job.work / "slow"))
    assert saved[1:] == list(range(1, UPDATES + 1))


def test_support_packs_that_no_inner_step_reads_are_told_of(job, capsys):
    rows = pl.read_parquet(job.tasks)
    second = rows.filter(role="support").with_columns(pack=pl.lit(1, pl.Int16))
    with publishing(job.out.parent / "two", ["meta_tasks.parquet"], producer="materialize") as paths:
        both = pl.concat([rows, second]).sort("meta_task", "role", "pack", "task", descending=[False, True, False, False])
        both.write_parquet(paths["meta_tasks.parquet"])
    job = replace(job, tasks=job.out.parent / "two/meta_tasks.parquet")
    training.train(job)
    assert "warning[W-SUPPORT] mta.inner_steps is 1, so 1 of the 2 support packs" in capsys.readouterr().err
    training.train(replace(job, mta=MTA.model_copy(update={"inner_steps": 2})))
    training.train(replace(job, method="ft", mta=None))
    assert "W-SUPPORT" not in capsys.readouterr().err


def test_how_often_it_is_saved_is_no_part_of_a_runs_name(job):
    often = replace(job, train=TRAIN.model_copy(update={"checkpoint_every": 1}))
    assert often.run_id() == job.run_id() != replace(job, train=TRAIN.model_copy(update={"warmup": 0.2})).run_id()


def test_killed_at_any_moment_the_same_command_gives_the_same_bytes(job, uninterrupted):
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    for _ in range(3):
        process = start(job)
        time.sleep(moments.uniform(0.1, 1.2 * uninterrupted[1]))
        process.kill()
        process.join()
    process = start(job)
    process.join()
    assert process.exitcode == 0, said(job)
    assert tree(job.out) == uninterrupted[0], f"moments drawn with seed {seed}"


@pytest.mark.parametrize("changes", RESUMED, ids=lambda changes: " ".join(map(str, changes.values())))
def test_killed_in_any_update_of_any_hypergradient_the_same_command_gives_the_same_bytes(changes, job, tmp_path, monkeypatch):
    """Ten kills a hypergradient, each at a call of the loss that was drawn among all of the run's."""
    job = replace(job, mta=MTA.model_copy(update={"inner_steps": 2, "early_stop": False, **changes}))
    straight = replace(job, out=tmp_path / "straight" / "out", work=tmp_path / "straight" / "work")
    calls, begun = [], []
    with monkeypatch.context() as patched:
        in_a_row(patched, lambda call, outcome: calls.append(call) or outcome)
        # Before the first update, and after each.
        patched.setattr(training.Supervisor, "give_sign", lambda self: begun.append(len(calls)))
        training.train(straight)
    seed = random.randrange(10**6)
    for moment in sorted(random.Random(seed).sample(calls, KILLS)):
        # In their order and from the last checkpoint on, so that each finds the run unfinished and computes little.
        saved = max((int(path.name.removeprefix("step-")) for path in job.work.glob("*/step-*")), default=0)
        process = start(job, dies_at=moment - begun[saved])
        process.join()
        assert process.exitcode == -signal.SIGKILL, said(job)
        assert not job.out.exists()
    training.train(job)
    assert tree(job.out) == tree(straight.out), f"moments drawn with seed {seed}"


def test_killed_after_a_checkpoint_it_goes_on_from_there(job, uninterrupted):
    process = start(job)
    run = job.work / job.run_id()
    while not list(run.glob("step-*")):
        assert process.is_alive(), said(job)
        time.sleep(0.002)
    process.kill()
    process.join()
    assert not (job.out / "manifest.json").exists()
    resumed = start(job)
    resumed.join()
    assert resumed.exitcode == 0, said(job)
    assert "going on after update" in said(job)
    assert tree(job.out) == uninterrupted[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_pauses_and_the_same_command_goes_on(number, job, uninterrupted):
    process = start(job)
    while not list(job.work.glob("*/step-*")):
        assert process.is_alive(), said(job)
        time.sleep(0.002)
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == 75, said(job)
    assert f"error[I-PAUSED] received {number.name}: paused after update " in said(job)
    assert "Traceback" not in said(job)
    assert not job.out.exists()
    training.train(job)
    assert tree(job.out) == uninterrupted[0]


def test_the_command_itself_pauses_and_goes_on(job, uninterrupted):
    """`python -m metatoolagent train`, as the workflow's jobs run it."""
    environment = {**os.environ, "PYTHONPATH": str(Path(training.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "metatoolagent", *command(job)], env=environment, stderr=subprocess.PIPE, text=True
    )
    while not list(job.work.glob("*/step-*")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    process.terminate()
    message = process.communicate()[1]
    assert process.returncode == 75, message
    assert "error[I-PAUSED]" in message
    training.train(job)
    assert tree(job.out) == uninterrupted[0]


def test_every_update_may_be_the_last_before_a_pause(job, uninterrupted, monkeypatch):
    """Pause after each update in turn: resuming five times gives the same bytes."""
    monkeypatch.setattr(training.Supervisor, "reason_to_pause", lambda self: "received SIGTERM")
    for update in range(1, UPDATES):
        with pytest.raises(UserError, match="I-PAUSED") as raised:
            training.train(job)
        assert f"paused after update {update} of {UPDATES}" in raised.value.what
        assert raised.value.exit_code == 75
    training.train(job)
    assert tree(job.out) == uninterrupted[0]


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
def test_a_damaged_checkpoint_costs_updates_but_no_bytes(name, job, uninterrupted, monkeypatch, capsys):
    reasons = iter(["", "", "now"])
    with monkeypatch.context() as patched:
        patched.setattr(training.Supervisor, "reason_to_pause", lambda self: next(reasons))
        with pytest.raises(UserError, match="I-PAUSED"):
            training.train(job)
    run = job.work / job.run_id()
    path = run / "step-000003" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    training.train(job)
    assert "going on after update 2 of" in capsys.readouterr().err
    assert (run / "bad.step-000003").is_dir()
    assert tree(job.out) == uninterrupted[0]


def test_a_finished_run_publishes_again_without_training(job, uninterrupted, monkeypatch):
    training.train(job)
    for path in job.out.iterdir():
        path.unlink()

    def forbidden(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "evaluate", forbidden)
    training.train(job)
    assert tree(job.out) == uninterrupted[0]


def test_it_trains_on_packs_that_offer_none_of_these(job, catalog, committed, tmp_path):
    splits.split(catalog, "cd", committed.split, 0, tmp_path / "parts")
    meta = committed.meta_tasks.model_copy(update={"count": UPDATES, "tasks_per_pack": 4, "abstention": 0.25})
    meta_tasks.materialize(tmp_path / "parts", catalog, "cd", 2, 0, meta, tmp_path / "drawn")
    path = tmp_path / "drawn/meta_tasks.parquet"
    assert NONE in pl.read_parquet(path)["gold"].to_list()
    training.train(replace(job, tasks=path))
    assert len(pl.read_csv(job.out / training.LOG)) == UPDATES / TRAIN.meta_batch


def test_another_chat_template_is_another_run(job, tiny, tmp_path):
    def run_id(more):
        with publishing(tmp_path / "backbone", backbone.FILES, producer="test") as paths:
            for name, path in paths.items():
                path.write_bytes((tiny / name).read_bytes() + (more if name == "chat_template.jinja" else b""))
        return replace(job, model=tmp_path / "backbone").run_id()

    assert run_id(b"") == run_id(b"") != run_id(b" ")


def test_changed_params_never_resume_a_foreign_state(job, uninterrupted, monkeypatch):
    other = replace(job, train=TRAIN.model_copy(update={"learning_rate": 0.02}))
    with monkeypatch.context() as patched:
        patched.setattr(training.Supervisor, "reason_to_pause", lambda self: "now")
        with pytest.raises(UserError, match="I-PAUSED"):
            training.train(other)
    training.train(job)
    assert tree(job.out) == uninterrupted[0]


def test_a_loss_that_is_not_finite_names_its_tasks_and_touches_nothing(job, uninterrupted, monkeypatch):
    training.train(job)
    # The same outputs, other params: the update fails, the earlier adapter stays.
    other = replace(job, train=TRAIN.model_copy(update={"learning_rate": 0.02}))
    names = []

    def poison(call, outcome):
        return outcome if call < 10 else Outcome(outcome.loss_Q * torch.tensor([1.0, math.nan]), outcome.right_Q)

    real = training.evaluate
    monkeypatch.setattr(
        training, "evaluate", lambda model, weights, pack, train: names.append(pack.task_ids) or real(model, weights, pack, train)
    )
    in_a_row(monkeypatch, poison)
    with pytest.raises(UserError) as raised:
        training.train(other)
    error = raised.value
    assert (error.code, error.exit_code) == ("E-NONFINITE", 65)
    assert error.where == names[-1][1]
    assert "no update was applied" in error.what
    assert tree(other.out) == uninterrupted[0]
    assert not [path for path in (job.work / other.run_id()).glob("step-*") if not torch.isfinite(read_phi(path)).all()]


def read_phi(path):
    """All weights of a checkpoint in one tensor."""
    from safetensors.torch import load_file

    return torch.cat(
        [tensor.flatten() for name, tensor in load_file(path / "state.safetensors").items() if name.startswith("phi/")]
    )


def test_a_learning_rate_that_is_far_too_high_ends_with_a_message(job):
    with pytest.raises(UserError) as raised:
        training.train(replace(job, train=TRAIN.model_copy(update={"learning_rate": 1e30})))
    assert raised.value.code == "E-NONFINITE"
    assert "at update 2 of" in raised.value.what
    assert "lower train.learning_rate" in raised.value.fix
    assert not job.out.exists()


def test_a_gradient_that_is_not_finite_applies_no_update(job, monkeypatch):
    def poison(call, outcome):
        return (
            outcome
            if call < 4
            else Outcome(outcome.loss_Q + (outcome.loss_Q - outcome.loss_Q.detach()).clamp(min=0).sqrt(), outcome.right_Q)
        )

    in_a_row(monkeypatch, poison)  # the loss is as it was, its gradient divides by zero
    with pytest.raises(UserError, match="E-NONFINITE") as raised:
        training.train(replace(job, method="ft", mta=None))
    assert raised.value.where == "meta-tasks 2"
    assert "at update 3 of" in raised.value.what


def test_who_loses_the_lock_publishes_nothing(job, monkeypatch):
    real = training.Trainer.run

    def run(self, folder, supervisor):
        real(self, folder, supervisor)
        (folder / "lock").unlink()

    monkeypatch.setattr(training.Trainer, "run", run)
    with pytest.raises(UserError, match="E-LOST-LOCK"):
        training.train(job)
    assert not job.out.exists()


@pytest.mark.parametrize("which", range(4))
def test_damaged_inputs_are_refused_before_any_training(which, job, tmp_path):
    path = job.inputs()[which]
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in path.parent.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    (copy / path.name).write_bytes(content)
    field = ["tasks", "catalog", "catalog", "model"][which]
    broken = replace(job, **{field: copy / path.name if field == "tasks" else copy})
    with pytest.raises(UserError, match="E-CORRUPT") as raised:
        training.train(broken)
    assert raised.value.where == str(copy / path.name)
    assert not job.work.exists()


def test_a_file_in_the_place_of_the_output_is_told_before_training(job):
    job.out.write_text("in the way")
    process = start(job)
    process.join()
    assert process.exitcode == 73, said(job)
    assert "error[E-CREATE]" in said(job) and f"where: {job.out}\n" in said(job) and "Traceback" not in said(job)
    assert job.out.read_text() == "in the way" and not job.work.exists()


def test_a_full_disk_is_told_before_training(job, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match="E-DISK-FULL") as raised:
        training.train(job)
    assert raised.value.exit_code == 74
    assert not job.out.exists()
