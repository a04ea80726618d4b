import sys

import polars as pl
import pytest

from metatoolagent.errors import UserError
from metatoolagent.meta import live, training
from metatoolagent.meta.job import Job
from model_fixtures import ADAPTER, BACKBONE, TRAIN


@pytest.fixture
def job(tiny, catalog, materialized, tmp_path):
    """A short run of fine-tuning."""
    tasks = materialized / "meta_tasks.parquet"
    return Job("ft", 0, BACKBONE, ADAPTER, TRAIN, None, tasks, catalog, tiny, tmp_path / "out", tmp_path / "work")


def test_the_curves_are_the_log(job, tmp_path, monkeypatch):
    pytest.importorskip("dvclive", reason="the extra `live` is not installed")
    monkeypatch.setenv(live.FOLDER, str(tmp_path / "live"))
    training.train(job)
    log = pl.read_csv(job.out / training.LOG)
    for column in ("loss", "right"):
        drawn = pl.read_csv(tmp_path / "live" / job.method / f"plots/metrics/{column}.tsv", separator="\t")
        assert drawn["step"].to_list() == log["update"].to_list()
        assert drawn[column].to_list() == pytest.approx(log[column].to_list())


def test_a_run_that_goes_on_draws_each_update_once(job, tmp_path, monkeypatch):
    pytest.importorskip("dvclive", reason="the extra `live` is not installed")
    monkeypatch.setenv(live.FOLDER, str(tmp_path / "live"))
    apply = training.Trainer._apply

    def paused(trainer, batch):
        if trainer.update == 3:  # one update behind the checkpoint of the second
            raise KeyboardInterrupt
        return apply(trainer, batch)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(training.Trainer, "_apply", paused)
        training.train(job)
    training.train(job)
    drawn = pl.read_csv(tmp_path / "live" / job.method / "plots/metrics/loss.tsv", separator="\t")
    assert drawn["step"].to_list() == pl.read_csv(job.out / training.LOG)["update"].to_list()


def test_nothing_is_drawn_unless_it_is_asked_for(monkeypatch):
    monkeypatch.delenv(live.FOLDER, raising=False)
    assert isinstance(live.curves("mta", leads=True), live.NoCurves)


def test_only_the_leading_process_draws(monkeypatch, tmp_path):
    monkeypatch.setenv(live.FOLDER, str(tmp_path / "live"))
    assert isinstance(live.curves("mta", leads=False), live.NoCurves)


def test_without_dvclive_the_request_is_refused_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv(live.FOLDER, str(tmp_path / "live"))
    monkeypatch.setitem(sys.modules, "dvclive", None)
    with pytest.raises(UserError, match="E-LIVE") as raised:
        live.curves("mta", leads=True)
    assert raised.value.exit_code == 64 and ".[live]" in raised.value.fix
