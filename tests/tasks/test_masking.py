import json
import re

import polars as pl
import pytest

from metatoolagent.tasks.distractors import generator_of
from metatoolagent.tasks.masking import Masks, masked

NAME = re.compile(r"[a-z][a-z0-9]{7}")


@pytest.fixture(scope="module")
def meta_tasks(materialized):
    return pl.read_parquet(materialized / "meta_tasks/meta_tasks.parquet")


def packs_of(rows):
    return sorted((row[0], row[1], row[2]) for row in rows.select("meta_task", "role", "pack").unique().rows())


def test_exactly_that_share_of_the_packs_is_masked(meta_tasks):
    packs = packs_of(meta_tasks)
    assert len(Masks(meta_tasks, 2 / 3, 0).masked) == round(len(packs) * 2 / 3) == 8
    assert Masks(meta_tasks, 0.0, 0).masked == frozenset()
    assert sorted(Masks(meta_tasks, 1.0, 0).masked) == packs


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_the_rows(meta_tasks):
    first = Masks(meta_tasks, 2 / 3, 0).masked
    assert Masks(meta_tasks.reverse(), 2 / 3, 0).masked == first
    assert Masks(meta_tasks, 2 / 3, 1).masked != first


def test_names_depend_on_the_seed_and_the_pack_alone(meta_tasks, renderer):
    tools = [renderer.tools[name] for name in ("pulse", "atlas")]
    masks = Masks(meta_tasks, 1.0, 0)
    first, second, *_ = packs_of(meta_tasks)
    found = masks.tools(first, tools)
    masks.tools(second, tools)
    assert masks.tools(first, tools) == found  # as after a kill: other packs in between change nothing
    assert masks.tools(second, tools) != found
    assert Masks(meta_tasks, 1.0, 1).tools(first, tools) != found
    assert Masks(meta_tasks, 0.0, 0).tools(first, tools) == {}


def test_a_masked_tool_keeps_its_description_and_which_parameters_are_required():
    schema = {
        "type": "object",
        "properties": {"celsius": {"type": "number", "description": "How hot."}, "fan": {"type": "boolean"}},
        "required": ["celsius"],
    }
    tool = {"name": "oven_preheat", "description": "Bring the oven to a temperature.", "parameters": json.dumps(schema)}
    taken = set()
    found = masked(tool, generator_of(0, "test"), taken)
    made = json.loads(found["parameters"])
    celsius, fan = made["properties"]
    assert found["description"] == tool["description"]
    assert list(made["properties"].values()) == list(schema["properties"].values())
    assert made["required"] == [celsius]
    assert taken == {found["name"], celsius, fan}
    assert all(NAME.fullmatch(name) for name in taken)
    bare = masked({"name": "pulse", "description": "Pulse.", "parameters": "{}"}, generator_of(0, "test"), taken)
    assert json.loads(bare["parameters"]) == {"type": "object", "properties": {}, "required": []}


def test_all_names_of_a_pack_are_different(meta_tasks, renderer):
    masks = Masks(meta_tasks, 1.0, 0)
    found = masks.tools(packs_of(meta_tasks)[0], renderer.tools.values())
    names = [tool["name"] for tool in found.values()]
    for tool in found.values():
        names += json.loads(tool["parameters"])["properties"]
    assert len(names) == len(set(names))
    assert not set(names) & set(renderer.tools)


def test_the_prompt_and_the_right_answer_have_the_same_new_name(meta_tasks, renderer):
    pack = packs_of(meta_tasks)[0]
    rows = meta_tasks.filter(pl.col("meta_task") == pack[0], role=pack[1], pack=pack[2]).sort("task").to_dicts()
    candidates = rows[0]["candidates"]
    shown = Masks(meta_tasks, 1.0, 0).tools(pack, [renderer.tools[name] for name in candidates])
    packed = renderer.masked(shown).pack(rows)
    decode = renderer.template.tokenizer.decode
    prefix = decode(packed.input_ids_T[packed.node_T == 0])
    listed = [line.split(" -> ")[-1] for line in prefix.splitlines()]
    assert listed == [shown[name]["name"] for name in candidates]
    assert not any(name in prefix for name in candidates)
    for index, row in enumerate(rows):
        branch = index * len(candidates) + packed.gold_Q[index].item()
        assert decode(packed.target_A[packed.branch_A == branch]) == f" {shown[row['gold']]['name']}\n"
    # The renderer itself, which evaluation uses, is as it was.
    assert decode(renderer.prefix(candidates)).count(f"-> {candidates[0]}") == 1


def test_parameters_that_are_described_beside_the_properties_are_masked_too():
    beside = {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"properties": {"fan": {"type": "boolean"}}}}}
    schema = {"properties": {"celsius": {"type": "number"}}, "required": ["fan", "absent", "celsius"], **beside}
    tool = {"name": "oven_preheat", "description": "Heat it.", "parameters": json.dumps(schema)}
    made = masked(tool, generator_of(0, "test"), set())
    celsius, fan = json.loads(made["parameters"])["properties"]
    assert json.loads(made["parameters"])["required"] == [celsius, fan]
    assert all(NAME.fullmatch(name) for name in (celsius, fan))
    assert not any(name in made["parameters"] for name in ("celsius", "fan", "absent"))
