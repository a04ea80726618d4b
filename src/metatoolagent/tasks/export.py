"""Export: a dataset as parquet, with the part of every tool, its card and licence if it has them, and its Croissant metadata."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from metatoolagent import artifacts, params
from metatoolagent.catalog import croissant, schemas
from metatoolagent.errors import UserError
from metatoolagent.tasks import splits

CARD = [croissant.CARD, "LICENSE"]
TABLES = {
    "tools": schemas.Table(
        {**schemas.TOOLS.columns, "part": schemas.PART}, strict=True, metadata={"sorted_by": ["domain", "name"]}
    ),
    "questions": schemas.QUESTION_PARTS,
}


def export(catalog: Path, params: params.Split, seed: int, out: Path) -> None:
    """Publish `tools.parquet` and `questions.parquet`, and what a dataset hub reads.

    Args:
        catalog: the folder with the tables of the catalog.
        params: the list of parts, or the shares to draw them by.
        seed: what the parts are drawn from.
        out: the folder of the artifact.

    Raises:
        UserError: E-MISSING if the card or the licence of our own dataset is not there, E-SPLIT-LIST, E-SPLIT-SIZE, or an error
            of the catalog.
    """
    inputs = [catalog / "tools.parquet", catalog / "questions.parquet"]
    tools, questions = schemas.read(inputs[0], schemas.TOOLS), schemas.read(inputs[1], schemas.QUESTIONS)
    parts = splits.parts_of(tools, params, seed)
    if params.tools_list:
        inputs.append(Path(params.tools_list))
    sources = _sources(catalog)
    card = _card(sources)
    names = [f"{name}.parquet" for name in TABLES]
    published = [*names, *(path.name for path in card), "croissant.json"]
    outdated = [out / name for name in _published(out) if name not in published]
    with artifacts.publishing(out, published, producer="export", inputs=[*inputs, *card]) as paths:
        schemas.write(_with_parts(tools, "name", parts), TABLES["tools"], paths["tools.parquet"])
        schemas.write(_with_parts(questions, "tool", parts), TABLES["questions"], paths["questions.parquet"])
        for path in card:
            shutil.copyfile(path, paths[path.name])
        tables = {name: (f"{name}.parquet", schema) for name, schema in TABLES.items()}
        content = croissant.describe(sources, {name: paths[name] for name in names}, tables)
        paths["croissant.json"].write_text(artifacts.canonical_json(content), encoding="utf-8")
    for path in outdated:
        path.unlink(missing_ok=True)


def _published(out: Path) -> list[str]:
    """Return the files of an earlier export, whose card and licence may be those of other data."""
    earlier = artifacts.read_manifest(out) if (out / artifacts.MANIFEST).is_file() else {}
    return list(earlier["files"]) if earlier.get("producer") == "export" else []


def _sources(catalog: Path) -> list[Path]:
    """Return the folders that a catalog was ingested from: its manifest knows them, whatever params.yaml says now."""
    return sorted({Path(name).parent for name in artifacts.read_manifest(catalog)["inputs"]})


def _card(sources: Sequence[Path]) -> list[Path]:
    """Return the card and the licence of a dataset, which lie above the folders of its sources.

    Ours must be there. Other data have those that there are, but for ours, and for those of the folder in which the command runs:
    they are of something larger than the data.

    Raises:
        UserError: E-MISSING.
    """
    homes = {folder.parent for folder in sources}
    if len(homes) != 1:
        return []
    home = homes.pop()
    card = [home / name for name in CARD]
    there = [path for path in card if path.is_file()]
    if croissant.are_ours(sources):
        for path in card:
            if path not in there:
                raise UserError(
                    "E-MISSING", "a file is not there", str(path), fix="restore it: git checkout", kept=artifacts.KEPT
                )
        return card
    foreign = home.resolve() == Path.cwd() or croissant.is_our_card(card[0])
    return [] if foreign else there


def _with_parts(rows: pl.DataFrame, tool: str, parts: dict[str, str]) -> pl.DataFrame:
    return rows.with_columns(part=pl.col(tool).replace_strict(parts))
