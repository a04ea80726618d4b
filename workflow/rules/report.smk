"""Predictions -> metrics, with intervals and paired tests.

REQUIRED INPUTS: results/<variant>/<method>/predictions.parquet
OUTPUTS: results/main/metrics.json (split cd), results/sd/metrics.json, results/hd/metrics.json (all folds together);
    results/<variant>/methods/metrics.json (every method); accuracies.csv beside each
PARAMS: metrics, seed; held_out says which folds split hd has
"""


rule metrics:
    """Measuring {wildcards.variant}: {params.given}"""
    input:
        predictions=expand(
            "results/{{variant}}/{method}/predictions.parquet", method=METHODS
        ),
        manifests=expand("results/{{variant}}/{method}/manifest.json", method=METHODS),
        code=code("catalog/schemas", "evaluation/metrics", "evaluation/statistics"),
    output:
        metrics="results/{variant}/metrics.json",
        accuracies="results/{variant}/accuracies.csv",
        manifest="results/{variant}/manifest.json",
    log:
        "logs/{variant}/metrics.log",
    params:
        given=pick("metrics", "seed"),
        split=split_of,
        predictions=lambda wildcards, input: by_method(input.predictions),
    shell:
        "python -m metatoolagent metrics {params.split:q} {params.predictions}"
        " --out results/{wildcards.variant:q} --params {params.given:q} --log {log:q}"


rule metrics_methods:
    """Measuring every method on {wildcards.variant}: {params.given}"""
    input:
        predictions=expand(
            "results/{{variant}}/{method}/predictions.parquet", method=ALL_METHODS
        ),
        manifests=expand(
            "results/{{variant}}/{method}/manifest.json", method=ALL_METHODS
        ),
        code=code("catalog/schemas", "evaluation/metrics", "evaluation/statistics"),
    output:
        metrics="results/{variant}/methods/metrics.json",
        accuracies="results/{variant}/methods/accuracies.csv",
        manifest="results/{variant}/methods/manifest.json",
    log:
        "logs/{variant}/methods/metrics.log",
    params:
        given=pick("metrics", "seed"),
        split=split_of,
        predictions=lambda wildcards, input: by_method(input.predictions),
    shell:
        "python -m metatoolagent metrics {params.split:q} {params.predictions}"
        " --out results/{wildcards.variant:q}/methods --params {params.given:q} --log {log:q}"


rule metrics_hd:
    """Measuring all folds of split hd together: {params.given}"""
    input:
        predictions=fold_predictions,
        code=code("catalog/schemas", "evaluation/metrics", "evaluation/statistics"),
    output:
        metrics="results/hd/metrics.json",
        accuracies="results/hd/accuracies.csv",
        manifest="results/hd/manifest.json",
    log:
        "logs/hd/metrics.log",
    params:
        given=pick("held_out", "metrics", "seed"),
        predictions=lambda wildcards, input: by_method(input.predictions),
    shell:
        "python -m metatoolagent metrics hd {params.predictions} --out results/hd --params {params.given:q} --log {log:q}"
