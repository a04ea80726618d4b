"""Locks: signed when they are taken, so that the one of a killed run can be cleared; one that cannot is explained."""

from contextlib import suppress

from snakemake.persistence.file import FilePersistence

from metatoolagent import locks

# These replace methods of Snakemake, as dvc.smk does: tests/workflow holds them to the pinned version. A second reading of this
# file in one process must not take its own for Snakemake's.
if not hasattr(FilePersistence, "snakemake_methods"):
    FilePersistence.snakemake_methods = (
        FilePersistence.lock,
        FilePersistence._write_locks,
    )
LOCK, WRITE_LOCKS = FilePersistence.snakemake_methods


def lock(self):
    """Clear what a killed run left; only a run that makes something comes here."""
    locks.clear(Path.cwd())
    return LOCK(self)


def write_locks(self, lock_type, keys):
    """Take the lock and sign it."""
    taken = False
    # Where the folder's file system has no locks for `guarded`, the lock is taken as ever, and not signed.
    with suppress(OSError), locks.guarded(Path.cwd()):
        WRITE_LOCKS(self, lock_type, keys)
        taken = True
        if lock_type in self._lockfile:
            locks.sign(
                Path(self._lockfile[lock_type]), local=self.dag.workflow.local_exec
            )
    if not taken:
        WRITE_LOCKS(self, lock_type, keys)


FilePersistence.lock = lock
FilePersistence._write_locks = write_locks


def explain_lock():
    """Say before Snakemake does what a lock in this folder means; a cluster's job takes none."""
    if not {"--unlock", "--nolock"} & set(sys.argv):
        if said := locks.explain(Path.cwd()):
            print(f"lock: {said}", file=sys.stderr)


explain_lock()
