"""Which files of the user's folders a rule has as inputs: those that its stage reads, or refuses."""

import re
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(fresh, shell):
    """Gives the inputs of a rule that lie in a folder of some files, which `key` of params.yaml names in place of `old`."""
    project = fresh("inputs")
    original = (project / "params.yaml").read_text()

    def listed(rule: str, target: str, key: str, old: str, folder: str, names: list[str]) -> list[str]:
        assert original.count(f"{key}: {old}") == 1
        (project / "params.yaml").write_text(original.replace(f"{key}: {old}", f'{key}: "{folder}" '))
        for name in names:
            (project / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (project / folder / name).touch()
        try:
            output = shell(f"snakemake -n --forceall {target}", project).stdout
        finally:
            shutil.rmtree(project / Path(folder).parts[0])
        found = re.search(rf"^(?:local)?rule {rule}:\n    input: (.*)$", output, re.M)[1].split(", ")
        return [path.removeprefix(f"{folder}/") for path in found if path.startswith(f"{folder}/")]

    return listed


@pytest.mark.parametrize(
    ("rule", "target", "key", "old"),
    [
        ("ingest", "data/interim/tools.parquet", "tools", "tests/fixtures/catalog/tools "),
        ("ingest", "data/interim/tools.parquet", "questions", "tests/fixtures/catalog/questions "),
        ("ingest_chains", "data/interim/chains/chains.parquet", "folder", "tests/fixtures/catalog/chains"),
    ],
)
def test_an_authored_folder_is_listed_as_its_reader_lists_it(inputs, rule, target, key, old):
    names = ["a.yaml", "travel.yml", ".hidden.yaml"]
    assert inputs(rule, target, key, old, "own[v2]/it", names) == ["a.yaml", "travel.yml"]


def test_the_files_of_a_backbones_folder_are_inputs(inputs):
    names = ["config.json", "model.safetensors", "tokenizer.json", "optimizer.pt", ".cache.json"]
    found = inputs("backbone", "models/backbone/manifest.json", "source", "tiny ", "own[v2]/model", names)
    assert found == ["config.json", "model.safetensors", "tokenizer.json"]
    assert inputs("backbone", "models/backbone/manifest.json", "source", "tiny ", "tiny", ["config.json"]) == []


def test_a_domain_to_hold_out_without_tools_stops_what_holds_it_out_before_any_job(fresh, shell):
    project = fresh("held_out")
    params = project / "params.yaml"
    original = params.read_text()
    assert original.count("[kitchen, travel]") == 1
    params.write_text(original.replace("[kitchen, travel]", "[kitchen, trvel]"))
    params.write_text(params.read_text().replace("splits: [sd, cd]", "splits: [hd]"))
    assert "evaluate" in shell("snakemake -n eval_cd", project).stdout  # which holds out nothing
    for command in ("snakemake --cores 1 eval_hd", "snakemake -n table2"):
        stopped = shell(command, project, code=64)
        assert "error[E-PARAMS] held_out" in stopped.stderr and "kitchen, travel" in stopped.stderr
        assert "trvel" in stopped.stderr and "Traceback" not in stopped.stderr + stopped.stdout
    params.write_text(original.replace("[kitchen, travel]", "[kitchen, no]"))  # text here, and false to Snakemake's YAML
    stopped = shell("snakemake -n eval_hd", project, code=64)
    assert "error[E-PARAMS] held_out" in stopped.stderr and 'got:   "no"' in stopped.stderr
    params.write_text(original)
    stopped = shell("snakemake -n eval_hd --config 'held_out=[office]'", project, code=64)
    assert "error[E-PARAMS] held_out" in stopped.stderr
    assert not (project / "data/interim").exists()


def test_a_list_of_parts_that_is_not_there_is_one_error(fresh, shell):
    project = fresh("parts")
    params = project / "params.yaml"
    params.write_text(re.sub("tools_list: .*", "tools_list: my/split.csv", params.read_text(), count=1))
    stopped = shell("snakemake -n eval_cd", project, code=64)
    assert (
        "error[E-MISSING] the list of parts is not there" in stopped.stderr
        and "mta split-list --out my/split.csv" in stopped.stderr
    )
    assert "Traceback" not in stopped.stderr + stopped.stdout
