"""Tools and questions as authored -> checked tables.

REQUIRED INPUTS: <ingest.tools>/*, <ingest.questions>/*
OUTPUTS: data/interim/{tools,questions,rejected}.parquet
PARAMS: ingest
"""


rule ingest:
    """Reading the catalog: {params.given}"""
    input:
        files=catalog_files,
        code=code("strict_yaml", "catalog"),
    output:
        tools="data/interim/tools.parquet",
        questions="data/interim/questions.parquet",
        rejected="data/interim/rejected.parquet",
        manifest="data/interim/manifest.json",
    log:
        "logs/ingest.log",
    params:
        given=pick("ingest"),
    shell:
        "python -m metatoolagent ingest --out data/interim --params {params.given:q} --log {log:q}"
