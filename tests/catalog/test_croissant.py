import json
import shutil
from pathlib import Path

import pytest

from metatoolagent import artifacts
from metatoolagent.catalog import croissant

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def own(tmp_path, fixture_catalog):
    """A user's data: a folder `my` with tools and questions."""
    return shutil.copytree(fixture_catalog, tmp_path / "my")


def test_the_committed_metadata_are_those_of_the_files(tmp_path):
    for folder in ("tools", "questions", "chains"):
        shutil.copytree(DATA / folder, tmp_path / folder)
    for name in ("split.csv", "README.md"):
        shutil.copy(DATA / name, tmp_path)
    croissant.write(tmp_path)
    assert (tmp_path / "croissant.json").read_bytes() == (DATA / "croissant.json").read_bytes()


def test_every_file_is_listed_with_its_hash():
    content = json.loads((DATA / "croissant.json").read_text(encoding="utf-8"))
    listed = {entry["contentUrl"]: entry["sha256"] for entry in content["distribution"]}
    assert listed == {
        path.relative_to(DATA).as_posix(): artifacts.sha256(path) for path in [*DATA.glob("*/*.yaml"), DATA / "split.csv"]
    }


@pytest.mark.parametrize("card", [None, "# My tools\n", "metatoolagent\n"])
def test_other_data_go_by_the_name_of_their_folder_and_no_licence_is_claimed(own, card):
    if card:
        (own / "README.md").write_text(card, encoding="utf-8")
    croissant.write(own)
    content = json.loads((own / "croissant.json").read_text(encoding="utf-8"))
    assert content["name"] == "my" and "my/questions, my/tools" in content["description"]
    assert not {"license", "creator", "citeAs", "version", "datePublished", "inLanguage"} & content.keys()
    assert "metatoolagent" not in (own / "croissant.json").read_text(encoding="utf-8")


def test_folders_are_ours_beside_our_card_alone(own):
    assert croissant.are_ours([DATA / "tools", DATA / "questions"])
    assert not croissant.are_ours([DATA / "tools", own / "questions"])
    assert not croissant.are_ours([DATA / "tools"])
    assert not croissant.are_ours([])
    assert not croissant.are_ours([own / "tools", own / "questions"])
    assert croissant.about([DATA / "tools", own / "questions"])["name"] == "data-my"


@pytest.mark.filterwarnings("ignore")
def test_the_metadata_of_other_data_are_valid(own):
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant validates the metadata; pip install mlcroissant")
    croissant.write(own)
    assert not mlcroissant.Dataset(jsonld=own / "croissant.json").metadata.ctx.issues.errors


@pytest.mark.filterwarnings("ignore")
def test_the_committed_metadata_are_valid_and_the_parts_load():
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant validates the metadata; pip install mlcroissant")
    dataset = mlcroissant.Dataset(jsonld=DATA / "croissant.json")
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    rows = list(dataset.records("parts"))
    assert len(rows) == 155
    assert rows[0]["parts/tool"] == b"crate_edit"
