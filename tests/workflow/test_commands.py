"""The three commands, as a user types them, on the tiny model: what one engine made, the other does not make again."""

import json
import re
import shutil
from collections import Counter
from itertools import product
from pathlib import Path

import polars as pl
import pytest

pytestmark = pytest.mark.slow
NOTHING = "Nothing to be done"
MAIN = ("random", "bm25", "base", "ft", "mta")
EVALUATED = {f"evaluate-{method}" for method in MAIN}


def ran(output: str) -> set[str]:
    """Return the stages that `dvc repro` ran."""
    return set(re.findall(r"Running stage '([^']+)'", output))


def edit(folder: Path, old: str, new: str) -> None:
    params = folder / "params.yaml"
    text = params.read_text()
    assert text.count(old) == 1
    params.write_text(text.replace(old, new))


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished project, to be changed by a test."""
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


def test_eval_cd_makes_the_metrics_and_every_output_is_known_to_dvc(finished, shell):
    metrics = json.loads((finished / "results/main/metrics.json").read_text())
    for method in MAIN:
        assert metrics[f"cd.{method}.free.all.n"] == 24
        assert 0 <= metrics[f"cd.{method}.scored.unseen.accuracy"] <= 1
    assert "up to date" in shell("dvc status", finished).stdout


def test_what_snakemake_made_dvc_does_not_make_again(finished, shell):
    assert NOTHING in shell("snakemake -n eval_cd", finished).stdout
    assert ran(shell("dvc repro", finished).stdout) == set()


def test_an_edit_runs_what_depends_on_it_and_setting_it_back_runs_nothing(copy, shell):
    edit(copy, "bootstrap: 200", "bootstrap: 300")
    assert ran(shell("dvc repro", copy).stdout) == {"metrics"}
    assert NOTHING in shell("snakemake -n eval_cd", copy).stdout
    edit(copy, "bootstrap: 300", "bootstrap: 200")
    back = shell("dvc repro", copy)
    assert "is cached - skipping run" in back.stdout and ran(back.stdout) == set()
    assert NOTHING in shell("snakemake -n eval_cd", copy).stdout


def test_a_comment_in_params_runs_nothing(copy, shell):
    (copy / "params.yaml").write_text((copy / "params.yaml").read_text() + "# a remark\n")
    edit(copy, "learning_rate: 0.001 ", "learning_rate: 1e-3 ")  # the same number, which Snakemake's YAML takes for text
    assert ran(shell("dvc repro", copy).stdout) == set()
    assert NOTHING in shell("snakemake -n eval_cd", copy).stdout


def test_push_clone_and_pull_leave_nothing_to_do(finished, shell, tmp_path):
    shell(f"git clone -q {finished} {tmp_path / 'clone'}", tmp_path)
    shell("dvc pull -q", tmp_path / "clone")
    assert NOTHING in shell("snakemake -n eval_cd", tmp_path / "clone").stdout
    assert ran(shell("dvc repro", tmp_path / "clone").stdout) == set()


def test_an_experiment_changes_only_what_depends_on_it(copy, shell):
    before = json.loads((copy / "results/main/manifest.json").read_text())
    done = shell("dvc exp run -S distractors=1", copy)
    assert ran(done.stdout) == {"materialize", "materialize_evaluation", "train-ft", "train-mta", *EVALUATED, "metrics"}
    assert json.loads((copy / "results/main/manifest.json").read_text()) != before
    assert "distractors: 1 " in (copy / "params.yaml").read_text()
    assert NOTHING in shell("snakemake -n eval_cd", copy).stdout


def test_results_of_other_params_are_shown_with_what_differs(copy, shell):
    assert "results/main/metrics.json:" not in shell("mta results", copy).stdout
    edit(copy, "distractors: 2 ", "distractors: 1 ")
    edit(copy, "  learning_rate: 0.001 ", "  learning_rate: 0.002 ")
    (note,) = [line for line in shell("mta results", copy).stdout.splitlines() if line.startswith("results/main/metrics.json:")]
    assert "made with other params: " in note
    assert "distractors 2, now 1" in note and "train.learning_rate 0.001, now 0.002" in note


def test_another_configuration_is_not_committed(copy, shell):
    (copy.parent / "more.yaml").write_text("metrics: {bootstrap: 300}\n")
    done = shell(f"snakemake --cores 2 eval_cd --configfile {copy.parent / 'more.yaml'}", copy)
    assert "nothing committed" in done.stderr
    assert ran(shell("dvc repro", copy).stdout) == set()


def test_another_configuration_is_handed_over_once_params_yaml_has_it(copy, shell):
    """As docs/troubleshooting.md says; of a target that DVC had no stages of, too."""
    sweeps = "{caps: {eval_tasks: 0}, table2: {methods: [random], splits: [cd]}}"
    (copy.parent / "more.yaml").write_text(f"metrics: {{bootstrap: 300}}\nsweeps: {sweeps}\n")
    shell(f"snakemake --cores 2 eval_cd table2 --configfile {copy.parent / 'more.yaml'}", copy)
    edit(copy, "bootstrap: 200", "bootstrap: 300")
    edit(copy, "eval_tasks: 8}", "eval_tasks: 0}")
    edit(copy, "table2: {methods: [random, base, ft, mta], splits: [sd, cd]}", "table2: {methods: [random], splits: [cd]}")
    assert NOTHING in shell("snakemake -n eval_cd table2", copy).stdout
    shell("PYTHONPATH=src python -m metatoolagent.stages table2 && dvc commit -f", copy)
    assert (copy / "sweeps/dvc.lock").is_file()
    assert "up to date" in shell("dvc status", copy).stdout


def test_eval_methods_adds_every_other_method_and_makes_nothing_of_the_main_job_again(with_methods, shell, tmp_path):
    copy = Path(shutil.copytree(with_methods, tmp_path / "project", symlinks=True))
    printed = json.loads((copy / "logs/eval_methods.json").read_text())
    others = {"embedding", "likelihood", "icl", "cot", "react", "channel", "masking"}
    assert set(re.findall(r"method=(\w+)", printed["listed"])) == others
    assert "masking" in printed["stdout"]
    assert set(re.findall(r"method=(\w+)", printed["stdout"] + printed["stderr"])) == others
    metrics = json.loads((copy / "results/main/methods/metrics.json").read_text())
    for method in {*MAIN, *others}:
        assert metrics[f"cd.{method}.free.all.n"] == 24
        outcomes = ("right", "wrong", "other_tool", "none", "cut")
        assert sum(metrics[f"cd.{method}.outcome.{name}"] for name in outcomes) == pytest.approx(1, abs=0.001)
    assert "cd.mta_vs_masking.free.all.p_holm" in metrics and "cd.react_vs_bm25.free.all.p_holm" not in metrics
    assert "up to date" in shell("dvc status", copy).stdout
    assert ran(shell("dvc repro methods/dvc.yaml", copy).stdout) == set()
    assert set(re.findall(r"evaluate-(\w+)", (copy / "methods/dvc.yaml").read_text())) == others
    assert NOTHING in shell("snakemake -n eval_cd eval_methods", copy).stdout


def inputs(artifact: Path) -> set[str]:
    return set(json.loads((artifact / "manifest.json").read_text())["inputs"])


def of_fold(folder: Path, domain: str) -> pl.Series:
    """Return the pool of each task of a fold of hd, in whose training no tool of the domain may be."""
    fold = f"results/hd-{domain}"
    tools, trained_on, asked = (
        pl.read_parquet(folder / file)
        for file in (
            f"data/processed/hd-{domain}/tools.parquet",
            f"{fold}/meta_tasks/meta_tasks.parquet",
            f"{fold}/tasks/eval_tasks.parquet",
        )
    )
    held_out = set(tools.filter(domain=domain)["name"])
    assert len(held_out) == 10 and set(tools.filter(part="test")["name"]) == held_out
    assert set(asked["gold"]) <= held_out
    assert len(trained_on) and not held_out & {*trained_on["gold"], *trained_on["candidates"].explode()}
    for method in ("ft", "mta"):
        # Those tasks are what the adapter learnt from, and that adapter is the one that answered.
        assert f"{fold}/meta_tasks/meta_tasks.parquet" in inputs(folder / fold / method / "adapter")
        assert f"{fold}/{method}/adapter/adapter_model.safetensors" in inputs(folder / fold / method)
    return asked["pool"]


def test_hd_holds_out_each_domain_in_turn_and_measures_all_folds_together(copy, shell):
    # One update of each training, and few tasks: starting the folds' jobs takes most of the time.
    edit(copy, "count: 6 ", "count: 2 ")
    edit(copy, "count: 24 ", "count: 10 ")
    shell("snakemake --cores 2 eval_hd", copy)
    pools = Counter(pool for domain in ("kitchen", "travel") for pool in of_fold(copy, domain))
    assert pools == {"all": 2 * 10, "unseen": 2 * 10}
    metrics = json.loads((copy / "results/hd/metrics.json").read_text())
    for method, reading, pool in product(MAIN, ("free", "scored"), pools):
        assert metrics[f"hd.{method}.{reading}.{pool}.n"] == pools[pool]


def test_params_that_are_no_yaml_stop_at_their_line(copy, shell):
    params = copy / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8") + "\tseed: 1\n", encoding="utf-8")
    stopped = shell("snakemake --cores 2 eval_cd", copy, code=64)
    assert "error[E-PARSE]" in stopped.stderr and "params.yaml:" in stopped.stderr
    assert "Traceback" not in stopped.stderr + stopped.stdout


def test_a_wrong_param_stops_with_one_error_and_no_traceback(copy, shell):
    edit(copy, "distractors: 2 ", "distractors: two ")
    stopped = shell("snakemake --cores 2 eval_cd", copy, code=64)
    assert "error[E-PARAMS] distractors" in stopped.stderr and "params.yaml:3" in stopped.stderr
    assert "Traceback" not in stopped.stderr + stopped.stdout


def test_an_impossible_request_stops_with_the_domain_and_the_largest_value(copy, shell):
    edit(copy, "distractors: 2 ", "distractors: 500 ")
    stopped = shell("snakemake --cores 2 eval_cd", copy, code=1)
    assert "E-DISTRACTORS" in stopped.stderr and "Traceback" not in stopped.stderr
    assert set(re.findall(r"set distractors: (\d+) ", stopped.stderr)) == {"4"}  # whichever stage is told first


def test_a_damaged_artifact_is_not_used(copy, shell):
    tasks = copy / "results/main/tasks/eval_tasks.parquet"
    raw = bytearray(tasks.read_bytes())
    raw[len(raw) // 2] ^= 1
    tasks.write_bytes(bytes(raw))
    shell("rm results/main/ft/predictions.parquet", copy)
    stopped = shell("snakemake --cores 2 results/main/ft/predictions.parquet --allowed-rules evaluate", copy, code=1)
    assert "E-CORRUPT" in stopped.stderr and "eval_tasks.parquet" in stopped.stderr


def test_dvc_yaml_is_what_the_rules_say(copy, shell):
    check = "PYTHONPATH=src python -m metatoolagent.stages --check"
    shell(check, Path(__file__).parents[2])
    (copy / "dvc.yaml").write_text("stages: {}\n")
    assert "out of date" in shell(check, copy, code=1).stderr
