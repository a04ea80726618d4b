"""Metrics, breakdowns and predictions -> figures, and one page that shows them all.

The main job's results are required. Those of other splits, methods, benchmarks, probes, chains and sweeps are shown where they
are there and up to date, and never made for the page: docs/decisions/0012-what-the-page-shows.md.

REQUIRED INPUTS: results/<variant>/metrics.json, results/<variant>/<method>/predictions.parquet, results/<variant>/breakdowns/,
    results/main/<method>/adapter/train_log.csv, workflow/report/*.rst; where they are, results/probes/<probe>/metrics.json and
    {finding.md,figure.json,table.csv} of results/multi_tool/ and results/sweep/<sweep>/
OUTPUTS: results/report/figures/, results/report/index.html
PARAMS: all, to be shown
"""

FIGURES = [
    "accuracy",
    "candidates",
    "domain",
    "kind",
    "position",
    "style",
    "siblings",
    "confusions",
    "training_loss",
    "training_right",
]


rule figures:
    """Drawing the figures"""
    input:
        metrics=shown_metrics,
        breakdowns=lambda wildcards: expand(
            "results/{variant}/breakdowns/{table}.parquet",
            variant=shown_variants(),
            table=["breakdowns", "confusions"],
        ),
        logs=shown_logs,
        candidates=candidates_table,
        code=code(
            "catalog/schemas",
            "evaluation/metrics",
            "evaluation/statistics",
            "look",
            "reporting/charts",
            "reporting/figures",
            "reporting/numbers",
            "reporting/probes",
            "reporting/tables",
            "reporting/terminal",
        ),
    output:
        [
            report(
                f"results/report/figures/{name}.svg",
                caption=f"../report/{name}.rst",
                category="Figures",
            )
            for name in FIGURES
        ],
        expand(
            "results/report/figures/{name}.{form}", name=FIGURES, form=["csv", "json"]
        ),
        manifest="results/report/figures/manifest.json",
    log:
        "logs/report/figures.log",
    params:
        given=pick("distractors"),
        metrics=lambda wildcards, input: [f"--metrics {path}" for path in input.metrics],
        breakdowns=lambda wildcards, input: [
            f"--breakdown {folder}"
            for folder in dict.fromkeys(map(os.path.dirname, input.breakdowns))
        ],
        logs=lambda wildcards, input: [
            f"--curve {path.split('/')[2]}={path}" for path in input.logs
        ],
        candidates=lambda wildcards, input: [
            f"--candidates {path}" for path in input.candidates
        ],
    shell:
        "python -m metatoolagent figures {params.metrics} {params.breakdowns} {params.logs} {params.candidates}"
        " --out results/report/figures --params {params.given:q} --log {log:q}"


rule page:
    """Making the page"""
    input:
        figures=expand("results/report/figures/{name}.json", name=FIGURES),
        captions=expand("workflow/report/{name}.rst", name=FIGURES),
        metrics=shown_metrics,
        predictions=shown_predictions,
        probes=shown_probes,
        programme=shown_programme,
        catalogs=lambda wildcards: sorted(
            {
                path
                for variant in shown_variants()
                for path in catalog_of(SimpleNamespace(variant=variant))
            }
        ),
        template=glob.glob("src/metatoolagent/reporting/templates/*"),
        code=code(
            "catalog/croissant",
            "catalog/schemas",
            "evaluation/breakdowns",
            "evaluation/metrics",
            "evaluation/statistics",
            "look",
            "reporting",
        ),
    output:
        page=report(
            "results/report/index.html", caption="../report/page.rst", category="Page"
        ),
        manifest="results/report/manifest.json",
    log:
        "logs/report/page.log",
    params:
        given=pick(*config),
        metrics=lambda wildcards, input: [f"--metrics {path}" for path in input.metrics],
        predictions=options_of_predictions,
        beyond=options_beyond,
    shell:
        "python -m metatoolagent page --figures results/report/figures --captions workflow/report {params.metrics}"
        " {params.predictions} {params.beyond} --out results/report --params {params.given:q} --log {log:q}"
