"""The sweeps on the tiny model: what is shared is made once, and both engines know what the other made."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow
NOTHING = "Nothing to be done"
Made = set[tuple[str, ...]]


def edit(folder: Path, old: str, new: str, file: str = "params.yaml") -> None:
    text = (folder / file).read_text()
    assert text.count(old) == 1
    (folder / file).write_text(text.replace(old, new))


def jobs(output: str, rule: str) -> Made:
    """Return the wildcards of the jobs of a rule that Snakemake lists, each once."""
    found = re.findall(rf"^(?:local)?rule {rule}:\n(?:    .*\n)*?    wildcards: (.*)$", output, re.M)
    return {tuple(re.findall(r"\w+=(\S+?)(?:, (?=\w+=)|$)", line)) for line in found}


def stage_of_sweep(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "sweeps/dvc.yaml").read_text())["stages"]["sweep-distractors"]


def time_of_table(folder: Path) -> float:
    """Return when Snakemake made the table: DVC may link it anew."""
    return json.loads((folder / ".snakemake/metadata/results/sweep/distractors/table.csv").read_text())["endtime"]


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the project in which `eval_cd` has run."""
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


@pytest.fixture(scope="module")
def planned(finished, shell):
    """Gives what a dry run of a target lists after `eval_cd`, under other values of section `sweeps`."""

    def dry_run(target: str, sweeps: str = "{}") -> str:
        # A file, since Snakemake reads the numbers of `--config` as text.
        (finished.parent / "more.yaml").write_text(f"sweeps: {sweeps}\n")
        return shell(f"snakemake -n {target} --configfile {finished.parent / 'more.yaml'}", finished).stdout

    return dry_run


def variant(sweep: str, items: str) -> str:
    return f"sweep/{sweep}/{items}"


def test_a_sweep_end_to_end(copy, shell):
    edit(copy, "distractors: [1, 2] #", "distractors: [2] #")
    done = shell("snakemake --cores 2 sweep_distractors", copy)
    output = done.stdout + done.stderr
    # The adapters of 2 are those of the main run.
    assert not jobs(output, "train") and not jobs(output, "split") and not jobs(output, "backbone")
    assert len(jobs(output, "evaluate")) == 2
    assert NOTHING in shell("snakemake -n sweep_distractors eval_cd", copy).stdout
    assert "Running stage" not in shell("dvc repro sweeps/dvc.yaml", copy).stdout
    assert "Running stage" not in shell("dvc repro", copy).stdout
    assert "up to date" in shell("dvc status", copy).stdout

    # Another sweep that has an evaluation in common publishes the answers of this one.
    ((name, _),) = {job for job in jobs(output, "evaluate") if job[1] == "mta"}
    other = f"results/{name.replace('/distractors/', '/scale/')}/mta/predictions.parquet"
    done = shell(f"snakemake --cores 2 {other}", copy)
    assert "16 of 16 answers were given before: taken from work/" in done.stdout + done.stderr
    assert (copy / other).read_bytes() == (copy / f"results/{name}/mta/predictions.parquet").read_bytes()

    before = stage_of_sweep(copy)

    # Two numbers in training and in evaluation, two methods, one seed: what is new is computed.
    edit(copy, "distractors: [2] #", "distractors: [1, 2] #")
    again = shell("dvc repro sweeps/dvc.yaml", copy)
    assert re.findall(r"Running stage '([^']+)'", again.stdout) == ["sweeps/dvc.yaml:sweep-distractors"]
    # Snakemake's own log: DVC cuts what a stage prints.
    output = max((copy / ".snakemake/log").glob("*.log")).read_text(errors="replace")
    assert jobs(output, "train") == {(variant("distractors", "distractors=1"), method) for method in ("ft", "mta")}
    assert len(jobs(output, "evaluate")) == 3 * 2
    assert NOTHING in shell("snakemake -n sweep_distractors", copy).stdout
    # What is new trains, which the stage did not do before: DVC knows what that reads, and once more makes nothing.
    assert {"train", "mta"} <= set(stage_of_sweep(copy)["params"]) - set(before["params"])
    assert "src/metatoolagent/meta/outer_loop.py" in stage_of_sweep(copy)["deps"]
    made = time_of_table(copy)
    shell("dvc repro sweeps/dvc.yaml", copy)
    assert "up to date" in shell("dvc status", copy).stdout and time_of_table(copy) == made
    folder = copy / "results/sweep/distractors"
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    assert {(row["training"], row["evaluation"]) for row in rows} == {(a, b) for a in "12" for b in "12"}
    assert {row["n"] for row in rows} == {"8"}
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "with 2 distractors in evaluation" in (folder / "finding.md").read_text()


