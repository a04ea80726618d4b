"""What an edit of each key of params.yaml runs again, in both engines, and which outputs DVC knows."""

import json
import shutil
from pathlib import Path

import pytest

from metatoolagent import params
from metatoolagent.stages import SWEEPING
from metatoolagent.sweeps.runs import NAMES

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent

METRICS = {"metrics", "metrics_methods"}
MODEL_FREE = {"evaluate-random", "evaluate-bm25"}
RETRIEVAL = {"evaluate-embedding", "evaluate-likelihood"}
REASONING = {"evaluate-cot", "evaluate-react", "metrics_methods"}
ICL = {"evaluate-icl", "metrics_methods"}
GENERATION = REASONING | ICL | METRICS | {"evaluate-base", "evaluate-ft", "evaluate-masking", "evaluate-mta"}
MTA = {"train-mta", "evaluate-mta"} | METRICS
MASKING = {"train-masking", "evaluate-masking", "metrics_methods"}
CHANNEL = {"train-channel", "evaluate-channel", "metrics_methods"}
TRAINING = MTA | MASKING | CHANNEL | {"train-ft", "evaluate-ft"}
META_TASKS = {"materialize"} | TRAINING | ICL
EVAL_TASKS = {"materialize_evaluation", "evaluate-channel"} | GENERATION | RETRIEVAL | MODEL_FREE
TASKS = META_TASKS | EVAL_TASKS
SPLIT = {"split-cd"} | TASKS
INGEST = {"ingest"} | SPLIT
BACKBONE = {"backbone"} | TRAINING | GENERATION | RETRIEVAL

