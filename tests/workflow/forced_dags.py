"""Edits of params.yaml, one after the other, and what each would make again of a project in which every target has run.

No target has to run for that, so it covers those that take long. Of each edit the DAG of all targets is built, and what
Snakemake would record of each job (params, input files, code) is held against the same of the unedited params.yaml; of
DVC it is the stages whose params an edit changes, with all that depends on them.

`python forced_dags.py` in a fresh project reads edits from standard input as JSON, each a key like `probes.shots` and its
new value, and prints for each the stages of both engines, by the names that dvc.yaml has, and the rules of the jobs that
only the edit brings, such as those of another level of a sweep: they are no stages yet.
"""

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import networkx as nx
import yaml
from dry_runs import PARAMS, RECORD_PATH, change
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from every_output import targets, write_stages
from snakemake.api import SnakemakeApi
from snakemake.persistence.file import FilePersistence
from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings


@contextmanager
def dag_of(wanted):
    """Build the DAG of targets under params.yaml as it is."""
    FilePersistence._record_path = RECORD_PATH  # as for dry_runs.snakemake
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        flow = api.workflow(ResourceSettings(cores=1), snakefile=Path("Snakefile"))
        flow.dag(DAGSettings(targets=wanted, forceall=True))
        flow._workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
        flow._workflow._build_dag()
        yield flow._workflow.dag


def recorded(dag):
    """Return what Snakemake compares a job's record with, by the job's outputs."""
    records = dag.workflow.persistence
    found = {job: (records._params(job), records._input(job), records._code(job.rule)) for job in dag.jobs if job.output}
    return {frozenset(map(str, job.output)): told for job, told in found.items()}


def stage_of(job):
    """Return the name of the stage that a job belongs to: its own, or that of its sweep's table."""
    from metatoolagent.stages import is_stage, stage_name

    return stage_name(job) if is_stage(job) else f"sweep-{job.wildcards_dict['variant'].split('/')[1]}"


def snakemake(wanted, before):
    """Return the stages of the jobs whose record is not as it was or that depend on such a job, and the rules of new jobs."""
    with dag_of(wanted) as dag:
        now, stale = recorded(dag), set()
        for level in dag.toposorted():
            for job in level:
                outs = frozenset(map(str, job.output))
                if job.output and (now[outs] != before.get(outs) or not stale.isdisjoint(dag.dependencies[job])):
                    stale.add(job)
        brought = {job.rule.name for job in stale if frozenset(map(str, job.output)) not in before}
        return {stage_of(job) for job in stale}, brought


def dvc():
    """Return the params that each stage reads, and the stages that depend on each, itself among them."""
    with Repo() as repo:
        graph = repo.index.graph
        params = {
            stage.name: {key for dep in stage.deps if isinstance(dep, ParamsDependency) for key in dep.params} for stage in graph
        }
        return params, {stage.name: {stage.name, *(other.name for other in nx.ancestors(graph, stage))} for stage in graph}


def is_in(key, section):
    """Say whether a key is a section or stands in it."""
    return f"{key}.".startswith(f"{section}.")


def edited(key, value, wanted, before):
    """Return what Snakemake would make again after an edit."""
    original = PARAMS.read_text()
    content = yaml.safe_load(original)
    change(content, key, value)
    try:
        PARAMS.write_text(yaml.safe_dump(content, sort_keys=False))  # the points of a search go by the order of its params
        return snakemake(wanted, before)
    finally:
        PARAMS.write_text(original)


def main():
    """Answer the edits."""
    sys.path.insert(0, os.path.abspath("src"))  # noqa: PTH100
    wanted = targets()
    with dag_of(wanted) as dag:
        before, there = recorded(dag), {stage_of(job) for job in dag.jobs if job.output}
        write_stages(dag)
    params, dependents = dvc()
    assert set(params) == there
    found = {}
    for key, value in json.load(sys.stdin).items():
        reading = {name for name, read in params.items() if any(is_in(key, section) for section in read)}
        of_dvc = {other for name in reading for other in dependents[name]}
        stale, brought = edited(key, value, wanted, before)
        found[key] = {"snakemake": sorted(stale & there), "dvc": sorted(of_dvc), "brought": sorted(brought)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
