from pathlib import Path

from metatoolagent.artifacts import publishing, sha256
from metatoolagent.reporting.provenance import SOURCE, Artifact, artifacts, environments


def publish(path, producer, inputs=(), **extra):
    with publishing(path.parent, [path.name], producer=producer, inputs=inputs, extra=extra) as paths:
        paths[path.name].write_text(producer)
    return path


def test_sources_are_there_with_the_hashes_that_their_readers_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    authored = Path("data/tools/app.yaml")
    authored.parent.mkdir(parents=True)
    authored.write_text("tools")
    ours = publish(Path("data/interim/tools.parquet"), "ingest", [authored])
    fetched = {"toolalpaca/eval_real.json": "5e"}
    theirs = publish(Path("data/interim/toolalpaca/tools.parquet"), "ingest_external", sources=fetched)
    shown = publish(Path("results/main/metrics.json"), "metrics", [ours, theirs])
    then = sha256(authored)
    authored.write_text("edited since")
    found = artifacts([shown])
    assert [(item.path, item.producer) for item in found] == [
        ("toolalpaca/eval_real.json", SOURCE),
        ("data/interim/toolalpaca/tools.parquet", "ingest_external"),
        ("data/tools/app.yaml", SOURCE),
        ("data/interim/tools.parquet", "ingest"),
        ("results/main/metrics.json", "metrics"),
    ]
    assert found[2] == Artifact("data/tools/app.yaml", SOURCE, then, (), "")
    assert found[0].sha256 == "5e" and found[1].inputs == ("toolalpaca/eval_real.json",)
    assert all(SOURCE not in stages for stages in environments(found).values())


def test_what_a_stage_made_and_is_gone_is_no_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    above = publish(Path("data/interim/tools.parquet"), "ingest")
    shown = publish(Path("results/main/metrics.json"), "metrics", [above])
    above.with_name("manifest.json").unlink()
    above.unlink()
    assert [item.path for item in artifacts([shown])] == ["results/main/metrics.json"]
