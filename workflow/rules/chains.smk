"""Questions that need several tools in order: authored YAML -> chains -> tasks -> choices -> the target multi_tool.

The variants are `chains`, our own, and `<benchmark>-chains` of each of chains.benchmarks. They are evaluated with the adapters of
results/main.

REQUIRED INPUTS: <chains.folder>/*, data/interim/{tools,questions}.parquet, data/interim/<benchmark>/, data/processed/cd/,
    models/backbone/, the method's adapter
OUTPUTS: data/interim/chains/, results/<variant>/tasks/chain_tasks.parquet, results/<variant>/<method>/chain_predictions.parquet,
    results/multi_tool/{metrics.json,table.csv,figure.json,figure.svg,figure.png,finding.md}
PARAMS: chains, distractors, evaluate, ingest, seed, split; backbone for methods with a model, adapter for those that train one
"""


rule ingest_chains:
    """Reading the chains: {params.given}"""
    input:
        files=chain_files,
        catalog=[
            "data/interim/tools.parquet",
            "data/interim/questions.parquet",
            "data/interim/manifest.json",
        ],
        code=code("strict_yaml", "catalog"),
    output:
        chains="data/interim/chains/chains.parquet",
        rejected="data/interim/chains/rejected.parquet",
        manifest="data/interim/chains/manifest.json",
    log:
        "logs/chains/ingest.log",
    params:
        given=pick("chains.folder", "ingest"),
    shell:
        "python -m metatoolagent ingest-chains --catalog data/interim --out data/interim/chains --params {params.given:q}"
        " --log {log:q}"


rule materialize_chains:
    """Drawing the tasks of {wildcards.variant}: {params.given}"""
    input:
        chains=chains_of,
        catalog=catalog_of,
        parts=parts_of_chains,
        code=code(
            "catalog/parameters",
            "catalog/schemas",
            "catalog/similar",
            "catalog/text",
            "strict_yaml",
            "tasks/abstention",
            "tasks/chain_tasks",
            "tasks/distractors",
            "tasks/packing",
            "tasks/prompts",
            "tasks/rendering",
        ),
    output:
        tasks="results/{variant}/tasks/chain_tasks.parquet",
        manifest="results/{variant}/tasks/manifest.json",
    log:
        "logs/{variant}/materialize.log",
    wildcard_constraints:
        variant=CHAINS,
    params:
        given=pick("distractors", "seed", "split"),
        catalog=lambda wildcards, input: os.path.dirname(input.catalog[0]),
        parts=lambda wildcards, input: (
            f"--parts {os.path.dirname(input.parts[0])}" if input.parts else ""
        ),
    shell:
        "python -m metatoolagent materialize-chains --chains {input.chains[0]:q} --catalog {params.catalog:q} {params.parts}"
        " --out results/{wildcards.variant:q}/tasks --params {params.given:q} --log {log:q}"


rule evaluate_chains:
    """Applying {wildcards.method} step by step to {wildcards.variant}: {params.given}"""
    input:
        tasks="results/{variant}/tasks/chain_tasks.parquet",
        manifest="results/{variant}/tasks/manifest.json",
        catalog=catalog_of,
        backbone=backbone_files,
        adapter=adapter_files,
        method=method_code,
        code=code(
            "catalog/parameters",
            "catalog/schemas",
            "evaluation/answers",
            "evaluation/chains",
            "evaluation/generation",
            "evaluation/job",
            "evaluation/language",
            "evaluation/opening",
            "evaluation/resuming",
            "evaluation/scoring",
            "meta/checkpoints",
            "meta/losses",
            "meta/supervision",
            "models",
            "strict_yaml",
            "tasks/abstention",
            "tasks/channel",
            "tasks/distractors",
            "tasks/packing",
            "tasks/prompts",
            "tasks/rendering",
        ),
    output:
        predictions="results/{variant}/{method}/chain_predictions.parquet",
        manifest="results/{variant}/{method}/manifest.json",
    log:
        "logs/{variant}/{method}/evaluate.log",
    wildcard_constraints:
        variant=CHAINS,
    threads: 8
    resources:
        gpu=gpus,
        mem_mb=at_each_attempt(6000),
        runtime=120,
    params:
        given=given_to_evaluate,
        backbone=backbone_of,
        catalog=lambda wildcards, input: os.path.dirname(input.catalog[0]),
        adapter=lambda wildcards, input: (
            f"--adapter {os.path.dirname(input.adapter[0])}" if input.adapter else ""
        ),
    shell:
        "python -m metatoolagent evaluate-chains {wildcards.method:q} --tasks {input.tasks:q} --catalog {params.catalog:q}"
        " --backbone {params.backbone:q} {params.adapter} --out results/{wildcards.variant:q}/{wildcards.method:q}"
        " --params {params.given:q} --log {log:q}"


rule report_chains:
    """Reporting the chains: {params.given}"""
    input:
        predictions=expand(
            "results/{variant}/{method}/chain_predictions.parquet",
            variant=chain_variants(),
            method=METHODS,
        ),
        manifests=expand(
            "results/{variant}/{method}/manifest.json",
            variant=chain_variants(),
            method=METHODS,
        ),
        code=code(
            "strict_yaml",
            "catalog/schemas",
            "evaluation/chain_metrics",
            "evaluation/metrics",
            "evaluation/statistics",
            "look",
            "reporting/chains",
        ),
    output:
        metrics="results/multi_tool/metrics.json",
        table="results/multi_tool/table.csv",
        spec="results/multi_tool/figure.json",
        svg=report(
            "results/multi_tool/figure.svg",
            caption="../report/multi_tool.rst",
            category="Chains and sweeps",
            labels={"target": "multi_tool"},
        ),
        png="results/multi_tool/figure.png",
        finding="results/multi_tool/finding.md",
        manifest="results/multi_tool/manifest.json",
    log:
        "logs/multi_tool.log",
    params:
        # With the benchmarks, which say whose predictions there are.
        given=pick("chains.benchmarks", "metrics", "seed"),
        predictions=lambda wildcards, input: by_variant_and_method(input.predictions),
    shell:
        "python -m metatoolagent report-chains {params.predictions} --out results/multi_tool --params {params.given:q}"
        " --log {log:q}"
