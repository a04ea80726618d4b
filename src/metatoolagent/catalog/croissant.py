"""Croissant metadata: what a dataset is, its files with their hashes, and the columns of its tables, for programs to read.

Only our own dataset is given our name, description and licence. What a user ingests is named by its folders, and no licence is
claimed for it.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from metatoolagent import artifacts
from metatoolagent.catalog import schemas
from metatoolagent.catalog.schemas import Table

VERSION = "1.1.0"
"""Of the dataset. A change of its tools, questions, chains or parts is a new one."""

PUBLISHED = "2026-11-24"
LICENCE = "https://creativecommons.org/licenses/by/4.0/"
CARD = "README.md"
TITLE = 'pretty_name: "metatoolagent: choosing tools by their documentation"'
"""The line of our card that says whose the data are."""
FORMATS = {".yaml": "application/yaml", ".csv": "text/csv", ".parquet": "application/x-parquet"}
PARTS = schemas.Table({name: schemas.TOOL_PARTS.columns["name" if name == "tool" else name] for name in ("tool", "part")})

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The vocabulary of Croissant 1.0, as the standard gives it."""

KIND = {"@type": "sc:Dataset", "conformsTo": "http://mlcommons.org/croissant/1.0"}
ABOUT = {
    **KIND,
    "name": "metatoolagent",
    "description": (
        "Documented tools of seven domains, and questions of which each has one tool that answers it, with the arguments of the"
        " call: a dataset to learn and measure how language models choose a tool, also one that they have not seen."
    ),
    "license": LICENCE,
    "version": VERSION,
    "datePublished": PUBLISHED,
    "inLanguage": "en",
    "creator": {"@type": "sc:Organization", "name": "The metatoolagent authors"},
    "citeAs": f"The metatoolagent dataset, version {VERSION}, CC-BY-4.0",
    "keywords": ["tool selection", "function calling", "meta-learning", "language models"],
}
"""What our own dataset is."""


def write(folder: Path) -> None:
    """Write `croissant.json` into the folder of the sources: every file with its hash, and the table of parts if there is one."""
    files = [path for kind in ("tools", "questions", "chains") for path in sorted(folder.glob(f"{kind}/*.yaml"))]
    tables = {"parts": ("split.csv", PARTS)} if (folder / "split.csv").is_file() else {}
    files += [folder / name for name, _ in tables.values()]
    sources = [folder / "tools", folder / "questions"]
    content = describe(sources, {path.relative_to(folder).as_posix(): path for path in files}, tables)
    with artifacts.atomic_path(folder / "croissant.json") as path:
        path.write_text(artifacts.canonical_json(content), encoding="utf-8")


def are_ours(sources: Collection[Path]) -> bool:
    """Say whether the folders of the sources are `tools` and `questions` beside the card of our own dataset."""
    folders = {folder.resolve() for folder in sources}
    homes = {folder.parent for folder in folders}
    if len(homes) != 1 or {folder.name for folder in folders} != {"tools", "questions"}:
        return False
    return is_our_card(homes.pop() / CARD)


def is_our_card(path: Path) -> bool:
    """Say whether a file is the card of our own dataset."""
    return path.is_file() and TITLE in path.read_text(encoding="utf-8", errors="replace").splitlines()


def about(sources: Collection[Path]) -> dict[str, Any]:
    """Return what a dataset is: ours as we describe it, another one by the names of the folders of its sources."""
    if are_ours(sources):
        return dict(ABOUT)
    folders = sorted({folder.resolve() for folder in sources})
    names = sorted({folder.parent.name or folder.name for folder in folders})
    told = ", ".join(f"{folder.parent.name}/{folder.name}" for folder in folders)
    description = f"Documented tools, and questions that they answer; from {told}."
    return {**KIND, "name": "-".join(names), "description": description}


def describe(sources: Collection[Path], files: Mapping[str, Path], tables: Mapping[str, tuple[str, Table]]) -> dict[str, Any]:
    """Return the metadata of a dataset.

    Args:
        sources: the folders of its tools and questions as authored.
        files: where each file lies now, by the path that it has in the dataset.
        tables: the file and the schema of each table that a program can load.
    """
    return {
        "@context": CONTEXT,
        **about(sources),
        "distribution": [_file(name, path) for name, path in files.items()],
        "recordSet": [_table(name, file, schema) for name, (file, schema) in tables.items()],
    }


def _file(name: str, path: Path) -> dict[str, object]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": FORMATS[Path(name).suffix],
        "sha256": artifacts.sha256(path),
    }


def _table(name: str, file: str, schema: Table) -> dict[str, object]:
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": _fields(name, file, schema)}


def _fields(table: str, file: str, schema: Table) -> Sequence[dict[str, object]]:
    return [
        {
            "@type": "cr:Field",
            "@id": f"{table}/{name}",
            "name": f"{table}/{name}",
            "description": column.description,
            "dataType": "sc:Text",
            "repeated": column.dtype.type == schemas.TEXTS,
            "source": {"fileObject": {"@id": file}, "extract": {"column": name}},
        }
        for name, column in schema.columns.items()
    ]
