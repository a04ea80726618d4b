"""Prints, as JSON, each rule that no target needs, and each output that is neither one of DVC's nor temporary.

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


def main():
    """Walk over the jobs of all targets."""
    sys.path.insert(0, os.path.abspath("src"))  # noqa: PTH100
    from metatoolagent import stages

    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        flow = api.workflow(ResourceSettings(cores=1), snakefile=Path("Snakefile"))
        rules = list(flow._workflow.rules)
        targets = {rule.name for rule in rules if not rule.output}
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        flow = api.workflow(ResourceSettings(cores=1), snakefile=Path("Snakefile"))
        flow.dag(DAGSettings(targets=targets, forceall=True))
        flow._workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
        flow._workflow._build_dag()
        dag = flow._workflow.dag
        jobs = [job for job in dag.jobs if job.output]
        own = sorted(filter(stages.is_stage, jobs), key=stages.file_of)
        for file, group in groupby(own, key=stages.file_of):
            if file != stages.MAIN:
                stages._add(Path(file), {stages.stage_name(job): stages.stage(dag, job) for job in group})
    with Repo() as repo:
        known = {Path(out.fs_path).relative_to(repo.root_dir).as_posix() for out in repo.index.outs}
    outputs = {Path(out) for job in jobs for out in job.output if not is_flagged(out, "temp")}
    # A sweep's folder is one output of DVC's.
    unknown = {str(out) for out in outputs if not known & {out.as_posix(), *(folder.as_posix() for folder in out.parents)}}
    needed = {job.rule.name for job in jobs}
    found = {
        "rules that no target needs": sorted(rule.name for rule in rules if rule.output and rule.name not in needed),
        "outputs that DVC does not know": sorted(unknown),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
