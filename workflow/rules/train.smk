"""Meta-tasks -> an adapter, by fine-tuning (ft; channel: on the likelihood of questions; masking: on masked names) or meta-learning (mta).

REQUIRED INPUTS: results/<variant>/meta_tasks/meta_tasks.parquet, data/interim/, models/backbone/
OUTPUTS: results/<variant>/<method>/adapter/
PARAMS: adapter, backbone, seed, train; mta for method mta, masking for method masking
"""


rule train:
    """Training {wildcards.method} on {wildcards.variant}: {params.given}"""
    input:
        tasks=training_tasks,
        catalog=[
            "data/interim/tools.parquet",
            "data/interim/questions.parquet",
            "data/interim/manifest.json",
        ],
        backbone=backbone_files,
        code=code(
            "catalog/parameters",
            "meta",
            "models",
            "tasks/abstention",
            "tasks/channel",
            "tasks/distractors",
            "tasks/masking",
            "tasks/packing",
            "tasks/prompts",
            "tasks/rendering",
        ),
    output:
        weights="results/{variant}/{method}/adapter/adapter_model.safetensors",
        config="results/{variant}/{method}/adapter/adapter_config.json",
        log="results/{variant}/{method}/adapter/train_log.csv",
        manifest="results/{variant}/{method}/adapter/manifest.json",
    log:
        "logs/{variant}/{method}/train.log",
    # All cores: Snakemake tells the job through OMP_NUM_THREADS, and two model jobs would fight for them.
    threads: 8
    resources:
        # As many processes train together, to the result of one: --set-resources train:gpu=4, with train.meta_batch: 4 or more.
        gpu=1,
        mem_mb=at_each_attempt(8000),
        runtime=240,
    params:
        given=lambda wildcards: pick(
            "backbone", "seed", *checked.OF_METHOD[wildcards.method]
        )(wildcards),
        backbone=backbone_of,
    shell:
        "python -m metatoolagent train {wildcards.method:q} --tasks {input.tasks[0]:q} --catalog data/interim"
        " --backbone {params.backbone:q} --out results/{wildcards.variant:q}/{wildcards.method:q}/adapter --processes {resources.gpu}"
        " --params {params.given:q} --log {log:q}"
