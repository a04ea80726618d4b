"""Locks: signed when they are taken, so that the one of a killed run can be cleared; one that cannot is explained."""

from contextlib import ExitStack, contextmanager, suppress

from snakemake.persistence.file import FilePersistence

from metatoolagent import locks

# These replace methods of Snakemake, as dvc.smk does: tests/workflow holds them to the pinned version. A second reading of this
# file in one process must not take its own for Snakemake's.
if not hasattr(FilePersistence, "snakemake_methods"):
    FilePersistence.snakemake_methods = (FilePersistence.lock, FilePersistence.unlock)
LOCK, UNLOCK = FilePersistence.snakemake_methods


@contextmanager
def lock(self):
    """Clear what a killed run left, and hold the lock for a run that makes something; in a stage of DVC's that fails, end it."""
    locks.clear(Path.cwd())
    try:
        with ExitStack() as run:
            take(self, run)
            yield
    except BaseException:
        bring_back()
        raise


def take(self, run):
    """Take the lock for a run and sign it, one process at a time: Snakemake looks for others' before it writes its own."""
    with ExitStack() as alone:
        guarded = False
        # Where the folder's file system has no locks for `guarded`, the lock is taken as ever, and not signed.
        with suppress(OSError):
            alone.enter_context(locks.guarded(Path.cwd()))
            guarded = True
        run.enter_context(LOCK(self))
        with suppress(OSError):
            for file in self._lockfile.values() if guarded else ():
                locks.sign(Path(file), local=self.dag.workflow.local_exec)


def unlock(self):
    """Give this run's lock back; Snakemake would remove those of the runs beside it as well."""
    for file in self._lockfile.values():
        locks.remove(Path(file))
    self._lockfile.clear()


FilePersistence.lock = lock
FilePersistence.unlock = unlock
FilePersistence.cleanup_locks = UNLOCK


def explain_lock():
    """Say before Snakemake does what a lock in this folder means; a cluster's job takes none."""
    if not {"--unlock", "--nolock"} & set(sys.argv):
        if said := locks.explain(Path.cwd()):
            print(f"lock: {said}", file=sys.stderr)


explain_lock()
