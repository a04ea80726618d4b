"""params.yaml, read before Snakemake reads it, whose own error of a file that is no YAML has no line."""

from metatoolagent import failed
from metatoolagent import params as checked
from metatoolagent.errors import UserError


def stop(error):
    """End with one clear error: Snakemake would wrap an exception in a traceback of its own."""
    print(error, file=sys.stderr)
    bring_back()
    os._exit(error.exit_code)


def bring_back():
    """In a stage of DVC's that fails, bring back what DVC removed when it began."""
    if workflow.is_main_process:
        failed.bring_back(os.environ)


try:
    WRITTEN = checked.load(Path("params.yaml")).model_dump()
except UserError as error:
    stop(error)
