import signal
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from metatoolagent.artifacts import MANIFEST, publishing
from metatoolagent.errors import UserError
from metatoolagent.evaluation import predicting, resuming
from metatoolagent.evaluation.job import Prediction
from metatoolagent.evaluation.predicting import FILE, evaluate
from metatoolagent.evaluation.resuming import run_id
from metatoolagent.meta.checkpoints import RECORD
from metatoolagent.models.adapter import WEIGHTS
from metatoolagent.params import Evaluate
from model_fixtures import ADAPTER, BACKBONE, published

pytestmark = pytest.mark.usefixtures("handlers")


@pytest.fixture
def trained(job, weights, tmp_path):
    """An evaluation that keeps its answers."""
    folder = published(weights, tmp_path / "adapter", "mta", job.model)
    return replace(job, method="mta", adapter=ADAPTER, weights=folder, out=tmp_path / "trained", work=tmp_path / "work")


@pytest.fixture
def asked(monkeypatch):
    """Lets a candidate set be a batch; returns the number of tasks of each that a method is asked, and what is done after it."""
    monkeypatch.setattr(predicting, "SETS", 1)
    seen, then, real = [], {}, predicting.prepare

    def prepare(job):
        answer = real(job)

        def counted(sets):
            seen.append(sum(map(len, sets)))
            found = answer(sets)
            then.get(len(seen), lambda: None)()
            return found

        return counted

    monkeypatch.setattr(predicting, "prepare", prepare)
    return seen, then


def whole(job, tmp_path):
    """The bytes of an evaluation that nothing stops and that keeps nothing."""
    evaluate(replace(job, out=tmp_path / "whole", work=None))
    return (tmp_path / "whole" / FILE).read_bytes()


class Killed(BaseException):
    """Stands for SIGKILL: nothing is saved after it."""


def kill():
    raise Killed


def test_a_paused_evaluation_goes_on_where_it_was_and_ends_with_the_same_bytes(trained, tmp_path, asked, capsys):
    seen, then = asked
    expected = whole(trained, tmp_path)
    sizes = list(seen)
    assert len(sizes) >= 4
    for stop in (1, 3):
        seen.clear()
        then[stop] = lambda: signal.raise_signal(signal.SIGTERM)
        job = replace(trained, work=tmp_path / f"work{stop}", out=tmp_path / f"out{stop}")
        with pytest.raises(UserError) as raised:
            evaluate(job)
        assert (raised.value.code, raised.value.exit_code) == ("I-PAUSED", 75)
        assert f"received SIGTERM: paused after answer {sum(sizes[:stop])} of {sum(sizes)}" in raised.value.what
        assert not job.out.exists()
        capsys.readouterr()
        evaluate(job)
        assert f"{sum(sizes[:stop])} of {sum(sizes)} answers were given before: taken from {job.work}" in capsys.readouterr().err
        assert seen == sizes, "each candidate set is asked once"
        assert (job.out / FILE).read_bytes() == expected
        then.clear()


def test_a_file_in_the_place_of_the_output_is_told_before_a_task_is_answered(trained, asked):
    seen, _ = asked
    trained.out.write_text("in the way")
    with pytest.raises(NotADirectoryError):
        evaluate(trained)
    assert not seen and not trained.work.exists()


