"""Export: the dataset as parquet, with the part of every tool, its card, licence and Croissant metadata beside it."""

import shutil
from pathlib import Path

import polars as pl

from metatoolagent import artifacts
from metatoolagent.catalog import croissant, schemas
from metatoolagent.errors import UserError
from metatoolagent.tasks import splits

CARD = ["README.md", "LICENSE"]
TABLES = {
    "tools": schemas.Table(
        {**schemas.TOOLS.columns, "part": schemas.PART}, strict=True, metadata={"sorted_by": ["domain", "name"]}
    ),
    "questions": schemas.QUESTION_PARTS,
}


def export(catalog: Path, folder: Path, out: Path) -> None:
    """Publish `tools.parquet` and `questions.parquet`, and what a dataset hub reads.

    Args:
        catalog: the folder with the tables of the catalog.
        folder: the folder of the sources, with the list of parts, the card and the licence.
        out: the folder of the artifact.

    Raises:
        UserError: E-MISSING if the card or the licence is not there, E-SPLIT-LIST, or an error of the catalog.
    """
    inputs = [catalog / "tools.parquet", catalog / "questions.parquet", folder / "split.csv", *(folder / name for name in CARD)]
    for path in inputs[-len(CARD) :]:
        if not path.is_file():
            raise UserError("E-MISSING", "a file is not there", str(path), fix="restore it: git checkout", kept=artifacts.KEPT)
    tools, questions = schemas.read(inputs[0], schemas.TOOLS), schemas.read(inputs[1], schemas.QUESTIONS)
    parts = splits.read_list(inputs[2], tools["name"].to_list())
    names = [f"{name}.parquet" for name in TABLES]
    with artifacts.publishing(out, [*names, *CARD, "croissant.json"], producer="export", inputs=inputs) as paths:
        schemas.write(_with_parts(tools, "name", parts), TABLES["tools"], paths["tools.parquet"])
        schemas.write(_with_parts(questions, "tool", parts), TABLES["questions"], paths["questions.parquet"])
        for name in CARD:
            shutil.copyfile(folder / name, paths[name])
        tables = {name: (f"{name}.parquet", schema) for name, schema in TABLES.items()}
        content = croissant.describe({name: paths[name] for name in names}, tables)
        paths["croissant.json"].write_text(artifacts.canonical_json(content), encoding="utf-8")


def _with_parts(rows: pl.DataFrame, tool: str, parts: dict[str, str]) -> pl.DataFrame:
    return rows.with_columns(part=pl.col(tool).replace_strict(parts))
