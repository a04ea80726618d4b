import json

import polars as pl
import pytest

from metatoolagent import artifacts
from metatoolagent.catalog import schemas
from metatoolagent.errors import UserError
from metatoolagent.tasks.export import TABLES, export


@pytest.fixture
def folder(tmp_path, catalog):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("README.md", "LICENSE"):
        (folder / name).write_text(f"{name}\n", encoding="utf-8")
    tools = pl.read_parquet(catalog / "tools.parquet")["name"].to_list()
    lines = [f"{tool},{'test' if number % 4 == 0 else 'train'}\n" for number, tool in enumerate(tools)]
    (folder / "split.csv").write_text("tool,part\n" + "".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def out(catalog, folder, tmp_path):
    export(catalog, folder, tmp_path / "out")
    return tmp_path / "out"


def test_both_tables_have_the_part_of_the_tool(out, catalog):
    tools = schemas.read(out / "tools.parquet", TABLES["tools"])
    questions = schemas.read(out / "questions.parquet", TABLES["questions"])
    assert tools.drop("part").equals(pl.read_parquet(catalog / "tools.parquet"))
    assert questions.drop("part").equals(pl.read_parquet(catalog / "questions.parquet"))
    assert tools["part"].value_counts().sort("part").rows() == [("test", 5), ("train", 15)]
    parts = dict(tools.select("name", "part").iter_rows())
    assert all(parts[tool] == part for tool, part in questions.select("tool", "part").iter_rows())


def test_the_export_is_an_artifact_with_card_and_licence(out):
    for name in ("tools.parquet", "questions.parquet", "README.md", "LICENSE", "croissant.json"):
        artifacts.verify(out / name)
    assert (out / "README.md").read_text(encoding="utf-8") == "README.md\n"


def test_its_metadata_list_the_files_with_their_hashes_and_all_columns(out):
    content = json.loads((out / "croissant.json").read_text(encoding="utf-8"))
    assert {entry["contentUrl"]: entry["sha256"] for entry in content["distribution"]} == {
        name: artifacts.sha256(out / name) for name in ("tools.parquet", "questions.parquet")
    }
    columns = {
        table["name"]: [field["source"]["extract"]["column"] for field in table["field"]] for table in content["recordSet"]
    }
    assert columns == {name: pl.read_parquet(out / f"{name}.parquet").columns for name in ("tools", "questions")}


def test_nothing_is_published_where_a_tool_has_no_part(catalog, folder, tmp_path):
    lines = (folder / "split.csv").read_text(encoding="utf-8").splitlines()
    (folder / "split.csv").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="E-SPLIT-LIST"):
        export(catalog, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_licence_is_told(catalog, folder, tmp_path):
    (folder / "LICENSE").unlink()
    with pytest.raises(UserError, match="E-MISSING"):
        export(catalog, folder, tmp_path / "out")


@pytest.mark.filterwarnings("ignore")
def test_datasets_loads_it(out, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="the loader of dataset hubs; pip install datasets")
    rows = datasets.load_dataset(
        "parquet", data_files=str(out / "questions.parquet"), cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert len(rows) == 240
    assert rows.column_names == list(TABLES["questions"].columns)


@pytest.mark.filterwarnings("ignore")
def test_mlcroissant_loads_it(out):
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant validates the metadata; pip install mlcroissant")
    dataset = mlcroissant.Dataset(jsonld=out / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    assert sum(1 for _ in dataset.records("tools")) == 20
