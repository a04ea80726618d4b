"""Probes of our own unseen tools, split cd: abstention, rotation, injection, adaptation.

The variants probe-<probe> are evaluated with the adapters of results/main: by rule evaluate, and adaptation by rule adapt.

REQUIRED INPUTS: data/interim/tools.parquet, data/processed/cd/{tools,questions}.parquet, data/injections.tsv,
    results/main/<method>/adapter/, models/backbone/
OUTPUTS: results/probe-<probe>/tasks/{eval_tasks,support}.parquet, results/probe-adaptation/<method>/predictions.parquet,
    results/probes/<probe>/metrics.json
PARAMS: distractors, eval_tasks, evaluate, probes, seed; adapter, backbone, mta, train for adaptation
"""


rule materialize_probe:
    """Drawing the tasks of probe {wildcards.probe}: {params.given}"""
    input:
        catalog=["data/interim/tools.parquet", "data/interim/manifest.json"],
        parts=expand(
            "data/processed/cd/{file}",
            file=["tools.parquet", "questions.parquet", "manifest.json"],
        ),
        attacks=lambda wildcards: (
            ["data/injections.tsv"] if wildcards.probe == "injection" else []
        ),
        code=code(
            "catalog/chunks",
            "catalog/schemas",
            "tasks/abstention",
            "tasks/choices",
            "tasks/distractors",
            "tasks/drawing",
            "tasks/pools",
            "tasks/probes",
        ),
    output:
        eval_tasks="results/probe-{probe}/tasks/eval_tasks.parquet",
        manifest="results/probe-{probe}/tasks/manifest.json",
    log:
        "logs/probe-{probe}/materialize.log",
    wildcard_constraints:
        probe="|".join(checked.PROBES[:-1]),
    params:
        given=pick(
            "distractors",
            "eval_tasks.distractor_kind",
            "eval_tasks.distractors",
            "eval_tasks.part",
            "eval_tasks.tasks_per_set",
            "probes.count",
            "seed",
        ),
    shell:
        "python -m metatoolagent materialize-probe {wildcards.probe:q} --catalog data/interim"
        " --parts data/processed/cd --out results/probe-{wildcards.probe:q}/tasks"
        " --params {params.given:q} --log {log:q}"


rule materialize_adaptation:
    """Drawing the tasks of probe adaptation: {params.given}"""
    input:
        parts=[
            "data/processed/cd/questions.parquet",
            "data/processed/cd/manifest.json",
        ],
        code=code(
            "catalog/chunks",
            "catalog/schemas",
            "tasks/abstention",
            "tasks/choices",
            "tasks/distractors",
            "tasks/drawing",
            "tasks/pools",
            "tasks/probes",
        ),
    output:
        eval_tasks="results/probe-adaptation/tasks/eval_tasks.parquet",
        support="results/probe-adaptation/tasks/support.parquet",
        manifest="results/probe-adaptation/tasks/manifest.json",
    log:
        "logs/probe-adaptation/materialize.log",
    params:
        given=pick(
            "distractors",
            "eval_tasks.distractors",
            "eval_tasks.part",
            "probes.count",
            "probes.shots",
            "seed",
        ),
    shell:
        "python -m metatoolagent materialize-adaptation --parts data/processed/cd"
        " --out results/probe-adaptation/tasks --params {params.given:q} --log {log:q}"


rule adapt:
    """Adapting {wildcards.method} to unseen tools: {params.given}"""
    input:
        tasks="results/probe-adaptation/tasks/eval_tasks.parquet",
        support="results/probe-adaptation/tasks/support.parquet",
        manifest="results/probe-adaptation/tasks/manifest.json",
        catalog=[
            "data/interim/tools.parquet",
            "data/interim/questions.parquet",
            "data/interim/manifest.json",
        ],
        backbone=backbone_files,
        adapter=adapter_files,
        code=code(
            "catalog/parameters",
            "evaluation/adapting",
            "evaluation/answers",
            "evaluation/generation",
            "evaluation/job",
            "evaluation/language",
            "evaluation/opening",
            "evaluation/predicting",
            "evaluation/resuming",
            "evaluation/scoring",
            "meta/checkpoints",
            "meta/inner_loop",
            "meta/inner_rates",
            "meta/losses",
            "meta/supervision",
            "models",
            "tasks/abstention",
            "tasks/channel",
            "tasks/distractors",
            "tasks/packing",
            "tasks/prompts",
            "tasks/rendering",
        ),
    output:
        predictions="results/probe-adaptation/{method}/predictions.parquet",
        manifest="results/probe-adaptation/{method}/manifest.json",
    log:
        "logs/probe-adaptation/{method}/adapt.log",
    wildcard_constraints:
        method="|".join(checked.PROBED),
    # All cores: Snakemake tells the job through OMP_NUM_THREADS, and two model jobs would fight for them.
    threads: 8
    resources:
        gpu=1,
        mem_mb=at_each_attempt(6000),
        runtime=120,
    params:
        given=pick(
            "adapter", "backbone", "evaluate", "mta", "probes.steps", "seed", "train"
        ),
        adapter=lambda wildcards, input: (
            f"--adapter {os.path.dirname(input.adapter[0])}" if input.adapter else ""
        ),
    shell:
        "python -m metatoolagent adapt {wildcards.method:q} --tasks {input.tasks:q} --support {input.support:q}"
        " --catalog data/interim --backbone models/backbone {params.adapter}"
        " --out results/probe-adaptation/{wildcards.method:q} --params {params.given:q} --log {log:q}"


rule metrics_probe:
    """Measuring probe {wildcards.probe}: {params.given}"""
    input:
        predictions=expand(
            "results/probe-{{probe}}/{method}/predictions.parquet",
            method=checked.PROBED,
        ),
        manifests=expand(
            "results/probe-{{probe}}/{method}/manifest.json", method=checked.PROBED
        ),
        code=code(
            "catalog/schemas",
            "evaluation/metrics",
            "evaluation/probes",
            "evaluation/statistics",
            "tasks/abstention",
            "tasks/distractors",
        ),
    output:
        metrics="results/probes/{probe}/metrics.json",
        manifest="results/probes/{probe}/manifest.json",
    log:
        "logs/probes/{probe}/metrics.log",
    params:
        given=pick("metrics", "seed"),
        predictions=lambda wildcards, input: [
            f"--prediction {path.split('/')[2]}={path}" for path in input.predictions
        ],
    shell:
        "python -m metatoolagent metrics-probe {wildcards.probe:q} {params.predictions}"
        " --out results/probes/{wildcards.probe:q} --params {params.given:q} --log {log:q}"
