"""Notes on results that were not made with what is there now; the records are written as Snakemake writes them."""

import json
import shutil
from pathlib import Path

import pytest

from metatoolagent.artifacts import publishing
from metatoolagent.reporting.outdated import notes

COMMITTED = Path(__file__).parents[2] / "params.yaml"
METRICS, PREDICTIONS, TASKS = (
    Path(f"results/sd/{name}") for name in ("metrics.json", "ft/predictions.parquet", "tasks/eval_tasks.parquet")
)
ADAPTER = Path("results/sd/ft/adapter/adapter_model.safetensors")


def publish(path: Path, *inputs: Path, text: str = "x") -> None:
    with publishing(path.parent, [path.name], producer="test", inputs=inputs) as paths:
        paths[path.name].write_text(text, encoding="utf-8")


def record(path: Path, **given: object) -> None:
    kept = Path(".snakemake/metadata") / path
    kept.parent.mkdir(parents=True, exist_ok=True)
    params = sorted([repr(json.dumps(given)), repr("sd"), repr(["--prediction ft=x"])])
    kept.write_text(json.dumps({"record_format_version": 6, "params": params}), encoding="utf-8")


@pytest.fixture
def made(tmp_path, monkeypatch) -> list[Path]:
    """A checkout in which the metrics of sd were made with the params that are there."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(COMMITTED, "params.yaml")
    publish(TASKS)
    publish(ADAPTER, TASKS)
    publish(PREDICTIONS, TASKS, ADAPTER)
    publish(METRICS, PREDICTIONS)
    record(TASKS, distractors=5, seed=0)
    record(ADAPTER, seed=0, train={"learning_rate": 0.003, "warmup": 0.1})
    record(PREDICTIONS, seed=0)
    record(METRICS, metrics={"bootstrap": 10000}, seed=0)
    return [METRICS]


def test_results_of_the_present_params_have_no_note(made):
    assert notes(made) == []


def test_params_of_every_stage_are_held_against_those_of_today(made):
    record(TASKS, distractors=10, held_out=["app", "os"], seed=0)
    record(ADAPTER, seed=0, train={"learning_rate": 0.01, "warmup": 0.1, "of_another_version": 1})
    (note,) = notes(made)
    assert note.startswith("results/sd/metrics.json: made with other params: train.learning_rate 0.01, now 0.003; ")
    assert '; distractors 10, now 5; held_out ["app", "os"], now ["app", ' in note
    assert note.endswith("; renew it: snakemake --cores all results/sd/metrics.json")
    assert "of_another_version" not in note and "warmup" not in note


def test_an_artifact_that_was_made_anew_is_named_and_its_params_are_not_taken_for_those_of_then(made):
    publish(ADAPTER, TASKS, text="another")
    record(ADAPTER, train={"learning_rate": 0.01})
    (note,) = notes(made)
    assert f"made from what is another file now: {ADAPTER}; renew it" in note and "learning_rate" not in note


def test_what_is_not_on_record_is_not_guessed(made):
    shutil.rmtree(".snakemake")
    assert notes(made) == []
    shutil.rmtree(TASKS.parent)  # only deleted, which says nothing of the results
    assert notes(made) == []
    (ADAPTER.parent / "manifest.json").write_text("{", encoding="utf-8")
    assert notes(made) == []


def test_without_params_the_results_are_shown_with_a_note(made):
    Path("params.yaml").write_text("seed: [", encoding="utf-8")
    (note,) = notes(made)
    assert note.startswith("params.yaml cannot be read") and note.endswith("is not known")
