"""Published benchmarks: files -> tables -> tasks; their predictions (rule evaluate) -> metrics.

The variants <benchmark>-cd and <benchmark>-sd are evaluated with the adapters of results/main, zero-shot.

REQUIRED INPUTS: data/sources.tsv, data/apibench_tasks.tsv, results/<benchmark>-{cd,sd}/<method>/predictions.parquet
OUTPUTS: data/interim/<benchmark>/, results/<benchmark>-{cd,sd}/tasks/eval_tasks.parquet, results/<benchmark>/metrics.json
PARAMS: distractors, eval_tasks, metrics, seed
"""


rule ingest_external:
    """Reading benchmark {wildcards.benchmark}"""
    input:
        sources="data/sources.tsv",
        tasks=lambda wildcards: (
            ["data/apibench_tasks.tsv"] if wildcards.benchmark == "apibench" else []
        ),
        code=code(
            "strict_tsv",
            "strict_yaml",
            "catalog/chains",
            "catalog/external",
            "catalog/json_schema",
            "catalog/questions",
            "catalog/rejection",
            "catalog/schemas",
            "catalog/text",
            "catalog/tool",
        ),
    output:
        tools="data/interim/{benchmark}/tools.parquet",
        questions="data/interim/{benchmark}/questions.parquet",
        chains="data/interim/{benchmark}/chains.parquet",
        published="data/interim/{benchmark}/published.parquet",
        excluded="data/interim/{benchmark}/excluded.parquet",
        manifest="data/interim/{benchmark}/manifest.json",
    log:
        "logs/{benchmark}/ingest.log",
    params:
        given=pick(),
    shell:
        "python -m metatoolagent ingest-external {wildcards.benchmark:q} --out data/interim/{wildcards.benchmark:q}"
        " --log {log:q}"


rule materialize_external:
    """Drawing the tasks of {wildcards.variant}: {params.given}"""
    input:
        catalog=catalog_of,
        code=code(
            "catalog/schemas",
            "tasks/choices",
            "tasks/distractors",
            "tasks/external",
            "tasks/pools",
        ),
    output:
        eval_tasks="results/{variant}/tasks/eval_tasks.parquet",
        unused="results/{variant}/tasks/unused.parquet",
        manifest="results/{variant}/tasks/manifest.json",
    log:
        "logs/{variant}/materialize.log",
    wildcard_constraints:
        variant=EXTERNAL,
    params:
        given=pick(
            "distractors",
            "eval_tasks.count",
            "eval_tasks.distractor_kind",
            "eval_tasks.distractors",
            "eval_tasks.tasks_per_set",
            "seed",
        ),
        split=lambda wildcards: wildcards.variant.split("-")[1],
        catalog=lambda wildcards, input: os.path.dirname(input.catalog[0]),
    shell:
        "python -m metatoolagent materialize-external {params.split:q} --catalog {params.catalog:q}"
        " --out results/{wildcards.variant:q}/tasks --params {params.given:q} --log {log:q}"


rule metrics_external:
    """Measuring {wildcards.benchmark}: {params.given}"""
    input:
        predictions=expand(
            "results/{{benchmark}}-{split}/{method}/predictions.parquet",
            split=["cd", "sd"],
            method=METHODS,
        ),
        manifests=expand(
            "results/{{benchmark}}-{split}/{method}/manifest.json",
            split=["cd", "sd"],
            method=METHODS,
        ),
        published="data/interim/{benchmark}/published.parquet",
        code=code(
            "catalog/schemas",
            "evaluation/external",
            "evaluation/metrics",
            "evaluation/statistics",
        ),
    output:
        metrics="results/{benchmark}/metrics.json",
        manifest="results/{benchmark}/manifest.json",
    log:
        "logs/{benchmark}/metrics.log",
    params:
        given=pick("metrics", "seed"),
        predictions=lambda wildcards, input: by_variant_and_method(input.predictions),
    shell:
        "python -m metatoolagent metrics-external {params.predictions} --catalog data/interim/{wildcards.benchmark:q}"
        " --out results/{wildcards.benchmark:q} --params {params.given:q} --log {log:q}"
