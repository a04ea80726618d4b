"""`none of these`: what offering it does to tasks, and training with it in packs."""

import hashlib
import json

import numpy as np
import polars as pl
import pytest

from metatoolagent import artifacts
from metatoolagent.catalog import schemas
from metatoolagent.errors import UserError
from metatoolagent.tasks import splits
from metatoolagent.tasks.abstention import NONE, offered
from metatoolagent.tasks.meta_tasks import materialize

BEFORE = "dd6ecc4282599a56cb0af952b94e3114e15d79a911a1af9970657d9f6fbfc00d"
"""Of the rows of the meta-tasks of the small catalog, as they were before there was abstention."""


@pytest.fixture(scope="module")
def parts(catalog, committed, tmp_path_factory):
    out = tmp_path_factory.mktemp("parts")
    splits.split(catalog, "cd", committed.split, 0, out)
    return out


@pytest.fixture
def draw(catalog, committed, parts, tmp_path):
    """Materializes training meta-tasks with some share of abstention."""

    def run(abstention, distractors=2, **changes):
        meta = committed.meta_tasks.model_copy(update={"abstention": abstention, **changes})
        materialize(parts, catalog, "cd", distractors, 0, meta, tmp_path / "out")
        return schemas.read(tmp_path / "out" / "meta_tasks.parquet", schemas.META_TASKS)

    return run


@pytest.fixture(scope="module")
def tool_of(catalog):
    return dict(pl.read_parquet(catalog / "questions.parquet").select("question_id", "tool").iter_rows())


def test_offering_it_by_hand():
    tasks = pl.DataFrame(
        {"candidates": [["a", "b"], ["b", "a"]], "gold": ["a", "a"], "position": [0, 1]}, schema_overrides={"position": pl.Int16}
    )
    assert offered(tasks, np.array([False, True])).to_dicts() == [
        {"candidates": ["a", "b", NONE], "gold": "a", "position": 0},
        {"candidates": ["b", "a", NONE], "gold": NONE, "position": 2},
    ]


def test_without_it_the_training_tasks_are_those_of_before(draw):
    rows = draw(0.0).rows()
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest() == BEFORE


def test_a_share_of_the_tasks_asks_for_a_tool_that_is_left_out(draw, tool_of):
    tasks = draw(0.25, count=60)
    assert tasks.filter(gold=NONE).height / tasks.height == pytest.approx(0.25, abs=0.05)  # 960 tasks: three standard errors
    for row in tasks.iter_rows(named=True):
        asked = tool_of[row["question_id"]]
        assert len(row["candidates"]) == 4 and row["candidates"][-1] == NONE
        assert row["candidates"][row["position"]] == row["gold"]
        assert row["gold"] == (asked if asked in row["candidates"] else NONE)


def test_support_and_query_tools_stay_disjoint_and_no_question_comes_twice_in_a_pack(draw, tool_of):
    tasks = draw(0.5, count=30).with_columns(asked=pl.col("question_id").replace_strict(tool_of))
    for _, task in tasks.group_by("meta_task"):
        sides = [task.filter(role=role) for role in ("support", "query")]
        named = [{*side["asked"], *side["candidates"].explode(empty_as_null=True)} - {NONE} for side in sides]
        assert not named[0] & named[1]
        assert all(side["question_id"].n_unique() == side.height for side in sides)
        # All abstaining tasks of a pack ask for the one tool that was drawn beside its candidates.
        assert all(side.filter(gold=NONE)["asked"].n_unique() <= 1 for side in sides)


def test_it_takes_one_training_tool_more(draw):
    draw(0.0, distractors=4)
    with pytest.raises(UserError, match="E-DISTRACTORS") as raised:
        draw(0.1, distractors=4)
    assert raised.value.fix.startswith("set distractors: 3 (")
    draw(0.1, distractors=3)


def test_equal_inputs_give_equal_bytes(draw, tmp_path):
    found = []
    for _ in range(2):
        draw(0.3)
        found.append(artifacts.sha256(tmp_path / "out" / "meta_tasks.parquet"))
    assert found[0] == found[1]


def test_a_pack_lists_it_as_an_answer_and_asks_the_documentation_of_the_tool_that_is_left_out(renderer, tool_of):
    question = next(name for name, tool in tool_of.items() if tool == "atlas")
    row = {"question_id": question, "candidates": ["pulse", NONE], "gold": NONE, "position": 1}
    packed = renderer.pack([row, row | {"documentation": True}])
    decode = renderer.template.tokenizer.decode
    assert "\nNo other tool in this list answers the request. () -> none of these\n" in decode(packed.input_ids_T)
    assert decode(packed.target_A[packed.branch_A == 1]) == " none of these\n"
    assert packed.gold_Q.tolist() == [1, 1]
    assert renderer.sentences["atlas"] in decode(packed.input_ids_T[packed.node_T == 4])