EXPECTED = {
    "seed": (1, SPLIT),
    "distractors": (1, TASKS),
    "held_out": (["kitchen"], set()),  # it says which folds eval_hd has
    "ingest.tools": ("elsewhere", INGEST),
    "ingest.questions": ("elsewhere", INGEST),
    "ingest.allow_rejected": (True, INGEST),
    "split.tools_list": ("data/split.csv", SPLIT),
    "split.validation": (0.1, SPLIT),
    "split.test": (0.4, SPLIT),
    "split.near_duplicate": (0.9, SPLIT),
    "meta_tasks.count": (7, META_TASKS),
    "meta_tasks.tasks_per_pack": (3, META_TASKS),
    "meta_tasks.support_packs": (2, META_TASKS),
    "meta_tasks.query_packs": (2, META_TASKS),
    "meta_tasks.distractor_kind": ("hard", META_TASKS),
    "meta_tasks.documentation": (0.1, META_TASKS),
    "meta_tasks.query_tasks": (1, META_TASKS),
    "meta_tasks.tools": (6, TASKS),  # evaluation tasks may ask what is trained on
    "meta_tasks.questions_per_tool": (3, TASKS),
    "meta_tasks.abstention": (0.1, META_TASKS),
    "eval_tasks.part": ("validation", EVAL_TASKS),
    "eval_tasks.count": (12, EVAL_TASKS),
    "eval_tasks.distractors": (1, EVAL_TASKS),
    "eval_tasks.tasks_per_set": (3, EVAL_TASKS),
    "eval_tasks.distractor_kind": ("hard", EVAL_TASKS),
    "backbone.source": ("embedded", BACKBONE),
    "backbone.layers": (1, BACKBONE),
    "backbone.dtype": ("bfloat16", BACKBONE),
    "adapter.rank": (2, TRAINING),
    "adapter.alpha": (4, TRAINING),
    "adapter.targets": (["q_proj"], TRAINING),
    "train.loss": ("answer", TRAINING),
    "train.answer_share": (0.2, TRAINING),
    "train.learning_rate": (0.01, TRAINING),
    "train.weight_decay": (0.1, TRAINING),
    "train.warmup": (0.2, TRAINING),
    "train.clip_norm": (2.0, TRAINING),
    "train.meta_batch": (1, TRAINING),
    "train.activation_checkpointing": (True, TRAINING),
    "train.checkpoint_every": (1, TRAINING),
    "masking.share": (0.5, MASKING),
    "mta.hypergradient": ("exact", MTA),
    "mta.product": ("finite_difference", MTA),
    "mta.inner_steps": (2, MTA),
    "mta.inner_lr": (0.01, MTA),
    "mta.support_share": (0.1, MTA),
    "mta.learn_inner_lr": (True, MTA),
    "mta.optimistic": (False, MTA),
    "mta.early_stop": (False, MTA),
    "evaluate.max_new_tokens": (9, GENERATION),
    "reasoning.tokens": (7, REASONING),
    "icl.demonstrations": (1, ICL),
    "metrics.bootstrap": (300, METRICS),
    # Of other targets.
    "chains.folder": ("elsewhere", set()),
    "chains.benchmarks": ([], set()),
    "probes.count": (6, set()),
    "probes.shots": (2, set()),
    "probes.steps": ([0, 3], set()),
    "sweeps.seeds": ([7], set()),
    "sweeps.caps.meta_tasks": (1, set()),
    "sweeps.caps.eval_tasks": (4, set()),
    "sweeps.table2.methods": (["ft"], set()),
    "sweeps.table2.splits": (["hd"], set()),
    "sweeps.compare.hypergradients": (["exact"], set()),
    "sweeps.compare.splits": (["sd"], set()),
    "sweeps.distractors": ([3], set()),
    "sweeps.scale.layers": ([1], set()),
    "sweeps.scale.sources": (["tiny"], set()),
    "sweeps.queries.query_tasks": ([2], set()),
    "sweeps.queries.tools": ([7], set()),
    "sweeps.queries.questions": ([4], set()),
    "sweeps.sensitivity.points": (5, set()),
    "sweeps.sensitivity.outer_lr": ([0.001, 0.01], set()),
    "sweeps.sensitivity.inner_lr": ([0.001, 0.01], set()),
    "sweeps.sensitivity.rank": ([2], set()),
    "sweeps.sensitivity.tasks": ([2], set()),
    "sweeps.sensitivity.inner_steps": ([1], set()),
    "sweeps.search.points": (5, set()),
    "sweeps.search.inner_lr": ([0.001, 0.01], set()),
    "sweeps.search.tasks": ([2], set()),
    "sweeps.search.inner_steps": ([1], set()),
    "sweeps.search.meta_tasks": ([2], set()),
    "sweeps.search.support_share": ([0.0], set()),
    "sweeps.search.hypergradient": (["exact"], set()),
    "sweeps.overlap.shares": ([30], set()),
    "sweeps.overlap.methods": (["base"], set()),
}
"""A new value of each key, and the stages of `eval_cd` and `eval_methods` that it puts out of date."""

CHAINS = {"ingest_chains", "materialize_chains-chains", "report_chains"} | {
    f"evaluate_chains-chains-{method}" for method in params.MAIN_JOB
}
ADAPTED = {"metrics_probe-adaptation", *(f"adapt-{method}" for method in params.PROBED)}
PROBES = {f"metrics_probe-{probe}" for probe in params.PROBES} | {
    *("materialize_adaptation", *(f"materialize_probe-{probe}" for probe in params.PROBES[:-1])),
    *(f"adapt-{method}" for method in params.PROBED),
    *(f"evaluate-probe-{probe}-{method}" for probe in params.PROBES[:-1] for method in params.PROBED),
}
BENCHMARKS = {
    f"evaluate-{benchmark}-{split}-{method}"
    for benchmark in ("toolalpaca", "apibench")
    for split in ("cd", "sd")
    for method in params.MAIN_JOB
}
SWEEPS = {f"sweep-{name}" for name in NAMES}

BEYOND = {
    "held_out": {"metrics_hd", "sweep-table2"},
    "chains.folder": CHAINS,
    "chains.benchmarks": {"report_chains"},
    "probes.count": PROBES,
    "probes.shots": ADAPTED | {"materialize_adaptation"},
    "probes.steps": ADAPTED,
    "sweeps.seeds": SWEEPS - {"sweep-overlap"},  # it has the adapters of the main run
    **dict.fromkeys(("sweeps.caps.meta_tasks", "sweeps.caps.eval_tasks"), SWEEPS),
}
"""The stages of the other targets that a key of theirs puts out of date; a key that is not here is of one sweep."""


