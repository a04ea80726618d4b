"""What the catalog has by name, for tasks that were made from it, or from an earlier state of it."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TypeVar

from metatoolagent.errors import Exit, UserError, shown

T = TypeVar("T")
LACKING = "the tasks name what the catalog does not have"


class Known(dict[str, T]):
    """What a catalog has, by name; a name that it lacks is of tasks that were made from another one."""

    def __missing__(self, name: str) -> T:
        """Refuse the name.

        Raises:
            UserError: E-STALE (exit code 66).
        """
        raise stale(LACKING, name)


def require(names: Iterable[str], known: Collection[str], where: Path) -> None:
    """Refuse tasks that were made from another catalog, before anything is made of them.

    Args:
        names: of tools or questions, that the tasks have.
        known: those that the catalog has.
        where: the folder of the catalog, or the file of the tasks.

    Raises:
        UserError: E-STALE (exit code 66).
    """
    for name in names:
        if name not in known:
            raise stale(LACKING, name, str(where))


def stale(what: str, name: str, where: str = "") -> UserError:
    """Return the error of artifacts that were not made from one another."""
    what = f"{what}: they are of different catalogs"
    fix = "name the catalog that they were made from, or make the older one anew, such as by: snakemake --cores all eval_cd"
    return UserError("E-STALE", what, where, shown(name), fix=fix, exit_code=Exit.ARTIFACT)
