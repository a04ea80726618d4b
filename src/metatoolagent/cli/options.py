"""Options that several commands have, and what their values stand for."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.params import OF_METHOD

INTERIM, BACKBONE = Path("data/interim"), Path("models/backbone")
"""Where the workflow keeps the ingested catalog and the backbone."""
CHANNEL = Path("results/main/channel/adapter")
"""Where the workflow keeps the adapter of method channel."""
WORK = Path("work")
"""Where the workflow keeps the state of trainings and evaluations."""

Parameters = Annotated[str | None, typer.Option("--params", help="The params of the rule as JSON; params.yaml where left out.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the outputs.")]
Catalog = Annotated[Path, typer.Option("--catalog", help="Folder of the ingested catalog.")]
Parts = Annotated[Path, typer.Option("--parts", help="Folder of the tables of the split.")]
Model = Annotated[Path, typer.Option("--backbone", help="Folder of the backbone.")]
Adapter = Annotated[Path | None, typer.Option("--adapter", help="Folder of the adapter; for the methods that are trained.")]
Work = Annotated[Path, typer.Option("--work", help="Folder of the state from which a stopped run goes on.")]
Tasks = Annotated[Path, typer.Option("--tasks", help="File of tasks.")]
Log = Annotated[Path | None, typer.Option("--log", help="File that errors are written to as well.")]
Predictions = Annotated[list[str], typer.Option("--prediction", help="METHOD=FILE, once for each fold of each method.")]
VariantPredictions = Annotated[
    list[str], typer.Option("--prediction", help="VARIANT:METHOD=FILE, once for each variant and method.")
]
MetricsFiles = Annotated[list[Path], typer.Option("--metrics", help="Metrics file, once for each split.")]


def catalog_of(variant: Path) -> Path:
    """Return the folder of the catalog that the tasks of a variant are drawn from: its own, its benchmark's, or ours.

    Args:
        variant: the folder of its results, such as results/toolalpaca-cd.
    """
    benchmark = re.search("(?:^|split=)([a-z]+)-(?:cd|sd|chains)(?:,|$)", variant.name)
    folders = [variant / "catalog", *([INTERIM / benchmark[1]] if benchmark else [])]
    return next((folder for folder in folders if (folder / "tools.parquet").is_file()), INTERIM)


def named(item: str, form: str = "METHOD=FILE", pattern: str = ".+") -> tuple[str, Path]:
    """Return what an option of a form such as NAME=FILE names; `pattern` is that of names.

    Raises:
        UserError: E-OPTION (exit code 64).
    """
    name, _, path = item.partition("=")
    if not re.fullmatch(pattern, name) or not path:
        raise UserError("E-OPTION", f"not {form}", "the command line", shown(item), f"write {form}", exit_code=Exit.PARAMS)
    return name, Path(path)


def once(items: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Return what options name that are given once for each name.

    Raises:
        UserError: E-OPTION (exit code 64) if a name is given twice, of which one would be dropped.
    """
    files: dict[str, Path] = {}
    for name, path in items:
        if name in files:
            raise _twice(f"{name}={path}", name)
        files[name] = path
    return files


def _twice(item: str, name: str) -> UserError:
    what, fix = f"{name} is named twice, and has one value", "name it once"
    return UserError("E-OPTION", what, "the command line", shown(item), fix, exit_code=Exit.PARAMS)


def one_by_method(items: list[str], option: str = "--prediction") -> dict[str, Path]:
    """Return the file that options METHOD=FILE name for each method; errors as `by_method` and `once`."""
    return once((method, path) for method, paths in by_method(items, option).items() for path in paths)


def by_method(items: list[str], option: str = "--prediction") -> dict[str, list[Path]]:
    """Return the files that options METHOD=FILE name; errors as `named` and `require_known`."""
    files: dict[str, list[Path]] = {}
    for item in items:
        method, path = named(item)
        require_known("method", method, list(OF_METHOD), option)
        files.setdefault(method, []).append(path)
    return files


def by_variant(prediction: list[str]) -> dict[str, dict[str, Path]]:
    """Return the files that options VARIANT:METHOD=FILE name; errors as `named`, `once`, `require_key` and `require_known`."""
    files: dict[str, dict[str, Path]] = {}
    for item in prediction:
        key, path = named(item, "VARIANT:METHOD=FILE", ".+:.+")
        variant, _, method = key.partition(":")
        require_key("variant", variant)
        require_known("method", method, list(OF_METHOD), "--prediction")
        if method in files.setdefault(variant, {}):
            raise _twice(item, key)
        files[variant][method] = path
    return files


def require_key(what: str, name: str) -> None:
    """Refuse a name of a split or variant with a dot, which parts the keys of metrics.

    Raises:
        UserError: E- and what it is, such as E-SPLIT (exit code 64).
    """
    if not name or "." in name:
        code, where = f"E-{what.upper()}", f"argument {what.upper()}"
        fix = "name it without a dot, such as cd"
        raise UserError(code, f"not a name of a {what}", where, shown(name), fix, exit_code=Exit.PARAMS)


def require_known(what: str, name: str, known: list[str], option: str = "") -> None:
    """Refuse a method or a probe that the stage does not know; without this a misspelt name would run as another one.

    Args:
        what: what is named.
        name: as it was given.
        known: what there is.
        option: where it was given, if it is no argument.

    Raises:
        UserError: E- and what it is, such as E-METHOD or E-PROBE (exit code 64).
    """
    if name not in known:
        fix = f"name one of {', '.join(known)}"
        code, where = f"E-{what.upper()}", f"option {option}" if option else f"argument {what.upper()}"
        raise UserError(code, f"the stage knows no such {what}", where, shown(name), fix, exit_code=Exit.PARAMS)
