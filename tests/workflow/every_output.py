"""Prints, as JSON, each rule that no target needs, each output that is neither one of DVC's nor temporary, and each SVG
that Snakemake's own report would lack.

The stages are those of a project in which every target has run; `python every_output.py` in a fresh one writes their
files, and DVC itself reads them.
"""

import json
import os
import sys
from itertools import groupby
from pathlib import Path

from dvc.repo import Repo
from snakemake.api import SnakemakeApi
from snakemake.io import is_flagged
from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings


def targets():
    """Return the names of all targets."""
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        flow = api.workflow(ResourceSettings(cores=1), snakefile=Path("Snakefile"))
        return {rule.name for rule in flow._workflow.rules if not rule.output}


def write_stages(dag):
    """Write the files of DVC's stages beside dvc.yaml, as a run of every target leaves them."""
    from metatoolagent import stages

    jobs = sorted(filter(stages.is_stage, dag.jobs), key=stages.file_of)
    for file, group in groupby(jobs, key=stages.file_of):
        if file != stages.MAIN:
            stages.add(Path(file), {stages.stage_name(job): stages.stage(dag, job) for job in group})


def main():
    """Walk over the jobs of all targets."""
    sys.path.insert(0, os.path.abspath("src"))  # noqa: PTH100
    wanted = targets()
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        flow = api.workflow(ResourceSettings(cores=1), snakefile=Path("Snakefile"))
        rules = list(flow._workflow.rules)
        flow.dag(DAGSettings(targets=wanted, forceall=True))
        flow._workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
        flow._workflow._build_dag()
        dag = flow._workflow.dag
        jobs = [job for job in dag.jobs if job.output]
        write_stages(dag)
    with Repo() as repo:
        known = {Path(out.fs_path).relative_to(repo.root_dir).as_posix() for out in repo.index.outs}
    outputs = {Path(out) for job in jobs for out in job.output if not is_flagged(out, "temp")}
    # A sweep's folder is one output of DVC's.
    unknown = {str(out) for out in outputs if not known & {out.as_posix(), *(folder.as_posix() for folder in out.parents)}}
    needed = {job.rule.name for job in jobs}
    figures = [out for job in jobs for out in job.output if out.endswith(".svg")]
    found = {
        "rules that no target needs": sorted(rule.name for rule in rules if rule.output and rule.name not in needed),
        "outputs that DVC does not know": sorted(unknown),
        "figures that no report has": sorted(out for out in figures if not is_flagged(out, "report")),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
