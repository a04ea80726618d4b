"""The cost model against numbers worked out by hand, and its counts against the plan of the sweeps."""

import re
from collections import Counter
from pathlib import Path

import pytest

from metatoolagent import params
from metatoolagent.reporting import cost, cost_tables
from metatoolagent.sweeps import runs
from metatoolagent.variants import Variant

ROOT = Path(__file__).parents[2]
SMALL, FULL = cost_tables.forms(ROOT)
PACK, SINGLE = 508, 321
QUESTION = 187 / 7
CANDIDATE = (321 - QUESTION) / 6
# Every name is read in evaluation, the right one in training.
SCORED_QUESTION = 299 / 7
SCORED_CANDIDATE = (337 - SCORED_QUESTION) / 6


def chosen(**overrides) -> params.Params:
    """Return params.yaml under overrides, whose keys have `__` for a dot."""
    changed = {"meta_tasks.count": 10, **{key.replace("__", "."): value for key, value in overrides.items()}}
    return params.check(Variant("x", changed).apply(SMALL))


def test_a_pack_is_what_was_measured_and_grows_with_questions_and_candidates():
    assert cost.pack_tokens(cost.TRAINED, 5) == pytest.approx(508)
    assert cost.pack_tokens(cost.TRAINED, 5, questions=1) == pytest.approx(321)
    # A question adds 187 / 7 = 26.714 tokens, a candidate (321 - 26.714) / 6 = 49.048.
    assert cost.pack_tokens(cost.TRAINED, 20) == pytest.approx(508 + 15 * 49.0476, abs=0.01)
    assert cost.pack_tokens(cost.SCORED, 20) == pytest.approx(636 + 15 * 49.0476, abs=0.01)


@pytest.mark.parametrize(
    ("method", "overrides", "read", "passed"),
    [
        # 10 meta-tasks of two packs of 508 tokens; 4 N a token for ft, 5 N for mta.
        ("ft", {}, 2, 4),
        ("mta", {}, 2, 5),
        # A step more: the support forward and back, the queries forward.
        ("mta", {"mta__inner_steps": 2}, 2, 8),
        # The queries are looked at after the last step alone.
        ("mta", {"mta__optimistic": False, "mta__early_stop": False}, 2, 4),
        # A gradient of the support more for each step, or one differentiated again; reptile's way back costs nothing.
        ("mta", {"mta__hypergradient": "exact"}, 2, 10),
        ("mta", {"mta__hypergradient": "exact", "mta__product": "finite_difference", "backbone__dtype": "float32"}, 2, 7),
        ("mta", {"mta__hypergradient": "reptile", "mta__support_share": 0.0}, 2, 5),
        # Two packs of queries: they are looked at twice and once back, 6 passes, beside 2 of the support.
        ("mta", {"meta_tasks__query_packs": 2}, 3, 8),
        ("channel", {}, 6.8, 13.6),
    ],
)
def test_flops_of_a_training(method, overrides, read, passed):
    work = cost.training(method, chosen(**overrides))
    assert work.tokens == pytest.approx(10 * read * PACK)
    assert work.flops == pytest.approx(10 * passed * 2 * PACK)
    assert work.rank == 16


def test_a_training_reads_the_tasks_and_candidates_that_it_asks_for():
    one = cost.training("ft", chosen(meta_tasks__query_tasks=1))
    assert one.tokens == pytest.approx(10 * (PACK + SINGLE))
    small = cost.training("ft", chosen(meta_tasks__tasks_per_pack=4, distractors=10))
    assert small.tokens == pytest.approx(20 * (11 * CANDIDATE + 4 * QUESTION))


def test_an_evaluation_reads_a_set_for_each_tool_and_eight_of_its_questions():
    # 300 tasks of 42 tools are a set each, in both pools; each task is answered in 12 tokens, 48 more where a method reasons.
    read = 2 * (42 * 6 * SCORED_CANDIDATE + 300 * SCORED_QUESTION)
    assert cost.evaluation("ft", chosen()).tokens == pytest.approx(read + 600 * 12)
    assert cost.evaluation("ft", chosen()).flops == pytest.approx(2 * (read + 600 * 12))
    assert cost.evaluation("cot", chosen()).tokens == pytest.approx(read + 600 * 60)
    assert cost.evaluation("embedding", chosen()).tokens == pytest.approx(read)
    assert cost.evaluation("likelihood", chosen()).tokens == pytest.approx(2.7 * read)
    # Of 21 tools, 15 tasks of each or 14, two sets; with 10 distractors.
    validation = cost.evaluation("ft", chosen(eval_tasks__part="validation", eval_tasks__distractors=10))
    assert validation.tokens == pytest.approx(2 * (42 * 11 * SCORED_CANDIDATE + 300 * (SCORED_QUESTION + 12)))


@pytest.mark.parametrize(
    ("name", "overrides", "sets", "tasks"),
    [
        ("overlap-30", {}, 42, 300),
        ("hd-app", {}, 2 * 22 * 2, 600),
        # A chain's gold tools are candidates beside the distractors.
        ("chains", {"distractors": 4}, 463, 955),
        ("toolalpaca-chains", {"distractors": 4}, 60, 120),
        # Tasks of training tools have one pool; 100 tasks of 10 tools are two sets each, of 92 tools two at the most.
        ("main", {"eval_tasks__part": "train", "eval_tasks__count": 100, "meta_tasks__tools": 10}, 20, 100),
        ("main", {"eval_tasks__part": "train", "eval_tasks__count": 20}, 20, 20),
    ],
)
def test_pools_and_sets_of_other_evaluations(name, overrides, sets, tasks):
    work = cost.evaluation("ft", chosen(**overrides), name)
    assert work.tokens == pytest.approx(sets * 6 * SCORED_CANDIDATE + tasks * (SCORED_QUESTION + 12))


