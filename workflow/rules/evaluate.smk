"""Evaluation tasks and an adapter -> predictions, one row a task.

REQUIRED INPUTS: results/<variant>/tasks/eval_tasks.parquet, its catalog under data/interim/, models/backbone/, the method's adapter; for icl
    results/<variant>/meta_tasks/meta_tasks.parquet
OUTPUTS: results/<variant>/<method>/predictions.parquet
PARAMS: seed; backbone for methods with a model, evaluate for those that generate, adapter for those that train one; reasoning for cot and react,
    icl for icl
"""


rule evaluate:
    """Evaluating {wildcards.method} on {wildcards.variant}: {params.given}"""
    input:
        tasks=evaluation_tasks,
        catalog=catalog_of,
        backbone=backbone_files,
        adapter=adapter_files,
        demonstrations=demonstration_files,
        method=method_code,
        code=code(
            "catalog/parameters",
            "evaluation/answers",
            "evaluation/generation",
            "evaluation/job",
            "evaluation/language",
            "evaluation/opening",
            "evaluation/predicting",
            "evaluation/resuming",
            "evaluation/scoring",
            "meta/checkpoints",
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
        predictions="results/{variant}/{method}/predictions.parquet",
        manifest="results/{variant}/{method}/manifest.json",
    log:
        "logs/{variant}/{method}/evaluate.log",
    wildcard_constraints:
        variant=f"{TRAINED}|{EXTERNAL}|{OVERLAP}|{PROBED}",
    # All cores: Snakemake tells the job through OMP_NUM_THREADS, and two model jobs would fight for them.
    threads: 8
    resources:
        gpu=gpus,
        mem_mb=at_each_attempt(6000),
        runtime=120,
    params:
        given=given_to_evaluate,
        backbone=backbone_of,
        catalog=lambda wildcards, input: os.path.dirname(input.catalog[0]),
        adapter=lambda wildcards, input: (
            f"--adapter {os.path.dirname(input.adapter[0])}" if input.adapter else ""
        ),
        demonstrations=lambda wildcards, input: (
            f"--demonstrations {input.demonstrations[0]}"
            if input.demonstrations
            else ""
        ),
    shell:
        "python -m metatoolagent evaluate {wildcards.method:q} --tasks {input.tasks[0]:q} --catalog {params.catalog:q}"
        " --backbone {params.backbone:q} {params.adapter} {params.demonstrations} --out results/{wildcards.variant:q}/{wildcards.method:q}"
        " --params {params.given:q} --log {log:q}"
