"""Edits of params.yaml, one after the other, and what each engine would run again; one process for all of them.

`python dry_runs.py` in a project reads edits from standard input as JSON, each an object of new values by keys like
`train.warmup`, and prints for each edit the stages of both engines, by the names that dvc.yaml has.
"""

import json
import os
import sys
from pathlib import Path

import networkx as nx
import yaml
from dvc.repo import Repo
from snakemake.api import SnakemakeApi
from snakemake.persistence.file import FilePersistence
from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings

PARAMS = Path("params.yaml")
TARGETS = {"eval_cd", "eval_methods"}
RECORD_PATH = FilePersistence._record_path


def snakemake(stage_name):
    """Return the jobs that `snakemake -n` lists, with profiles/default's limit for checksums."""
    FilePersistence._record_path = RECORD_PATH  # the Snakefile replaces it, and would replace its own replacement
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        flow = api.workflow(ResourceSettings(cores=1), snakefile=Path("Snakefile"))
        flow.dag(DAGSettings(targets=TARGETS, max_checksum_file_size=10**12))
        flow._workflow._prepare_dag(forceall=False, ignore_incomplete=False, lock_warn_only=True)
        flow._workflow._build_dag()
        dag = flow._workflow.dag
        return sorted(stage_name(job) for job in dag.needrun_jobs() if job.output)


def dvc():
    """Return the stages that `dvc status` names, with all that depends on them."""
    with Repo() as repo:
        changed = {name.rpartition(":")[2] for name in repo.status()}
        graph = repo.index.graph
        found = {stage for stage in graph if stage.name in changed}
        return sorted({stage.name for stage in found.union(*(nx.ancestors(graph, stage) for stage in found))})


def change(content, key, value):
    """Give a key another value."""
    *sections, last = key.split(".")
    for name in sections:
        content = content[name]
    assert content[last] != value, f"{key} is {value} already"
    content[last] = value


def main():
    """Answer the edits."""
    sys.path.insert(0, os.path.abspath("src"))  # noqa: PTH100
    from metatoolagent.stages import stage_name

    original, found = PARAMS.read_text(), []
    for edit in json.load(sys.stdin):
        content = yaml.safe_load(original)
        for key, value in edit.items():
            change(content, key, value)
        try:
            PARAMS.write_text(yaml.safe_dump(content))
            found.append({"snakemake": snakemake(stage_name), "dvc": dvc()})
        finally:
            PARAMS.write_text(original)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
