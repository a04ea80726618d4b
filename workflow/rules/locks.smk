"""Locks: signed when they are taken, so that the one of a killed run can be cleared; one that cannot is explained."""

from snakemake.persistence.file import FilePersistence

from metatoolagent import locks

# This overrides a private method, as dvc.smk does: tests/workflow holds it to the pinned version of Snakemake.
WRITE_LOCKS = FilePersistence._write_locks


def write_locks(self, lock_type, keys):
    with locks.guarded(Path.cwd()):
        WRITE_LOCKS(self, lock_type, keys)
        if lock_type in self._lockfile:
            locks.sign(Path(self._lockfile[lock_type]))


FilePersistence._write_locks = write_locks


def look_at_lock():
    """Clear the lock of a killed run, or say before Snakemake does what it means; a cluster's job takes none and looks at none."""
    if not {"--unlock", "--nolock"} & set(sys.argv):
        locks.clear(Path.cwd())
        if said := locks.explain(Path.cwd()):
            print(f"lock: {said}", file=sys.stderr)


look_at_lock()
