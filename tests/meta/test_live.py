import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import polars as pl
import pytest

from metatoolagent.errors import UserError
from metatoolagent.meta import live, training
from metatoolagent.meta.job import Job
from model_fixtures import ADAPTER, BACKBONE, MTA, TRAIN

DOCS = Path(__file__).parents[2] / "docs/watching.md"


@pytest.fixture
def job(tiny, catalog, materialized, tmp_path):
    """A short run of fine-tuning."""
    tasks = materialized / "meta_tasks/meta_tasks.parquet"
    return Job("ft", 0, BACKBONE, ADAPTER, TRAIN, None, tasks, catalog, tiny, tmp_path / "out", tmp_path / "work")


class Logger:
    """What is used of dvclive's: it begins its folder anew."""

    points: ClassVar[dict[str, list[tuple[int, float]]]] = {}

    def __init__(self, folder, *, save_dvc_exp, dvcyaml):
        assert not save_dvc_exp and dvcyaml is None and folder.endswith("live/ft")
        Logger.points, self.step = {}, 0

    def log_metric(self, name, value):
        self.points.setdefault(name, []).append((self.step, value))

    def make_summary(self):
        pass

    def end(self):
        pass


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Gives the points of each curve that was asked for."""
    monkeypatch.setenv(live.FOLDER, str(tmp_path / "live"))
    monkeypatch.setitem(sys.modules, "dvclive", SimpleNamespace(Live=Logger))
    return lambda: Logger.points


def test_the_curves_are_the_log(job, drawn):
    training.train(job)
    log = pl.read_csv(job.out / training.LOG)
    assert drawn().keys() <= set(training.LOG_COLUMNS) - {"update"}
    for column in ("loss", "right"):
        assert drawn()[column] == list(zip(log["update"], log[column], strict=True))


def interrupt(job, monkeypatch):
    """Begin a run that stops one update behind the checkpoint of the second."""
    apply = training.Trainer._apply

    def paused(trainer, *given):
        if trainer.update == 3:
            raise KeyboardInterrupt
        return apply(trainer, *given)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(training.Trainer, "_apply", paused)
        training.train(job)


def test_a_run_that_goes_on_draws_each_update_once(job, drawn, monkeypatch):
    interrupt(job, monkeypatch)
    training.train(job)
    assert [step for step, _ in drawn()["loss"]] == pl.read_csv(job.out / training.LOG)["update"].to_list()


@pytest.mark.filterwarnings("ignore")  # of packages that are not ours
def test_the_documented_command_shows_what_dvclive_itself_wrote(job, monkeypatch, tmp_path):
    pytest.importorskip("dvclive", reason="pip install -c constraints.txt -e '.[live]'")
    folder, command = re.search(r"METATOOLAGENT_LIVE=(\S+) .*\n(dvc plots show \S+)", DOCS.read_text(encoding="utf-8")).groups()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(live.FOLDER, folder)
    job = replace(job, method="mta", mta=MTA)  # the curve that the command names
    interrupt(job, monkeypatch)
    training.train(job)

    curve = command.split()[-1]
    drawn, log = pl.read_csv(curve, separator="\t"), pl.read_csv(job.out / training.LOG)
    assert drawn["step"].to_list() == log["update"].to_list()
    assert drawn["loss"].to_list() == pytest.approx(log["loss"].to_list())
    assert not Path("dvc.yaml").exists()  # the stage is DVC's already

    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for words in (["dvc", "init", "--quiet", "--no-scm"], command.split()):
        subprocess.run(words, check=True, capture_output=True, env={**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"})
    page = Path("dvc_plots/index.html").read_text(encoding="utf-8")
    assert curve in page and page.count('"loss":') == len(log)


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
