"""Parts -> training meta-tasks and evaluation tasks.

REQUIRED INPUTS: data/interim/{tools,questions}.parquet, data/processed/<split>/{tools,questions}.parquet
OUTPUTS: results/<variant>/tasks/{meta_tasks,eval_tasks}.parquet
PARAMS: distractors, meta_tasks, eval_tasks, seed
"""


rule materialize:
    """Drawing the tasks of {wildcards.variant}: {params.given}"""
    input:
        catalog=[
            "data/interim/tools.parquet",
            "data/interim/questions.parquet",
            "data/interim/manifest.json",
        ],
        parts=lambda wildcards: expand(
            "data/processed/{split}/{file}",
            split=split_of(wildcards),
            file=["tools.parquet", "questions.parquet", "manifest.json"],
        ),
        code=code(
            "catalog/chunks",
            "catalog/schemas",
            "tasks/abstention",
            "tasks/choices",
            "tasks/distractors",
            "tasks/eval_tasks",
            "tasks/meta_tasks",
            "tasks/packs",
            "tasks/turns",
        ),
    output:
        meta_tasks="results/{variant}/tasks/meta_tasks.parquet",
        eval_tasks="results/{variant}/tasks/eval_tasks.parquet",
        manifest="results/{variant}/tasks/manifest.json",
    log:
        "logs/{variant}/materialize.log",
    # Before any training that could start as well: whether the catalog has tools enough for a point of a sweep is found out here,
    # in seconds, and so for all points before hours have gone into the possible ones.
    priority: 1
    params:
        given=pick("distractors", "eval_tasks", "meta_tasks", "seed"),
        split=split_of,
    shell:
        "python -m metatoolagent materialize {params.split:q} --catalog data/interim"
        " --parts data/processed/{params.split:q} --out results/{wildcards.variant:q}/tasks"
        " --params {params.given:q} --log {log:q}"
