import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from metatoolagent import artifacts, params
from metatoolagent.catalog import croissant, schemas
from metatoolagent.catalog.ingest import ingest
from metatoolagent.errors import UserError
from metatoolagent.tasks import splits
from metatoolagent.tasks.export import TABLES, export


@pytest.fixture
def folder(tmp_path, fixture_catalog):
    """A user's data, with a card and a licence."""
    folder = shutil.copytree(fixture_catalog, tmp_path / "my")
    for name in ("README.md", "LICENSE"):
        (folder / name).write_text(f"{name}\n", encoding="utf-8")
    return folder


@pytest.fixture
def ingested(folder, tmp_path, ingest_params):
    """The catalog of those data."""
    ingest(ingest_params(folder), tmp_path / "ingested")
    return tmp_path / "ingested"


@pytest.fixture
def listed(committed, catalog, tmp_path):
    """The parameters of the split, with a list of parts."""
    tools = pl.read_parquet(catalog / "tools.parquet")["name"].to_list()
    lines = [f"{tool},{'test' if number % 4 == 0 else 'train'}\n" for number, tool in enumerate(tools)]
    (tmp_path / "split.csv").write_text("tool,part\n" + "".join(lines), encoding="utf-8")
    return committed.split.model_copy(update={"tools_list": str(tmp_path / "split.csv")})


@pytest.fixture
def out(ingested, listed, tmp_path):
    export(ingested, listed, 0, tmp_path / "out")
    return tmp_path / "out"


def make_ours(folder):
    """Put the title of this project's dataset on the card of a folder."""
    (folder / "README.md").write_text(f"---\n{croissant.TITLE}\n---\n", encoding="utf-8")


def described(out):
    return json.loads((out / "croissant.json").read_text(encoding="utf-8"))


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


def test_other_data_keep_their_name_and_no_licence_is_claimed_for_them(out):
    assert described(out)["name"] == "my"
    assert "license" not in described(out) and "metatoolagent" not in (out / "croissant.json").read_text(encoding="utf-8")


def test_our_own_data_are_exported_with_their_name_and_licence(folder, ingested, listed, tmp_path):
    make_ours(folder)
    export(ingested, listed, 0, tmp_path / "out")
    assert described(tmp_path / "out")["name"] == "metatoolagent"
    assert described(tmp_path / "out")["license"] == croissant.LICENCE


def test_data_without_a_card_are_exported_without_one(catalog, listed, tmp_path):
    export(catalog, listed, 0, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("croissant.json", "manifest.json", "questions.parquet", "tools.parquet")
    ]


def test_no_card_of_data_that_were_exported_before_is_left(catalog, out, listed):
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    export(catalog, listed, 0, out)
    assert not (out / "README.md").exists() and not (out / "LICENSE").exists()
    assert (out / "notes.txt").exists()


def test_the_readme_of_the_current_folder_is_no_card(ingested, folder, listed, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    export(ingested, listed, 0, tmp_path / "out")
    assert not (tmp_path / "out/README.md").exists()


def test_other_folders_beside_our_card_do_not_get_it(folder, listed, tmp_path):
    make_ours(folder)
    (folder / "tools").rename(folder / "my_tools")
    given = params.Ingest(tools=str(folder / "my_tools"), questions=str(folder / "questions"), allow_rejected=False)
    ingest(given, tmp_path / "ingested")
    export(tmp_path / "ingested", listed, 0, tmp_path / "out")
    assert described(tmp_path / "out")["name"] == "my"
    assert not (tmp_path / "out/README.md").exists() and not (tmp_path / "out/LICENSE").exists()


def test_without_a_list_the_parts_are_those_that_the_split_draws(catalog, committed, tmp_path):
    export(catalog, committed.split, 3, tmp_path / "out")
    splits.split(catalog, "cd", committed.split, 3, tmp_path / "split")
    parts = pl.read_parquet(tmp_path / "split/tools.parquet").select("name", "part")
    assert pl.read_parquet(tmp_path / "out/tools.parquet").select("name", "part").equals(parts)


def test_nothing_is_published_where_a_tool_has_no_part(catalog, listed, tmp_path):
    path = Path(listed.tools_list)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="E-SPLIT-LIST"):
        export(catalog, listed, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_list_that_is_not_there_is_told_with_the_command_that_writes_it(catalog, listed, tmp_path):
    Path(listed.tools_list).unlink()
    with pytest.raises(UserError, match="E-MISSING") as raised:
        export(catalog, listed, 0, tmp_path / "out")
    assert f"mta split-list --out {listed.tools_list}" in raised.value.fix and 'split.tools_list: ""' in raised.value.fix


def test_a_missing_licence_of_our_own_data_is_told(folder, ingested, listed, tmp_path):
    make_ours(folder)
    (folder / "LICENSE").unlink()
    with pytest.raises(UserError, match="E-MISSING"):
        export(ingested, listed, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


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
