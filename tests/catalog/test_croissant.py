import json
import shutil
from pathlib import Path

import pytest

from metatoolagent import artifacts
from metatoolagent.catalog import croissant

DATA = Path(__file__).parents[2] / "data"


def test_the_committed_metadata_are_those_of_the_files(tmp_path):
    for folder in ("tools", "questions", "chains"):
        shutil.copytree(DATA / folder, tmp_path / folder)
    shutil.copy(DATA / "split.csv", tmp_path)
    croissant.write(tmp_path)
    assert (tmp_path / "croissant.json").read_bytes() == (DATA / "croissant.json").read_bytes()


def test_every_file_is_listed_with_its_hash():
    content = json.loads((DATA / "croissant.json").read_text(encoding="utf-8"))
    listed = {entry["contentUrl"]: entry["sha256"] for entry in content["distribution"]}
    assert listed == {
        path.relative_to(DATA).as_posix(): artifacts.sha256(path) for path in [*DATA.glob("*/*.yaml"), DATA / "split.csv"]
    }


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
