"""A sweep: predictions of all its variants -> one table, one figure, one paragraph.

The variants are made by the same rules as the main run; which there are, the module of the sweep says.

REQUIRED INPUTS: results/<variant>/<method>/predictions.parquet; for queries data/processed/cd/questions.parquet
OUTPUTS: results/sweep/<sweep>/{table.csv,figure.json,figure.svg,figure.png,finding.md}
PARAMS: metrics, seed, sweeps
"""


rule sweep:
    """Collecting sweep {wildcards.sweep}: {params.given}"""
    input:
        predictions=sweep_files,
        parts=parts_of_sweep,
        code=code(
            "variants",
            "catalog/schemas",
            "evaluation/metrics",
            "evaluation/statistics",
            "look",
            "sweeps/bound",
            "sweeps/compare",
            "sweeps/runs",
            "sweeps/sensitivity",
            "sweeps/space",
            "sweeps/stage",
            "sweeps/table",
            "sweeps/wording",
        ),
        module=lambda wildcards: code(f"sweeps/{wildcards.sweep}"),
    output:
        table="results/sweep/{sweep}/table.csv",
        spec="results/sweep/{sweep}/figure.json",
        svg=report(
            "results/sweep/{sweep}/figure.svg",
            caption="../report/sweep.rst",
            category="Chains and sweeps",
            labels={"target": "{sweep}"},
        ),
        png="results/sweep/{sweep}/figure.png",
        finding="results/sweep/{sweep}/finding.md",
        manifest="results/sweep/{sweep}/manifest.json",
    log:
        "logs/sweep/{sweep}.log",
    params:
        given=given_to_sweep,
        runs=lambda wildcards: runs.to_json(runs_of(wildcards.sweep)),
        parts=lambda wildcards, input: (
            f"--parts {os.path.dirname(input.parts[0])}" if input.parts else ""
        ),
    shell:
        # Snakemake puts a long command into a script, but many runs are longer than one argument of a program may be (128 KiB);
        # printf is the shell's own and has no such limit.
        "printf %s {params.runs:q} | python -m metatoolagent sweep {wildcards.sweep:q} --runs - {params.parts}"
        " --out results/sweep/{wildcards.sweep:q} --params {params.given:q} --log {log:q}"
