"""What a direct `snakemake` run hands to DVC: the stages that are what their inputs make of them, and no others.

Both engines look at the inputs when a job has ended. An edit made while it was at work would count as read, so `Watch` looks
when it begins, too. What was not made in this run is held against its record, and every output against its manifest.
"""

import functools
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metatoolagent import artifacts, strict_yaml
from metatoolagent.errors import Exit, UserError
from metatoolagent.stages import MAIN, PARAMS, SWEEPS, add, file_of, is_stage, jobs_of, read, stage, stage_name
from metatoolagent.variants import value_of

AGAIN = "the same command makes it again"


class Watch:
    """The inputs of jobs at work, as they were when each began.

    Attributes:
        changed: the inputs that did not stay so, by the job that has ended.
    """

    def __init__(self) -> None:
        self.changed: dict[Any, list[str]] = {}
        self._begun: dict[Any, dict[str, str]] = {}

    def begin(self, job: Any) -> None:
        """Note the inputs of a job that begins."""
        self._begun[job] = {str(file): digest(Path(file)) for file in job.input}

    def end(self, job: Any) -> bool:
        """Say whether an input of a job that has ended is another file than when the job began."""
        found = {file: (before, digest(Path(file))) for file, before in self._begun.pop(job, {}).items()}
        # What is not there, such as a cluster's copy of a file, says nothing.
        if changed := sorted(file for file, (before, now) in found.items() if before and now and before != now):
            self.changed[job] = changed
        return bool(changed)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, empty where there is none; a file that stays as it is is read once."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return ""
    return _digest(path, (there.st_mtime_ns, there.st_size, there.st_ino))


@functools.cache
def _digest(path: Path, _: tuple[int, int, int]) -> str:
    return artifacts.sha256(path)


def require_same(dag: Any, config: Mapping[str, Any], watch: Watch) -> None:
    """Refuse to end a stage of DVC that an edit has overtaken: DVC would record the edit as what the outputs were made from.

    Raises:
        UserError: E-CHANGED (exit code 75).
    """
    now = strict_yaml.load(PARAMS).content
    keys = {key for job in dag.jobs if job.output for key in json.loads(job.params.given)}
    edited = [f"{PARAMS}, key {key}" for key in sorted(keys) if value_of(now, key) != value_of(config, key)]
    if found := sorted({file for files in watch.changed.values() for file in files}) + edited:
        what = "an input was changed while a stage was at work"
        fix = "run the same command again: it makes this stage again"
        raise UserError("E-CHANGED", what, ", ".join(found), fix=fix, exit_code=Exit.RETRY)


def renew(dag: Any) -> None:
    """Write the stage of a sweep anew that DVC has just run, where its grid has grown: what is new may read more than before."""
    grown = {stage_name(job): stage(dag, job) for job in dag.jobs if is_stage(job) and file_of(job) == SWEEPS}
    if grown and add(Path(SWEEPS), grown):
        say(f"{SWEEPS} now has what {', '.join(grown)} reads as its grid is: run the same command again; it makes nothing anew")


def commit(workflow: Any, watch: Watch) -> None:
    """Hand what a direct `snakemake` run finished, or found up to date, to DVC, and say what is left out.

    Nothing is committed where the run's configuration is not params.yaml's, or where dvc.yaml is not what the rules
    say: DVC would then record outputs under inputs that they were not made from.
    """
    try:
        if strict_yaml.load(PARAMS).content == workflow.globals["config"]:
            _commit_made(workflow.dag, watch)
        else:
            say("nothing committed, since this run's configuration is not the one in params.yaml")
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201


def _commit_made(dag: Any, watch: Watch) -> None:
    main = read()
    done = [job for job in dag.jobs if is_stage(job) and (dag.finished(job) or not dag.needrun(job)) and _complete(job)]
    stale = [job for job in done if file_of(job) == MAIN and main.get(stage_name(job)) != stage(dag, job)]
    if stale:
        say(f"stage {stage_name(stale[0])} is not as dvc.yaml has it: run `python -m metatoolagent.stages`, then `dvc commit`")
    for file in sorted({file_of(job) for job in done} - {MAIN}):
        add(Path(file), {stage_name(job): stage(dag, job) for job in done if file_of(job) == file})
    _commit(dag, [job for job in done if job not in stale], watch)


def _complete(job: Any) -> bool:
    return all(Path(file).exists() for file in [*job.input, *job.output])


def _commit(dag: Any, done: Sequence[Any], watch: Watch) -> None:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)  # it would say for each stage that the lock file is updated
    try:
        with Repo() as repo:
            for target, job in sorted((f"{file_of(job)}:{stage_name(job)}", job) for job in done):
                (info,) = repo.stage.collect_granular(target)
                if not any(info.stage.changed_entries()):
                    continue
                if why := left_out(dag, job, watch):
                    say(f"stage {stage_name(job)} is left out: {why}")
                    continue
                # Linked anew, an output would be newer than an edit that it was not made from, and Snakemake miss the edit.
                repo.commit(target, force=True, relink=False)
    except (DvcException, OSError) as error:
        say(f"not everything was committed ({error}); run `dvc commit`")


def left_out(dag: Any, job: Any, watch: Watch) -> str:
    """Return why a stage is none that DVC may have; empty if it may."""
    for one in jobs_of(dag, job):
        if changed := watch.changed.get(one):
            return f"{', '.join(changed)} changed while it was made; {AGAIN}"
        if not dag.finished(one) and (changed := _changed_since(dag, one)):
            return f"{', '.join(changed)} changed since it was made; {AGAIN}"
        try:
            for out in map(Path, one.output):
                if out.name != artifacts.MANIFEST:
                    artifacts.verify(out)
        except UserError as error:
            return f"{error.what}: {error.where} ({error.fix})"
    return ""


def _changed_since(dag: Any, job: Any) -> list[str]:
    """Return the inputs of a job that are other files than its record says."""
    record = dag.workflow.persistence.metadata(job.output[0])
    made_from = record.input_checksums or {} if record else {}
    return sorted(file for file in map(str, job.input) if made_from.get(file, "") not in ("", f"sha256:{digest(Path(file))}"))


def say(message: str) -> None:
    """Tell the user of a run what becomes of it in DVC."""
    print(f"DVC: {message}", file=sys.stderr)  # noqa: T201
