"""Entry point of the workflow: `snakemake --cores 8 eval_cd`."""

import os
import sys

from snakemake.utils import min_version

min_version("9.10")


configfile: "params.yaml"


# The introduction of `snakemake --report`.
report: "workflow/report/workflow.rst"


# For `--sdm apptainer`; without it the jobs run in the environment that snakemake runs in.
container: "docker://python:3.11-slim"


# Every job uses the package of this checkout, also in a DVC experiment's copy of the repository.
SRC = os.path.join(workflow.basedir, "src")
sys.path.insert(0, SRC)
os.environ.update(PYTHONPATH=SRC)


include: "workflow/rules/common.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/materialize.smk"
include: "workflow/rules/backbone.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/external.smk"
include: "workflow/rules/report.smk"
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


rule report:
    input:
        "results/report/index.html",