def test_one_that_is_killed_has_the_answers_of_its_last_save(trained, tmp_path, asked, monkeypatch):
    seen, then = asked
    expected = whole(trained, tmp_path)
    sizes = list(seen)
    clock = iter([0.0, 10.0, 61.0, 61.0, 70.0])
    seen.clear()
    then[4] = kill
    with monkeypatch.context() as patched:
        patched.setattr(resuming, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        with pytest.raises(Killed):
            evaluate(trained)
    then.clear()
    seen.clear()
    evaluate(trained)
    assert seen == sizes[2:], "the first save is that of the second batch, 61 seconds after the start"
    assert (trained.out / FILE).read_bytes() == expected


def test_an_evaluation_that_was_made_is_published_elsewhere_without_the_model(trained, tmp_path, monkeypatch):
    evaluate(trained)
    monkeypatch.setattr(predicting, "prepare", lambda job: pytest.fail("it is made again"))
    # Another sweep has the same tasks and the same adapter under other names of folders.
    copies = {}
    for name, path in {"tasks": trained.tasks.parent, "adapter": trained.weights}.items():
        copies[name] = tmp_path / "sweep" / name
        names = [file.name for file in path.iterdir() if file.name != MANIFEST]
        with publishing(copies[name], names, producer="copy") as paths:
            for file, target in paths.items():
                target.write_bytes((path / file).read_bytes())
    other = replace(trained, tasks=copies["tasks"] / trained.tasks.name, weights=copies["adapter"], out=tmp_path / "other")
    evaluate(other)
    assert (other.out / FILE).read_bytes() == (trained.out / FILE).read_bytes()


def test_inputs_are_verified_also_where_no_method_reads_them(trained):
    evaluate(trained)
    path = trained.weights / WEIGHTS
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="E-CORRUPT"):
        evaluate(trained)


def test_damaged_answers_are_put_aside_and_given_again(trained, tmp_path, asked, capsys):
    seen, _ = asked
    evaluate(trained)
    before, sizes = (trained.out / FILE).read_bytes(), list(seen)
    (path,) = trained.work.glob(f"*/step-*/{RECORD}")
    path.write_bytes(path.read_bytes().replace(b"right", b"wrong").replace(b'"cut": false', b'"cut": true '))
    seen.clear()
    evaluate(trained)
    assert "warning[W-CKPT-SKIPPED]" in capsys.readouterr().err
    assert seen == sizes
    assert (trained.out / FILE).read_bytes() == before


def test_the_name_of_an_evaluation_changes_with_all_that_decides_its_answers(trained, job, tmp_path, weights):
    other = published({name: tensor + 1 for name, tensor in weights.items()}, tmp_path / "other", "mta", trained.model)
    tasks = tmp_path / "tasks.parquet"
    tasks.write_bytes(b"other tasks")
    changed = [
        {"seed": 1},
        {"method": "ft"},
        {"backbone": BACKBONE.model_copy(update={"layers": 1})},
        {"adapter": ADAPTER.model_copy(update={"alpha": 9.0})},
        {"evaluate": Evaluate(max_new_tokens=3)},
        {"weights": other},
        {"tasks": tasks},
        {"demonstrations": tasks},
        {"reasoning": None},
        {"icl": None},
    ]
    names = [run_id(replace(trained, **change)) for change in changed]
    assert len({run_id(trained), run_id(job), *names}) == len(changed) + 2
    assert (
        len({run_id(trained), run_id(trained, [tasks]), run_id(trained, [], {"steps": 1}), run_id(trained, [], {"steps": 2})})
        == 4
    )
    for change in ({"out": tmp_path / "elsewhere"}, {"work": None}):
        assert run_id(replace(trained, **change)) == run_id(trained)


def test_a_method_without_a_model_keeps_nothing(job_of, tmp_path):
    job = replace(job_of("random"), work=tmp_path / "work")
    evaluate(job)
    assert (job.out / FILE).is_file()
    assert not job.work.exists()


def test_all_of_a_prediction_is_kept(job, tmp_path):
    full = Prediction([-0.1, -1e-300, float("-1.7976931348623157e308")], "ü\n", "\U0001f600 \x00", None, True, "reason", "cut")
    selecting = Prediction(None, "a", "a", "a", False)
    with resuming.kept(job, tmp_path / "work", 2) as answers:
        answers.add([asdict(full), asdict(selecting)])
    with resuming.kept(job, tmp_path / "work", 2) as answers:
        assert [Prediction(**item) for item in answers.given] == [full, selecting]