def test_parts_are_as_many_tools_as_the_committed_list_has():
    parts = Counter(line.split(",")[1] for line in (ROOT / "data/split.csv").read_text().splitlines()[1:])
    assert parts == cost.TOOLS
    assert round(sum(parts.values()) / len(SMALL["held_out"])) == cost.OF_DOMAIN


def test_every_sweep_is_priced():
    assert {target.removeprefix("sweep_") for target in cost.TARGETS} == {*runs.NAMES, "eval_cd", "multi_tool"}


@pytest.mark.parametrize(
    ("target", "small", "full"),
    [
        ("eval_cd", [2, 3], [2, 3]),
        # 9 folds: ft and mta by 2 seeds, and base; 4 trained methods by 5 seeds, and 6 untrained ones with a model;
        # of the benchmarks no adapter is trained.
        ("table2", [36, 45], [180, 338]),
        ("compare", [8, 8], [20, 20]),
        ("search", [16, 16], [320, 320]),
        ("sweep_distractors", [16, 64], [40, 160]),
        # 4 rungs; in the full form one, with base.
        ("sweep_scale", [16, 20], [10, 11]),
        # 3 + 4 + 4 sizes, 6 + 4 + 4 in the full form, of which one of each is the same: 8 questions are a pack, and 0 is all.
        ("sweep_queries", [36, 72], [120, 240]),
        ("sweep_sensitivity", [16, 16], [320, 320]),
        # 4 levels and siblings, by base, ft and mta, in the full form by all ten with a model; the adapters are the main job's.
        ("sweep_overlap", [2, 15], [4, 50]),
        # Our chains and a benchmark's.
        ("multi_tool", [2, 6], [2, 6]),
    ],
)
def test_trainings_and_evaluations_are_those_of_the_plan(target, small, full):
    assert cost.counts(cost.works(target, SMALL)) == small
    assert cost.counts(cost.works(target, FULL)) == full


def test_the_work_of_a_target_is_under_the_caps_and_that_of_the_full_form_is_not():
    small = SMALL | {"sweeps": SMALL["sweeps"] | {"caps": {"meta_tasks": 20, "eval_tasks": 100}}}
    capped, whole = cost.works("compare", small), cost.works("compare", FULL)
    assert min(work.tokens for work in capped if work.rank) == pytest.approx(20 * 2 * PACK)
    assert min(work.tokens for work in whole if work.rank) == pytest.approx(80 * 2 * PACK)
    tasks = 2 * (42 * 6 * SCORED_CANDIDATE + 100 * (SCORED_QUESTION + 12))
    assert [work.tokens for work in capped if not work.rank] == pytest.approx([tasks] * 8)


def test_the_full_form_is_the_profile_over_params_yaml():
    assert FULL["sweeps"]["sensitivity"] == {**SMALL["sweeps"]["sensitivity"], "points": 64}
    assert FULL["sweeps"]["caps"] == {"meta_tasks": 0, "eval_tasks": 0}
    assert cost_tables.over({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}}) == {"a": {"b": 4, "c": 2}, "d": 3}


def test_a_rung_costs_its_share_of_the_parameters():
    model = cost.MODELS[0]
    assert model.parameters - 49_152 * 576 == pytest.approx(cost.OF_LAYERS * model.parameters, rel=0.01)
    rungs = {layers: cost.size(chosen(backbone__layers=layers).backbone) for layers in (0, 10, 30)}
    assert rungs == {0: 1, 10: pytest.approx(1 - 0.79 * 2 / 3), 30: pytest.approx(1)}
    assert cost.size(chosen(backbone__source="tiny").backbone) == 0
    half = [cost.Work(0, 7, size=0.5), cost.Work(0, 2)]
    assert cost.flops(half, model) == pytest.approx((3.5 + 2) * 134.5e6)


def test_an_adapter_has_as_many_numbers_as_the_trained_one():
    # 30 layers of q, o (576 + 576), k, v (576 + 192), gate, up, down (576 + 1536), rank 16: the size of the published adapter.
    assert cost.MODELS[0].adapter() == 16 * 30 * (2 * 1152 + 2 * 768 + 3 * 2112) == 4_884_480
    works = [cost.Work(1, 1, rank=16), cost.Work(1, 1, rank=8), cost.Work(1, 1)]
    assert cost.storage(works, cost.MODELS[0]) == pytest.approx(2 * 134.5e6 + 1.5 * 4 * 4_884_480)


def test_hours_and_the_measured_rate():
    assert cost.hours(7.2e15, 1e12) == pytest.approx(2)
    # 160 packs of 508 tokens in 241 seconds, 4 x 134.5 million FLOPs a token.
    assert cost.cpu_flops() == pytest.approx(1.8145e11, rel=1e-4)


def test_the_page_has_the_tables_as_they_are_computed():
    tables = re.findall(r"(?:^\|.*\n)+", (ROOT / "docs/cost.md").read_text(), re.M)
    assert "\n".join(tables) == cost_tables.render(ROOT)
