"""What ties a direct `snakemake` run to DVC: readable provenance records, and a commit of what was made."""

from snakemake.persistence.file import FilePersistence

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


def commit_to_dvc():
    """Commit what was made; inside a DVC stage, DVC itself commits."""
    if "DVC_STAGE" not in os.environ:
        from metatoolagent import stages

        stages.commit(workflow)


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


onsuccess:
    commit_to_dvc()
    show_results()


onerror:
    commit_to_dvc()
