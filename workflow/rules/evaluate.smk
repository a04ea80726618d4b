"""Evaluation tasks and an adapter -> predictions, one row a task.

REQUIRED INPUTS: results/<variant>/tasks/eval_tasks.parquet, its catalog under data/interim/, models/backbone/, the method's adapter
OUTPUTS: results/<variant>/<method>/predictions.parquet
PARAMS: backbone, evaluate; adapter for methods with one
"""


rule evaluate:
    """Evaluating {wildcards.method} on {wildcards.variant}: {params.given}"""
    input:
        tasks="results/{variant}/tasks/eval_tasks.parquet",
        manifest="results/{variant}/tasks/manifest.json",
        catalog=catalog_of,
        backbone=[
            "models/backbone/model.safetensors",
            "models/backbone/tokenizer.json",
            "models/backbone/manifest.json",
        ],
        adapter=adapter_files,
        code=code(
            "evaluation/predicting",
            "evaluation/scoring",
            "meta/losses",
            "models",
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
        variant=f"{TRAINED}|{EXTERNAL}",
    # All cores: Snakemake tells the job through OMP_NUM_THREADS, and two model jobs would fight for them.
    threads: 8
    resources:
        gpu=1,
        mem_mb=4000,
    params:
        given=lambda wildcards: pick(
            "backbone", "evaluate", *checked.OF_METHOD[wildcards.method][:1]
        ),
        catalog=lambda wildcards, input: os.path.dirname(input.catalog[0]),
        adapter=lambda wildcards, input: (
            f"--adapter {os.path.dirname(input.adapter[0])}" if input.adapter else ""
        ),
    shell:
        "python -m metatoolagent evaluate {wildcards.method:q} --tasks {input.tasks:q} --catalog {params.catalog:q}"
        " --backbone models/backbone {params.adapter} --out results/{wildcards.variant:q}/{wildcards.method:q}"
        " --params {params.given:q} --log {log:q}"
