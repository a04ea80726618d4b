"""params.yaml, read before Snakemake reads it, whose own error of a file that is no YAML has no line."""

from metatoolagent import params as checked
from metatoolagent.errors import UserError


def stop(error):
    """End with one clear error: Snakemake would wrap an exception in a traceback of its own."""
    print(error, file=sys.stderr)
    os._exit(error.exit_code)


try:
    WRITTEN = checked.load(Path("params.yaml")).model_dump()
except UserError as error:
    stop(error)