def keys(content, above=""):
    """Return the keys that hold a value, with those above them."""
    return {
        key
        for name, value in content.items()
        for key in (keys(value, f"{above}{name}.") if isinstance(value, dict) else {above + name})
    }


def test_the_table_has_every_key_of_params_yaml():
    assert set(EXPECTED) == keys(params.load(HERE.parents[1] / "params.yaml").model_dump())


def test_an_edit_of_any_key_runs_what_depends_on_it_in_both_engines(with_methods, shell):
    # An edit costs seconds. The keys of other targets are edited at once: if all of them run nothing, each of them runs nothing.
    edits = [{key: value} for key, (value, stages) in EXPECTED.items() if stages]
    edits.append({key: value for key, (value, stages) in EXPECTED.items() if not stages})
    given = with_methods.parent / "edits.json"
    given.write_text(json.dumps(edits))
    found = json.loads(shell(f"python {HERE / 'dry_runs.py'} < {given}", with_methods).stdout)
    for edit, runs in zip(edits, found, strict=True):
        stages = EXPECTED[next(iter(edit))][1]
        assert (set(edit), set(runs["snakemake"]), set(runs["dvc"])) == (set(edit), stages, stages)


def test_an_edit_of_a_key_of_another_target_runs_what_depends_on_it_in_both_engines(fresh, shell):
    folder = fresh("beyond")
    edits = {key: value for key, (value, stages) in EXPECTED.items() if not stages}
    asked = edits | {"eval_tasks.count": 5, "eval_tasks.part": "validation"}
    (folder.parent / "edits.json").write_text(json.dumps(asked))
    found = json.loads(shell(f"python {HERE / 'forced_dags.py'} < {folder.parent / 'edits.json'}", folder).stdout)
    # Of the main job's keys, those of evaluation say nothing to what has a number of questions or a part of its own.
    for key, spared in {"eval_tasks.count": PROBES, "eval_tasks.part": BENCHMARKS}.items():
        of_key = found.pop(key)
        assert not spared & {*of_key["snakemake"], *of_key["dvc"]}
    # The page shows params.yaml.
    expected = {key: {"page"} | (BEYOND.get(key) or {f"sweep-{key.split('.')[1]}"}) for key in edits}
    assert {key: set(runs["snakemake"]) for key, runs in found.items()} == expected
    assert {key: set(runs["dvc"]) for key, runs in found.items()} == expected
    # The command of a sweep's stage in DVC may run what a grid that grows brings.
    assert {rule for runs in found.values() for rule in runs["brought"]} <= SWEEPING


LEFT_OVER = """
rule unneeded:
    output: "unneeded.txt"
    params: given=pick()
    shell: "touch {output}"

rule needed:
    output: "needed.txt", "needed.svg"
    params: given=pick()
    shell: "touch {output}"

rule target:
    input: "needed.txt"
"""


def test_rules_outputs_and_figures_that_are_left_over_are_named_and_no_others(fresh, shell):
    folder = fresh("outputs")
    with (folder / "Snakefile").open("a") as file:
        file.write(LEFT_OVER)
    found = json.loads(shell(f"python {HERE / 'every_output.py'}", folder).stdout)
    assert found == {
        "rules that no target needs": ["unneeded"],
        "outputs that DVC does not know": ["needed.svg", "needed.txt"],
        "figures that no report has": ["needed.svg"],
    }


def test_what_snakemake_made_and_set_back_comes_from_the_run_cache(with_methods, shell, tmp_path):
    copy = Path(shutil.copytree(with_methods, tmp_path / "project", symlinks=True))
    text = (copy / "params.yaml").read_text()
    changed = text.replace("bootstrap: 200", "bootstrap: 300")
    assert changed != text
    (copy / "params.yaml").write_text(changed)
    shell("snakemake --cores 2 eval_cd", copy)
    (copy / "params.yaml").write_text(text)
    back = shell("dvc repro", copy).stdout
    assert "is cached - skipping run" in back and "Running stage" not in back
    assert "Nothing to be done" in shell("snakemake -n eval_cd", copy).stdout
