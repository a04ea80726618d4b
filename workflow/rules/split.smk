"""Checked tables -> tools and questions with their part: train, validation or test.

REQUIRED INPUTS: data/interim/{tools,questions}.parquet, <split.tools_list>
OUTPUTS: data/processed/<split>/{tools,questions}.parquet
PARAMS: split, seed
"""


rule split:
    """Parting the tools for split {wildcards.split}: {params.given}"""
    input:
        tools="data/interim/tools.parquet",
        questions="data/interim/questions.parquet",
        manifest="data/interim/manifest.json",
        list=tools_list,
        code=code(
            "strict_yaml",
            "catalog/chunks",
            "catalog/schemas",
            "catalog/similar",
            "catalog/text",
            "tasks/leakage",
            "tasks/splits",
        ),
    output:
        tools="data/processed/{split}/tools.parquet",
        questions="data/processed/{split}/questions.parquet",
        manifest="data/processed/{split}/manifest.json",
    log:
        "logs/split/{split}.log",
    resources:
        # Ten million questions take an hour and 2.8 GiB (docs/cluster.md).
        mem_mb=at_each_attempt(4000),
        runtime=180,
    params:
        given=pick("seed", "split"),
    shell:
        "python -m metatoolagent split {wildcards.split:q} --catalog data/interim"
        " --out data/processed/{wildcards.split:q} --params {params.given:q} --log {log:q}"
