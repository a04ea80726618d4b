"""Entry point of the workflow: `snakemake --cores 8 eval_cd`."""

import os
import sys

from snakemake.utils import min_version

min_version("9.10")


# Every job uses the package of this checkout, also in a DVC experiment's copy of the repository.
SRC = os.path.join(workflow.basedir, "src")
sys.path.insert(0, SRC)
os.environ.update(PYTHONPATH=SRC)


include: "workflow/rules/params.smk"


configfile: "params.yaml"


# The introduction of `snakemake --report`.
report: "workflow/report/workflow.rst"


# What `snakemake --lint` asks for. The jobs run in the environment that snakemake runs in; for `--sdm apptainer` name an image
# with this package installed.
container: "docker://python:3.11-slim"


include: "workflow/rules/common.smk"
include: "workflow/rules/locks.smk"
include: "workflow/rules/failed.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/materialize.smk"
include: "workflow/rules/backbone.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/external.smk"
include: "workflow/rules/probes.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/chains.smk"
include: "workflow/rules/overlap.smk"
include: "workflow/rules/sweep.smk"
include: "workflow/rules/breakdowns.smk"
include: "workflow/rules/shown.smk"
include: "workflow/rules/page.smk"
include: "workflow/rules/dvc.smk"


# The targets. `main` is split cd: candidates from all domains.
rule eval_cd:
    default_target: True
    input:
        "results/main/metrics.json",


rule eval_methods:
    input:
        "results/main/methods/metrics.json",


rule eval_sd:
    input:
        "results/sd/metrics.json",


rule eval_hd:
    input:
        "results/hd/metrics.json",


rule eval_toolalpaca:
    input:
        "results/toolalpaca/metrics.json",


rule eval_apibench:
    input:
        "results/apibench/metrics.json",


rule multi_tool:
    input:
        "results/multi_tool/table.csv",


rule table2:
    input:
        "results/sweep/table2/table.csv",


rule compare:
    input:
        "results/sweep/compare/table.csv",


rule search:
    input:
        "results/sweep/search/table.csv",


rule sweep_distractors:
    input:
        "results/sweep/distractors/table.csv",


rule sweep_scale:
    input:
        "results/sweep/scale/table.csv",


rule sweep_queries:
    input:
        "results/sweep/queries/table.csv",


rule sweep_sensitivity:
    input:
        "results/sweep/sensitivity/table.csv",


rule sweep_overlap:
    input:
        "results/sweep/overlap/table.csv",


rule eval_abstention:
    input:
        "results/probes/abstention/metrics.json",


rule eval_robustness:
    input:
        "results/probes/rotation/metrics.json",
        "results/probes/injection/metrics.json",


rule eval_adaptation:
    input:
        "results/probes/adaptation/metrics.json",


rule eval_probes:
    input:
        expand("results/probes/{probe}/metrics.json", probe=checked.PROBES),


rule report:
    input:
        "results/report/index.html",
