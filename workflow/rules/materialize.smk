"""Parts -> training meta-tasks, and evaluation tasks.

REQUIRED INPUTS: data/interim/tools.parquet, data/processed/<split>/{tools,questions}.parquet
OUTPUTS: results/<variant>/meta_tasks/meta_tasks.parquet, results/<variant>/tasks/eval_tasks.parquet
PARAMS: distractors, seed; meta_tasks for what is trained on; eval_tasks for what is evaluated, and of meta_tasks the tools and questions
    that are trained on, which part `train` asks
"""


rule materialize:
    """Drawing the meta-tasks of {wildcards.variant}: {params.given}"""
    input:
        catalog=tools_of_catalog,
        parts=parts_of_split,
        code=code(
            "catalog/chunks",
            "catalog/schemas",
            "tasks/abstention",
            "tasks/choices",
            "tasks/distractors",
            "tasks/drawing",
            "tasks/meta_tasks",
            "tasks/packs",
            "tasks/pools",
            "tasks/turns",
        ),
    output:
        meta_tasks="results/{variant}/meta_tasks/meta_tasks.parquet",
        manifest="results/{variant}/meta_tasks/manifest.json",
    log:
        "logs/{variant}/materialize.log",
    # Before any training that could start as well: whether the catalog has tools enough for a point of a sweep is found out here,
    # in seconds, and so for all points before hours have gone into the possible ones.
    priority: 1
    params:
        given=pick("distractors", "meta_tasks", "seed"),
        split=split_of,
    shell:
        "python -m metatoolagent materialize {params.split:q} --catalog data/interim"
        " --parts data/processed/{params.split:q} --out results/{wildcards.variant:q}/meta_tasks"
        " --params {params.given:q} --log {log:q}"


rule materialize_evaluation:
    """Drawing the evaluation tasks of {wildcards.variant}: {params.given}"""
    input:
        catalog=tools_of_catalog,
        parts=parts_of_split,
        code=code(
            "catalog/chunks",
            "catalog/schemas",
            "tasks/abstention",
            "tasks/choices",
            "tasks/distractors",
            "tasks/drawing",
            "tasks/eval_tasks",
            "tasks/packs",
            "tasks/pools",
            "tasks/turns",
        ),
    output:
        eval_tasks="results/{variant}/tasks/eval_tasks.parquet",
        manifest="results/{variant}/tasks/manifest.json",
    log:
        "logs/{variant}/materialize_evaluation.log",
    # As above.
    priority: 1
    params:
        given=pick(
            "distractors",
            "eval_tasks",
            "meta_tasks.questions_per_tool",
            "meta_tasks.tools",
            "seed",
        ),
        split=split_of,
    shell:
        "python -m metatoolagent materialize-evaluation {params.split:q} --catalog data/interim"
        " --parts data/processed/{params.split:q} --out results/{wildcards.variant:q}/tasks"
        " --params {params.given:q} --log {log:q}"
