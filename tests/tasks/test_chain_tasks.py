import polars as pl
import pytest

from metatoolagent.artifacts import publishing, read_manifest
from metatoolagent.catalog import schemas
from metatoolagent.catalog.chain_stage import ingest
from metatoolagent.errors import UserError
from metatoolagent.params import Chains, load
from metatoolagent.tasks.chain_tasks import FILE, candidates, materialize, part_of
from metatoolagent.tasks.splits import split

PARTS = {"a": "train", "b": "validation", "c": "test", "d": "test"}


@pytest.fixture(scope="module")
def made(fixture_catalog, catalog, tmp_path_factory):
    """The chains of the small catalog and the parts of its tools, as the tiny params give them."""
    folder = tmp_path_factory.mktemp("chains")
    tiny = load(fixture_catalog.parents[1] / "params/tiny.yaml")
    ingest(Chains(folder=str(fixture_catalog / "chains"), benchmarks=[]), catalog, allow_rejected=False, out=folder / "chains")
    split(catalog, "cd", tiny.split, tiny.seed, folder / "parts")
    return folder


@pytest.mark.parametrize(("tools", "part"), [("cd", "test"), ("cb", "validation"), ("bca", "train"), ("da", "train")])
def test_a_chain_is_as_unseen_as_its_least_unseen_tool(tools, part):
    assert part_of(list(tools), PARTS) == part


def test_candidates_are_all_gold_tools_and_distractors_that_do_not_answer():
    tools = [f"t{number}" for number in range(8)]
    chain = {"chain_id": "x", "tools": ["t5", "t2"], "also": ["t7"]}
    found = candidates(chain, tools, 4, seed=0)
    assert len(found) == len(set(found)) == 6
    assert {"t5", "t2"} < set(found) and "t7" not in found
    assert candidates(chain, tools, 4, seed=0) == found
    # All that may be taken are taken, in some order that the seed gives.
    assert {*candidates(chain, tools, 5, seed=1)} == {*tools} - {"t7"}
    assert len({tuple(candidates(chain, tools, 5, seed)) for seed in range(20)}) > 1


def test_chains_with_a_training_tool_are_no_tasks(made, catalog, tmp_path):
    materialize(made / "chains/chains.parquet", catalog, made / "parts", 2, 0, 0.8, tmp_path)
    tasks = schemas.read(tmp_path / FILE, schemas.CHAIN_TASKS)
    parts = dict(pl.read_parquet(made / "parts/tools.parquet").select("name", "part").iter_rows())
    assert all(parts[name] != "train" for gold in tasks["gold"] for name in gold)
    # By hand: fare_alert, pantry_count, phrase_say, portion_scale, pulse and wine_match are test tools, timer_begin is not.
    assert dict(tasks["part"].value_counts().iter_rows()) == {"test": 6, "validation": 1}
    assert read_manifest(tmp_path)["seen"] == 11 - 7
    assert tasks["candidates"].list.len().to_list() == [2 + len(gold) for gold in tasks["gold"]]


def test_without_parts_every_tool_is_unseen(made, catalog, tmp_path):
    materialize(made / "chains/chains.parquet", catalog, None, 2, 0, 0.8, tmp_path)
    assert pl.read_parquet(tmp_path / FILE)["part"].to_list() == ["test"] * 11


def test_a_chain_near_a_training_question_is_a_leak(made, catalog, tmp_path):
    with pytest.raises(UserError, match="E-SPLIT-LEAK"):
        materialize(made / "chains/chains.parquet", catalog, made / "parts", 2, 0, 0.1, tmp_path)


def test_too_many_distractors_are_refused(made, catalog, tmp_path):
    with pytest.raises(UserError, match="E-DISTRACTORS") as error:
        materialize(made / "chains/chains.parquet", catalog, made / "parts", 18, 0, 0.8, tmp_path)
    assert "at most 17" in str(error.value)


@pytest.mark.parametrize("parts", [True, False])
def test_chains_over_tools_of_another_catalog_are_refused(made, catalog, tmp_path, parts):
    chains = pl.read_parquet(made / "chains/chains.parquet")
    with publishing(tmp_path / "other", ["chains.parquet"], producer="ingest_external") as paths:
        other = chains.with_columns(tools=pl.lit(["a", "b"], dtype=pl.List(pl.String)))
        schemas.write(other, schemas.CHAINS, paths["chains.parquet"])
    with pytest.raises(UserError, match="E-STALE") as raised:
        materialize(tmp_path / "other/chains.parquet", catalog, made / "parts" if parts else None, 2, 0, 0.8, tmp_path / "out")
    assert raised.value.where == str(tmp_path / "other/chains.parquet")
    assert not (tmp_path / "out").exists()
