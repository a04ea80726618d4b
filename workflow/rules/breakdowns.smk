"""Predictions -> accuracy by what a task is like, and which tools are taken for which.

REQUIRED INPUTS: results/<variant>/<method>/predictions.parquet, the catalog of the variant's tasks under data/interim/
OUTPUTS: results/<variant>/breakdowns/{breakdowns,confusions}.parquet
PARAMS: metrics, seed
"""


rule breakdowns:
    """Measuring {wildcards.variant} by kind of task: {params.given}"""
    input:
        predictions=predictions_of,
        catalog=catalog_of,
        code=code(
            "catalog/schemas",
            "evaluation/breakdowns",
            "evaluation/metrics",
            "evaluation/statistics",
        ),
    output:
        breakdowns="results/{variant}/breakdowns/breakdowns.parquet",
        confusions="results/{variant}/breakdowns/confusions.parquet",
        manifest="results/{variant}/breakdowns/manifest.json",
    log:
        "logs/{variant}/breakdowns.log",
    wildcard_constraints:
        variant=f"main|sd|hd|{EXTERNAL}",
    params:
        given=pick("metrics", "seed"),
        split=split_of,
        catalog=lambda wildcards, input: os.path.dirname(input.catalog[0]),
        predictions=lambda wildcards, input: [
            f"--prediction {path.split('/')[2]}={path}" for path in input.predictions
        ],
    shell:
        "python -m metatoolagent breakdowns {params.split:q} {params.predictions} --catalog {params.catalog:q}"
        " --out results/{wildcards.variant:q}/breakdowns --params {params.given:q} --log {log:q}"
