"""A job that fails leaves its outputs as they were, and Snakemake's records of what they were made from."""

from snakemake.jobs import Job

from metatoolagent import failed

# Snakemake removes a job's outputs before it begins, and what is there of them when it has failed, since they might be half-made.
# Ours are published whole or not at all, so a typo would cost what was made before it. These replace methods of Snakemake, as
# dvc.smk does: tests/workflow holds them to the pinned version. A second reading must not take its own for Snakemake's.
if not hasattr(Job, "snakemake_methods"):
    Job.snakemake_methods = (Job.remove_existing_output, Job.postprocess, Job.cleanup)
_, POSTPROCESS, CLEANUP = Job.snakemake_methods
BEGUN = failed.Begun()


async def remove_existing_output(self):
    """Remove a job's logs alone before it begins, and note its outputs."""
    BEGUN.note(self)
    for file in self.log:
        await file.remove(remove_non_empty_dir=False)


async def postprocess(self, *given, error=False, **options):
    """Record what a job made; of one that has failed and left its outputs as they were, dvc.smk writes no records."""
    if error:
        BEGUN.fail(self)
    await POSTPROCESS(self, *given, error=error, **options)


async def cleanup(self, skip_outputs):
    """Remove what a failed job left half-made: all of its outputs or none."""
    if not BEGUN.left(self):
        await CLEANUP(self, skip_outputs)


Job.remove_existing_output = remove_existing_output
Job.postprocess = postprocess
Job.cleanup = cleanup
