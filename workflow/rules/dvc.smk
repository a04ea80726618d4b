"""What ties a direct `snakemake` run to DVC: readable provenance records, and a commit of what was made."""

from snakemake.persistence.file import FilePersistence

from metatoolagent import handover, stages

# DVC versions each output's provenance record (parameters, code, input checksums) with the output, so that after
# `dvc pull`, `dvc checkout` or `dvc repro` Snakemake knows what the files were made from. For that the records go
# under readable names instead of base64 ones. This overrides a private method: tests/workflow holds it to the pinned
# version of Snakemake, and docs/decisions/ has the alternatives.
RECORD_PATH = FilePersistence._record_path


def record_path(self, subject, key):
    if subject == self._metadata_path:
        return os.path.join(subject, key)
    return RECORD_PATH(self, subject, key)


FilePersistence._record_path = record_path

WATCH = handover.Watch()
# As in locks.smk: a second reading of this file in one process must not take its own for Snakemake's.
if not hasattr(FilePersistence, "snakemake_records"):
    FilePersistence.snakemake_records = (
        FilePersistence.started,
        FilePersistence.finished,
    )
STARTED, FINISHED = FilePersistence.snakemake_records


def started(self, job, external_jobid=None):
    """Note what a job is about to read, and of one that runs on a cluster what is there of its outputs."""
    BEGUN.note(job)
    STARTED(self, job, external_jobid)
    WATCH.begin(job)


async def finished(self, job):
    """Record what a job made, unless it failed and left what was there; as half-made, where an input was edited meanwhile."""
    if BEGUN.left(job):
        BEGUN.unmark(job)
        return
    await FINISHED(self, job)
    if WATCH.end(job):
        STARTED(self, job)


FilePersistence.started = started
FilePersistence.finished = finished


def commit_to_dvc():
    """Commit what was made; inside a DVC stage, DVC itself commits, unless the stage fails."""
    if "DVC_STAGE" not in os.environ:
        handover.commit(workflow, WATCH)
    else:
        end_with(handover.require_same, workflow.dag, config, WATCH)
        end_with(handover.renew, workflow.dag)


def end_with(check, *given):
    """End with the one error of a check; `stop` would leave the lock behind."""
    try:
        check(*given)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def show_results():
    """End with the table of the metrics that were asked for."""
    made = [
        Path(file)
        for job in workflow.dag.targetjobs
        for file in job.input
        if file.endswith("metrics.json")
    ]
    if made and "DVC_STAGE" not in os.environ:
        from metatoolagent.reporting import outdated, tables

        tables.show(made, notes=outdated.notes(made))


onstart:
    end_with(stages.read)


onsuccess:
    commit_to_dvc()
    show_results()


onerror:
    commit_to_dvc()
