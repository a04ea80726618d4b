import json
import re
import shutil

import pytest

from metatoolagent.catalog import measures
from metatoolagent.errors import UserError


@pytest.fixture
def folder(tmp_path, fixture_catalog):
    shutil.copytree(fixture_catalog, tmp_path / "data")
    return tmp_path / "data"


def test_distinct_is_the_share_of_different_runs():
    assert measures.distinct(["a b c", "a b c d", "x"], 3) == round(2 / 3, 4)
    assert measures.distinct(["a"], 3) == 0


def test_a_folder_is_measured(folder, capsys):
    measures.write(folder)
    written = json.loads((folder / "measures.json").read_text(encoding="utf-8"))
    assert written["counts"] == {"domains": 2, "tools": 20, "frames": 80, "questions": 240}
    assert written["by_domain"]["travel"] == {"tools": 10, "frames": 40, "questions": 120}
    assert set(written["by_tool"].values()) == {12}
    assert sum(written["words"]["histogram"].values()) == sum(written["by_kind"].values()) == 240
    assert "review" not in written
    assert "240" in capsys.readouterr().out


def test_the_review_is_counted_by_domain(folder):
    lines = ["domain,frame_id,gold,reader,second,rewritten", "a,x-1,x,x,,", "a,y-1,y,x,y,yes", "b,z-1,z,z,,"]
    (folder / "review.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = measures.review(folder / "review.csv")
    assert {name: found[name] for name in ("read", "agreed", "agreement", "second_answer", "rewritten_since")} == {
        "read": 3,
        "agreed": 2,
        "agreement": 0.6667,
        "second_answer": 1,
        "rewritten_since": 1,
    }
    assert found["by_domain"]["b"]["agreement"] == 1


def test_other_columns_are_no_review(folder):
    (folder / "review.csv").write_text("frame,reader\nx,y\n", encoding="utf-8")
    with pytest.raises(UserError, match="E-REVIEW"):
        measures.review(folder / "review.csv")


def test_a_dataset_with_faults_is_not_measured(folder):
    path = folder / "tools/travel.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("name: pulse", "name: p!"), encoding="utf-8")
    with pytest.raises(UserError, match="E-NAME"):
        measures.write(folder)
    assert not (folder / "measures.json").exists()


def test_a_quote_that_is_never_closed_is_no_review(folder):
    (folder / "review.csv").write_text('domain,frame_id\n"a,x\n' + "b,y\n" * 50_000, encoding="utf-8")
    with pytest.raises(UserError, match="E-REVIEW") as raised:
        measures.review(folder / "review.csv")
    assert "not CSV" in raised.value.what


def test_a_dataset_without_kinds_is_measured(folder):
    for path in (folder / "questions").iterdir():
        path.write_text(re.sub(r" kind: \w+,", "", path.read_text(encoding="utf-8")), encoding="utf-8")
    measures.write(folder)
    written = json.loads((folder / "measures.json").read_text(encoding="utf-8"))
    assert set(written["by_kind"].values()) == {0}


def test_a_dataset_without_questions_is_refused(folder):
    for path in (folder / "questions").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="E-EMPTY"):
        measures.write(folder)
    assert not (folder / "measures.json").exists()