def test_dvc_can_run_a_sweep_first(finished, shell, tmp_path):
    folder = Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
    shell("PYTHONPATH=src python -m metatoolagent.stages sweep_distractors", folder)
    written = (folder / "sweeps/dvc.yaml").read_text()
    assert "persist: true" in written and "wdir: ../" in written and "sweeps.distractors" in written
    listed = shell("dvc repro --dry sweeps/dvc.yaml", folder).stdout
    assert re.findall(r"Running stage '([^']+)'", listed) == ["sweeps/dvc.yaml:sweep-distractors"]


def test_table2_makes_what_does_not_train_once_for_all_seeds_and_shares_the_splits(planned):
    listed = planned("table2", "{seeds: [0, 1]}")
    trained = jobs(listed, "train")
    # Seed 0 is that of params.yaml, and its adapters are the main run's; those of sd are eval_sd's.
    expected = {(variant("table2", "seed=1"), method) for method in ("ft", "mta")} | {("sd", method) for method in ("ft", "mta")}
    assert trained == expected | {(variant("table2", "seed=1,split=sd"), method) for method in ("ft", "mta")}
    for method in ("random", "base"):
        assert {name for name, of in jobs(listed, "evaluate") if of == method} == {
            variant("table2", f"eval_tasks.count=8{split}") for split in ("", ",split=sd")
        }


def test_table2_asks_benchmarks_of_what_was_trained_on_split_cd(planned):
    listed = planned("table2", "{seeds: [0, 1], table2: {splits: [toolalpaca-cd, apibench-sd]}}")
    assert jobs(listed, "train") == {(variant("table2", "seed=1"), method) for method in ("ft", "mta")}
    assert not jobs(listed, "materialize_evaluation")
    # Seed 0 and what does not train are as eval_toolalpaca and eval_apibench have them.
    for name in ("toolalpaca-cd", "apibench-sd"):
        evaluated = {method for of, method in jobs(listed, "evaluate") if of == name}
        assert evaluated == {"random", "base", "ft", "mta"}
        seeded = {method for of, method in jobs(listed, "evaluate") if of == variant("table2", f"seed=1,split={name}")}
        assert seeded == {"ft", "mta"}
    # icl is shown what was trained on, which is no benchmark's.
    shown = planned("table2", "{seeds: [0], table2: {methods: [icl], splits: [toolalpaca-cd]}}")
    assert ("toolalpaca-cd", "icl") in jobs(shown, "evaluate") and not jobs(shown, "materialize")


def test_a_fold_of_table2_that_has_no_tools_stops_before_anything_is_planned(copy, shell):
    text = (copy / "params.yaml").read_text()
    (copy / "params.yaml").write_text(re.sub(r"splits: \[[^]]*\]", "splits: [cd, hd-nosuch]", text, count=1))
    assert "hd-nosuch" in (copy / "params.yaml").read_text()
    stopped = shell("snakemake -n table2", copy, code=64)
    assert "error[E-PARAMS]" in stopped.stderr and "key sweeps.table2.splits" in stopped.stderr


