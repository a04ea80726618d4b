"""What the catalog has by name, for tasks that were made from it, or from an earlier state of it."""

from typing import TypeVar

from metatoolagent.errors import Exit, UserError, shown

T = TypeVar("T")


class Known(dict[str, T]):
    """What a catalog has, by name; a name that it lacks is of tasks that were made from another one."""

    def __missing__(self, name: str) -> T:
        """Refuse the name.

        Raises:
            UserError: E-STALE (exit code 66).
        """
        raise stale("the tasks name what the catalog does not have", name)


def stale(what: str, name: str) -> UserError:
    """Return the error of artifacts that were not made from one another."""
    what, fix = f"{what}: they are of different catalogs", "make the older one anew, such as by: snakemake --cores all eval_cd"
    return UserError("E-STALE", what, got=shown(name), fix=fix, exit_code=Exit.ARTIFACT)
