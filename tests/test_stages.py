import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("tools: data/tools ", "tools: data/tolls ", "ingest.tools"),
        ("questions: data/questions ", "questions: data/question ", "ingest.questions"),
        ("folder: data/chains", "folder: data/chain", "chains.folder"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--check"], ["multi_tool"]])
def test_a_folder_that_is_not_there_stops_with_one_error_and_writes_nothing(tmp_path, old, new, key, options):
    (tmp_path / "src").symlink_to(ROOT / "src")
    for folder in ("tools", "questions", "chains"):
        shutil.copytree(ROOT / "data" / folder, tmp_path / "data" / folder)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    (tmp_path / "params.yaml").write_text(text.replace(old, new), encoding="utf-8")
    command = [sys.executable, "-m", "metatoolagent.stages", *options]
    environment = {"PYTHONPATH": str(tmp_path / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 64, done.stderr
    assert done.stderr.startswith("error[E-MISSING]") and f"params.yaml, key {key}" in done.stderr
    assert f"did you mean {old.split(': ')[1].strip()}?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("dvc.yaml"))
