"""Tools whose documentation overlaps: the main run's evaluation tasks again, over changed descriptions.

The variants are `overlap-<shared words in per cent>` and `overlap-siblings`, for the target sweep_overlap. They are evaluated
(rule evaluate) with the adapters of results/main.

REQUIRED INPUTS: data/interim/{tools,questions}.parquet, results/main/tasks/eval_tasks.parquet
OUTPUTS: results/overlap-<kind>/catalog/, results/overlap-<kind>/tasks/eval_tasks.parquet
PARAMS: seed
"""


rule materialize_overlap:
    """Making the documentation of {wildcards.variant}: {params.given}"""
    input:
        catalog=[
            "data/interim/tools.parquet",
            "data/interim/questions.parquet",
            "data/interim/manifest.json",
        ],
        tasks="results/main/tasks/eval_tasks.parquet",
        manifest="results/main/tasks/manifest.json",
        code=code("catalog/schemas", "tasks/distractors", "tasks/overlap"),
    output:
        tools="results/{variant}/catalog/tools.parquet",
        questions="results/{variant}/catalog/questions.parquet",
        catalog="results/{variant}/catalog/manifest.json",
        tasks="results/{variant}/tasks/eval_tasks.parquet",
        manifest="results/{variant}/tasks/manifest.json",
    log:
        "logs/{variant}/materialize.log",
    wildcard_constraints:
        variant=OVERLAP,
    params:
        given=pick("seed"),
        kind=lambda wildcards: wildcards.variant.removeprefix("overlap-"),
    shell:
        "python -m metatoolagent materialize-overlap {params.kind:q} --catalog data/interim --tasks {input.tasks:q}"
        " --out results/{wildcards.variant:q} --params {params.given:q} --log {log:q}"