def test_compare_trains_each_hypergradient_under_its_own_name(planned):
    trained = jobs(planned("compare"), "train")
    assert trained == {
        (variant("compare", "mta.hypergradient=exact"), "mta"),
        (variant("compare", "mta.hypergradient=reptile,mta.support_share=0.0"), "mta"),
    }


def test_compare_trains_on_each_split_that_is_asked_for(planned):
    trained = jobs(planned("compare", "{compare: {hypergradients: [exact], splits: [sd, cd]}}"), "train")
    assert {name for name, method in trained if method == "mta"} == {
        variant("compare", f"mta.hypergradient=exact{split}") for split in ("", ",split=sd")
    }


def test_scale_builds_a_backbone_for_each_rung(planned):
    commit = "0123456789" * 4
    listed = planned("sweep_scale", f"{{scale: {{layers: [2, 0], sources: [some/model@{commit}]}}}}")
    cut, other = variant("scale", "backbone.layers=2"), variant("scale", f"backbone.source=some%2Fmodel@{commit}")
    assert jobs(listed, "backbone_of_variant") == {(cut,), (other,)}
    assert jobs(listed, "train") == {(name, method) for name in (cut, other) for method in ("ft", "mta")}


def test_queries_share_the_adapters_of_both_parts(planned):
    listed = planned("sweep_queries")
    names = {"meta_tasks.query_tasks=1", "meta_tasks.tools=6", "meta_tasks.questions_per_tool=3"}
    assert jobs(listed, "train") == {(variant("queries", name), method) for name in names for method in ("ft", "mta")}
    evaluated = {name for name, method in jobs(listed, "evaluate") if method == "mta"}
    assert len(evaluated) == 2 * 4  # both parts, of one query task, of six tools, of three questions, and of the main run
    assert sum("eval_tasks.part=train" in name for name in evaluated) == 4


@pytest.mark.parametrize("sweep", ["sensitivity", "search"])
def test_the_points_of_a_space_are_trained_once_each_on_validation_tools(planned, sweep):
    listed = planned("search" if sweep == "search" else "sweep_sensitivity")
    trained, evaluated = jobs(listed, "train"), jobs(listed, "evaluate")
    assert len(trained) == len(evaluated) == 4
    assert all("eval_tasks.part=validation" in name for name, _ in evaluated)
    assert not any("eval_tasks" in name for name, _ in trained)


def test_an_impossible_point_stops_a_sweep_before_anything_is_trained(copy, shell):
    edit(copy, "distractors: [1, 2] #", "distractors: [1, 50] #")
    stopped = shell("snakemake --cores 1 sweep_distractors", copy, code=1)
    output = stopped.stdout + stopped.stderr
    assert "got:   sweeps.distractors: 50" in output and "out of sweeps.distractors" in output
    assert jobs(output, "(?:materialize|materialize_evaluation)") and not jobs(output, "train")


def test_a_variant_that_cannot_be_is_one_clear_error(finished, shell):
    for items, code in (("mta.inner_rate=1", "E-PARAMS"), ("seed", "E-VARIANT"), ("seed=x", "E-PARAMS")):
        name = variant("x", items if "=" in items else f"{items}=1,{items}")
        stopped = shell(f"snakemake --cores 1 'results/{name}/ft/predictions.parquet'", finished, code=64)
        assert f"error[{code}]" in stopped.stderr and f"variant {name}" in stopped.stderr
        assert "Traceback" not in stopped.stderr + stopped.stdout
    assert NOTHING in shell("snakemake -n eval_cd", finished).stdout


def test_the_full_form_changes_caps_and_grids_alone(finished, shell):
    listed = shell("snakemake --workflow-profile profiles/full -n sweep_distractors", finished).stdout
    # No cap is left, so the numbers of the main run are its very results.
    assert not any("count" in name for name, _ in jobs(listed, "evaluate"))
    assert ("main", "ft") not in jobs(listed, "evaluate")
    assert len(jobs(listed, "train")) == 2 * 2 * 5 - 2
