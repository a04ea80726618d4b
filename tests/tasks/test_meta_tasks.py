import subprocess
import sys
from collections import Counter
from itertools import groupby

import numpy as np
import polars as pl
import pytest
from scipy import stats

from metatoolagent import artifacts
from metatoolagent.catalog import schemas
from metatoolagent.errors import UserError
from metatoolagent.tasks import choices as numbered
from metatoolagent.tasks import eval_tasks as evaluation_stage
from metatoolagent.tasks import meta_tasks as stage
from metatoolagent.tasks.choices import Choices
from metatoolagent.tasks.distractors import Sampling
from metatoolagent.tasks.drawing import Source
from metatoolagent.tasks.packs import Training, meta_tasks
from metatoolagent.tasks.pools import available, candidate_set, eval_tasks
from metatoolagent.tasks.splits import split
from metatoolagent.variants import MAIN, Variant

KINDS = ["sd", "cd", "hd-kitchen"]


@pytest.fixture(scope="session")
def splits(catalog, committed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("splits")
    for kind in KINDS:
        split(catalog, kind, committed.split, committed.seed, folder / kind)
    return folder


@pytest.fixture
def draw(catalog, committed, splits, tmp_path):
    """Materializes the tasks of a split: `meta_tasks`, which are trained on, or `tasks`, which are evaluated."""

    def draw(what, kind, out="out", *, seed=0, distractors=2, meta=None, evaluation=None, variant=MAIN, parts=None):
        training, evaluated = committed.meta_tasks.model_copy(update=meta), committed.eval_tasks.model_copy(update=evaluation)
        given, folder = (parts or splits / kind, catalog, kind, distractors, seed), tmp_path / out / what
        if what == "meta_tasks":
            stage.materialize(*given, training, folder, variant)
            return schemas.read(folder / stage.FILE, schemas.META_TASKS)
        evaluation_stage.materialize(*given, evaluated, training, folder, variant)
        return schemas.read(folder / evaluation_stage.FILE, schemas.EVAL_TASKS)

    return draw


@pytest.mark.parametrize(
    ("sizes", "by_domain"),
    [
        ([10, 10, 9], True),
        ([23, 3, 3], False),  # three and three tools are enough for the candidates, and would be one side of every meta-task
        ([19, 5, 5], True),
    ],
)
def test_a_few_tools_are_not_one_side_of_every_meta_task(sizes, by_domain):
    domain_T = np.repeat(np.arange(len(sizes)), sizes)
    none = np.empty(0, np.int64)
    parting = Training(np.arange(len(domain_T)), domain_T, none, none).parting(False, 6)
    assert len(parting.size_U) == (len(sizes) if by_domain else len(domain_T))


def test_a_split_of_another_catalog_is_refused(draw, catalog, splits, tmp_path):
    tools = pl.read_parquet(catalog / "tools.parquet")
    with artifacts.publishing(tmp_path / "catalog", ["tools.parquet"], producer="ingest") as paths:
        renamed = pl.col("name").replace({"pulse": "renamed"})
        schemas.write(tools.with_columns(renamed).sort("domain", "name"), schemas.TOOLS, paths["tools.parquet"])
    with pytest.raises(UserError, match="E-STALE") as raised:
        Source.read(splits / "cd", tmp_path / "catalog", "cd")
    assert raised.value.exit_code == 66 and raised.value.got == '"pulse, renamed"'


@pytest.fixture
def make(draw, splits):
    """Materializes both, and returns them with the part of each tool."""

    def make(kind, out="out", **changes):
        part = dict(pl.read_parquet(splits / kind / "tools.parquet").select("name", "part").iter_rows())
        return draw("meta_tasks", kind, out, **changes), draw("tasks", kind, out, **changes), part

    return make


NAMES = ["meta_tasks/meta_tasks.parquet", "tasks/eval_tasks.parquet"]


@pytest.fixture(scope="session")
def domain(catalog):
    return dict(pl.read_parquet(catalog / "tools.parquet").select("name", "domain").iter_rows())


@pytest.fixture(scope="session")
def question(catalog):
    rows = pl.read_parquet(catalog / "questions.parquet").iter_rows(named=True)
    return {row["question_id"]: row for row in rows}


def packs(tasks):
    return [group for _, group in tasks.group_by("meta_task", "role", "pack", maintain_order=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distractor_kind", ["random", "hard", "same_domain"])
def test_every_task_has_its_gold_tool_once(make, question, kind, distractor_kind):
    choice = {"distractor_kind": distractor_kind}
    for tasks in make(kind, meta=choice, evaluation=choice)[:2]:
        for row in tasks.iter_rows(named=True):
            assert len(set(row["candidates"])) == 3
            assert row["candidates"][row["position"]] == row["gold"] == question[row["question_id"]]["tool"]


def test_documentation_stands_for_fewer_and_fewer_questions(make):
    settings = {"count": 200, "tasks_per_pack": 4}
    plain = make("cd", "plain", meta=settings | {"documentation": 0.0})[0]
    mixed = make("cd", "mixed", meta=settings | {"documentation": 0.5})[0]
    assert not plain["documentation"].any()
    share = [
        mixed.filter(pl.col("meta_task").is_between(start, start + 24))["documentation"].mean() for start in range(0, 200, 25)
    ]
    assert share[:4] == pytest.approx([0.88, 0.63, 0.38, 0.13], abs=0.11)  # 200 tasks each: three standard errors
    assert share[4:] == [0, 0, 0, 0]
    assert mixed.drop("documentation").equals(plain.drop("documentation"))


@pytest.mark.parametrize("kind", KINDS)
def test_meta_tasks_have_the_shape_asked_for(make, kind):
    meta, _, part = make(kind, meta={"count": 7, "support_packs": 2, "query_packs": 1, "tasks_per_pack": 5})
    assert meta.height == 7 * 3 * 5
    groups = packs(meta)
    assert [(group["meta_task"][0], group["role"][0], group["pack"][0]) for group in groups[:4]] == [
        (0, "support", 0),
        (0, "support", 1),
        (0, "query", 0),
        (1, "support", 0),
    ]
    for group in groups:
        assert group["task"].to_list() == [0, 1, 2, 3, 4]
        assert group["candidates"].n_unique() == 1
        assert group["question_id"].n_unique() == 5
        assert sorted(Counter(group["gold"]).values()) == [1, 2, 2]
        assert {part[tool] for tool in group["candidates"][0]} == {"train"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packs_of_a_role", [1, 3])
def test_support_and_query_tools_are_disjoint(make, domain, kind, packs_of_a_role):
    meta, _, _ = make(kind, meta={"count": 50, "support_packs": packs_of_a_role, "query_packs": packs_of_a_role})
    for _, task in meta.group_by("meta_task"):
        sides = [set(task.filter(role=role)["candidates"].explode(empty_as_null=True)) for role in ("support", "query")]
        assert not sides[0] & sides[1]
        if kind == "cd":
            assert not {domain[tool] for tool in sides[0]} & {domain[tool] for tool in sides[1]}
    if kind == "sd":
        assert all(len({domain[tool] for tool in group["candidates"][0]}) == 1 for group in packs(meta))


def test_anchors_and_questions_are_used_equally(make, question):
    meta, _, part = make("cd", meta={"count": 60})
    uses = Counter(meta["question_id"])
    for tool in (name for name, its in part.items() if its == "train"):
        counts = [uses[name] for name, row in question.items() if row["tool"] == tool]
        assert max(counts) - min(counts) <= 1
    golds = Counter(meta["gold"])
    assert len(golds) == 10
    assert max(golds.values()) < 1.3 * min(golds.values())


def test_gold_tools_stand_in_every_place_equally_often(make):
    meta, evaluation, _ = make("cd", meta={"count": 300}, evaluation={"count": 72, "tasks_per_set": 1})
    assert stats.chisquare(meta["position"].value_counts()["count"].to_list()).pvalue > 0.001
    assert stats.chisquare(evaluation["position"].value_counts()["count"].to_list()).pvalue > 0.001


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_is_spread_evenly_and_pools_ask_the_same(make, domain, question, kind):
    _, evaluation, part = make(kind)
    for pool in ("all", "unseen"):
        tasks = evaluation.filter(pool=pool)
        assert tasks["task_id"].to_list() == [f"{pool}-{number:06}" for number in range(60)]
        assert tasks["question_id"].n_unique() == 60
        counts = Counter(tasks["gold"])
        assert max(counts.values()) - min(counts.values()) <= 1
        assert {part[tool] for tool in counts} == {"test"}
        assert len(counts) == Counter(part.values())["test"]
        candidates = set(tasks["candidates"].explode(empty_as_null=True))
        assert ("train" in {part[tool] for tool in candidates}) is (pool == "all")
        if kind == "sd":
            assert all(len({domain[tool] for tool in names}) == 1 for names in tasks["candidates"])
    asked = [evaluation.filter(pool=pool)["question_id"].to_list() for pool in ("all", "unseen")]
    assert asked[0] == asked[1]


def test_validation_can_be_evaluated(make):
    _, evaluation, part = make("cd", evaluation={"part": "validation", "count": 48})
    assert set(evaluation["part"]) == {"validation"}
    assert {part[tool] for tool in evaluation["gold"]} == {"validation"}


def test_equal_inputs_give_equal_bytes_and_another_seed_others(make, tmp_path):
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        make("cd", out, seed=seed)
    for name in NAMES:
        assert artifacts.sha256(tmp_path / "a" / name) == artifacts.sha256(tmp_path / "b" / name)
        assert artifacts.sha256(tmp_path / "a" / name) != artifacts.sha256(tmp_path / "c" / name)


def test_bytes_do_not_depend_on_threads_or_the_hash_seed(make, catalog, splits, committed, tmp_path):
    make("cd", "here")
    code = (
        "import sys; from pathlib import Path; from metatoolagent import params;"
        "from metatoolagent.tasks import eval_tasks, meta_tasks;"
        "split, catalog, out, meta, evaluation = sys.argv[1:];"
        "given = Path(split), Path(catalog), 'cd', 2, 0; meta = params.MetaTasks.model_validate_json(meta);"
        "meta_tasks.materialize(*given, meta, Path(out, 'meta_tasks'));"
        "eval_tasks.materialize(*given, params.EvalTasks.model_validate_json(evaluation), meta, Path(out, 'tasks'))"
    )
    sections = committed.meta_tasks.model_dump_json(), committed.eval_tasks.model_dump_json()
    source = str(artifacts.Path(artifacts.__file__).parents[1])
    environment = {"PYTHONPATH": source, "POLARS_MAX_THREADS": "1", "PYTHONHASHSEED": "7"}
    subprocess.run(
        [sys.executable, "-c", code, splits / "cd", catalog, tmp_path / "there", *sections], check=True, env=environment
    )
    for name in NAMES:
        assert artifacts.sha256(tmp_path / "here" / name) == artifacts.sha256(tmp_path / "there" / name)


def test_chunks_go_on_where_the_last_one_ended(make, monkeypatch):
    monkeypatch.setattr("metatoolagent.tasks.packs.CHUNK", 8)
    monkeypatch.setattr("metatoolagent.tasks.pools.CHUNK", 7)
    meta, evaluation, _ = make("cd", meta={"count": 30})
    assert meta["meta_task"].unique(maintain_order=True).to_list() == list(range(30))
    uses = Counter(meta["question_id"]).values()
    assert max(uses) - min(uses) <= 2
    assert evaluation["task_id"].to_list() == [f"{pool}-{number:06}" for pool in ("all", "unseen") for number in range(60)]
    assert len({tuple(group["candidates"][0]) for group in packs(meta)}) > 40


IN_TRAINING = "training tools of domain kitchen (at most 4), training tools of domain travel (at most 4)"
IN_EVALUATION = "domain kitchen in pool unseen (at most 4), domain travel in pool unseen (at most 4)"


@pytest.mark.parametrize(
    ("what", "kind", "distractors", "where", "largest"),
    [
        ("meta_tasks", "sd", 5, f"{IN_TRAINING}, {IN_EVALUATION}", 4),
        ("meta_tasks", "cd", 20, "training tools (at most 4), pool all (at most 19), pool unseen (at most 9)", 4),
        ("meta_tasks", "hd-kitchen", 4, "training tools (at most 3)", 3),
        ("tasks", "sd", 5, f"{IN_EVALUATION}, {IN_TRAINING}", 4),
        ("tasks", "cd", 10, "pool unseen (at most 9), training tools (at most 4)", 4),
        ("tasks", "cd", 20, "pool all (at most 19), pool unseen (at most 9), training tools (at most 4)", 4),
    ],
)
def test_too_many_distractors_are_refused(draw, what, kind, distractors, where, largest):
    with pytest.raises(UserError) as raised:
        draw(what, kind, distractors=distractors)
    error = raised.value
    assert (error.code, error.exit_code) == ("E-DISTRACTORS", 65)
    assert error.where == where
    assert error.fix.startswith(f"set distractors: {largest} (for training and evaluation tasks of split {kind}, ")
    for each in ("meta_tasks", "tasks"):
        draw(each, kind, distractors=largest)


@pytest.mark.parametrize("first", ["meta_tasks", "tasks"])
@pytest.mark.parametrize(("share", "largest"), [(0.1, 1), (0.2, 3), (0.3, 3)])
def test_whichever_tasks_are_refused_first_the_number_told_is_possible_for_both(
    draw, catalog, committed, tmp_path, first, share, largest
):
    """Of 10 tools a domain: few unseen ones leave evaluation the fewest distractors, many leave training the fewest."""
    params = committed.split.model_copy(update={"test": share, "validation": share})
    split(catalog, "sd", params, 0, tmp_path / "parts")
    with pytest.raises(UserError, match="E-DISTRACTORS") as raised:
        draw(first, "sd", distractors=9, parts=tmp_path / "parts", evaluation={"count": 12})
    assert raised.value.fix.startswith(f"set distractors: {largest} (")
    for each in ("meta_tasks", "tasks"):
        draw(each, "sd", distractors=largest, parts=tmp_path / "parts", evaluation={"count": 12})


@pytest.mark.parametrize(("what", "where"), [("meta_tasks", IN_TRAINING), ("tasks", IN_EVALUATION)])
def test_distractors_of_the_same_domain_count_each_domain(draw, what, where):
    changes = {"distractor_kind": "same_domain"}
    with pytest.raises(UserError) as raised:
        draw(what, "cd", distractors=5, meta=changes, evaluation=changes)
    assert raised.value.where.startswith(where)


def test_more_evaluation_tasks_than_questions_are_refused(draw):
    with pytest.raises(UserError) as raised:
        draw("tasks", "cd", evaluation={"count": 73})
    assert raised.value.code == "E-QUESTIONS"
    assert raised.value.fix.startswith("set eval_tasks.count: 72, for a sweep alone sweeps.caps.eval_tasks,")


@pytest.mark.parametrize(
    ("what", "changes", "code"),
    [
        ("meta_tasks", {"distractors": 10**9}, "E-DISTRACTORS"),
        ("tasks", {"distractors": 10**9}, "E-DISTRACTORS"),
        ("tasks", {"evaluation": {"count": 10**9, "distractors": 2}}, "E-QUESTIONS"),
        ("meta_tasks", {"meta": {"count": 10**9, "support_packs": 30_000}}, "E-DISK-FULL"),
    ],
)
def test_an_impossible_number_is_told_before_the_room_that_it_would_take(draw, what, changes, code):
    with pytest.raises(UserError) as raised:
        draw(what, "cd", **changes)
    assert raised.value.code == code


def test_a_part_without_questions_is_refused(draw):
    with pytest.raises(UserError, match="E-QUESTIONS") as raised:
        draw("tasks", "cd", evaluation={"part": "nowhere", "count": 0})
    assert raised.value.fix == "name a part with questions"


def test_a_pack_that_would_ask_twice_is_refused(make):
    with pytest.raises(UserError) as raised:
        make("cd", meta={"tasks_per_pack": 37})
    assert raised.value.code == "E-QUESTIONS"
    assert "up to 13 different questions" in raised.value.what
    make("cd", meta={"tasks_per_pack": 36})


@pytest.mark.parametrize(("made", "asked"), [("hd-kitchen", "cd"), ("cd", "hd-kitchen"), ("sd", "hd-nosuch")])
def test_the_parts_of_another_split_are_refused(splits, catalog, made, asked):
    with pytest.raises(UserError, match="E-SPLIT-KIND") as raised:
        Source.read(splits / made, catalog, asked)
    assert (raised.value.exit_code, raised.value.where, raised.value.got) == (66, str(splits / made), f'"{made}"')


def test_sd_and_cd_have_the_same_parts_and_an_earlier_manifest_does_not_tell(splits, catalog, tmp_path):
    assert Source.read(splits / "sd", catalog, "cd").split == "cd"
    for path in (splits / "cd").glob("*.parquet"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest = artifacts.read_manifest(splits / "cd")
    del manifest["kind"]
    (tmp_path / artifacts.MANIFEST).write_text(artifacts.canonical_json(manifest), encoding="utf-8")
    assert Source.read(tmp_path, catalog, "hd-kitchen").split == "hd-kitchen"


def test_a_damaged_split_is_refused(splits, catalog, committed, tmp_path):
    for path in (splits / "cd").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    raw = bytearray((tmp_path / "tools.parquet").read_bytes())
    raw[60] ^= 1
    (tmp_path / "tools.parquet").write_bytes(raw)
    with pytest.raises(UserError, match="E-CORRUPT"):
        stage.materialize(tmp_path, catalog, "cd", 2, 0, committed.meta_tasks, tmp_path / "out")


def tiny():
    """Two domains: a with 2 training tools and 1 for test, b likewise; question 0 of every tool has a second answer."""
    names = [f"{domain}{number}" for domain in "ab" for number in range(3)]
    tools = pl.DataFrame({"name": names, "domain": [name[0] for name in names], "part": ["train", "train", "test"] * 2})
    second = {"a0": ["b0"], "a1": ["b1"], "a2": ["b2"], "b0": [], "b1": [], "b2": ["a2", "a1"]}
    rows = [(f"{name}-{number}", name, second[name] if number == 0 else []) for name in names for number in range(3)]
    questions = pl.DataFrame(rows, schema={"question_id": pl.String, "tool": pl.String, "also": pl.List(pl.String)}, orient="row")
    return Choices.of(tools, questions.iter_slices(4))


def test_numbers_are_those_of_the_tables():
    choices = tiny()
    assert choices.domain_T.tolist() == [0, 0, 0, 1, 1, 1]
    assert choices.tool_Q.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]
    assert choices.second_2A.tolist() == [[0, 3, 6, 15, 15], [3, 4, 5, 2, 1]]
    assert [number for number, single in enumerate(choices.unambiguous()) if not single] == [0, 3, 6, 15]


def test_questions_with_two_answers_do_not_train(committed):
    params = committed.meta_tasks.model_copy(update={"count": 12, "tasks_per_pack": 2})
    tasks = pl.concat(meta_tasks(tiny(), Training.of(tiny(), 0, params), Sampling(1, False, None, 0), params))
    assert set(tasks["question_id"]) == {"a0-1", "a0-2", "a1-1", "a1-2", "b0-0", "b0-1", "b0-2", "b1-0", "b1-1", "b1-2"}
    # With two training tools a domain, each pack holds a whole domain.
    assert {tuple(sorted(names)) for names in tasks["candidates"].to_list()} == {("a0", "a1"), ("b0", "b1")}


def test_second_answers_are_no_distractors(committed):
    params = committed.eval_tasks.model_copy(update={"count": 6, "tasks_per_set": 1})
    for seed in range(10):
        tasks = next(eval_tasks(tiny(), Sampling(3, False, None, seed), params))
        for row in tasks.iter_rows(named=True):
            second = {"a2-0": {"b2"}, "b2-0": {"a2", "a1"}}.get(row["question_id"], set())
            assert not second & set(row["candidates"])


@pytest.mark.parametrize("tasks_per_set", [1, 3])
def test_second_answers_count_for_the_largest_number_of_distractors(committed, tasks_per_set):
    params = committed.eval_tasks.model_copy(update={"count": 6, "tasks_per_set": tasks_per_set})
    assert available(tiny(), False, 0, params) == {"pool all": 3, "pool unseen": 0}
    assert available(tiny(), True, 0, params) == {
        "domain a in pool all": 2,
        "domain b in pool all": 2,
        "domain a in pool unseen": 0,
        "domain b in pool unseen": 0,
    }


def test_the_second_answers_of_a_whole_set_are_no_distractors(committed):
    params = committed.eval_tasks.model_copy(update={"count": 6, "tasks_per_set": 3})
    tasks = next(eval_tasks(tiny(), Sampling(3, False, None, 0), params))
    assert {frozenset(names) for names in tasks.filter(gold="b2")["candidates"].to_list()} == {
        frozenset({"a0", "b0", "b1", "b2"})
    }


def test_questions_of_a_tool_share_candidate_sets(make):
    _, evaluation, _ = make("cd", evaluation={"count": 66, "tasks_per_set": 4})
    for _, tasks in evaluation.group_by("pool", "gold"):
        runs = [len(list(run)) for _, run in groupby(tasks.sort("task_id")["candidates"].to_list())]
        assert runs == [4, 4, 3]


def test_candidate_sets_are_runs_of_one_tool():
    assert candidate_set(np.array([7, 7, 7, 2, 5, 5]), 2).tolist() == [0, 0, 1, 2, 3, 3]


def test_the_keys_of_a_chunk_are_limited(make, monkeypatch):
    monkeypatch.setattr(numbered, "KEYS", 1)
    monkeypatch.setattr("metatoolagent.tasks.packs.KEYS", 1)
    monkeypatch.setattr("metatoolagent.tasks.pools.KEYS", 1)
    meta, evaluation, _ = make("cd", meta={"count": 5}, evaluation={"count": 4})
    assert (meta["meta_task"].n_unique(), evaluation.height) == (5, 8)


def test_fewer_training_tools_are_spread_over_the_domains_and_are_some_of_more(make, domain):
    tools = {}
    for count in (4, 8, 0):
        tasks, _, _ = make("cd", f"{count}", distractors=1, meta={"tools": count})
        tools[count] = set(tasks["gold"]) | set(tasks["candidates"].explode())
    assert tools[4] < tools[8] < tools[0]
    assert Counter(domain[name] for name in tools[4]) == {"kitchen": 2, "travel": 2}
    assert Counter(domain[name] for name in tools[8]) == {"kitchen": 4, "travel": 4}


def test_fewer_questions_of_a_tool_are_some_of_more(make):
    asked = {}
    for count in (3, 6):
        tasks, _, _ = make("cd", f"{count}", meta={"questions_per_tool": count, "tasks_per_pack": 3})
        assert set(Counter(tool for tool, _ in set(tasks.select("gold", "question_id").iter_rows())).values()) == {count}
        asked[count] = set(tasks["question_id"])
    assert asked[3] < asked[6]


def test_fewer_query_tasks_are_the_first_of_the_same(make):
    whole, _, _ = make("cd", "whole", meta={"query_packs": 2, "tasks_per_pack": 4})
    cut, _, _ = make("cd", "cut", meta={"query_packs": 2, "tasks_per_pack": 4, "query_tasks": 5})
    kept = (pl.col("role") == "support") | (pl.col("pack") == 0) | (pl.col("task") == 0)
    assert cut.equals(whole.filter(kept))
    assert len(cut.filter(role="query", meta_task=0)) == 5


def test_tasks_of_training_tools_ask_what_is_trained_on(make):
    meta = {"tools": 4, "questions_per_tool": 6}
    tasks, evaluation, part = make("cd", distractors=1, meta=meta, evaluation={"part": "train", "count": 24})
    assert set(evaluation["question_id"]) >= set(tasks["question_id"])
    assert set(evaluation["gold"]) == set(tasks["gold"]) and {part[name] for name in evaluation["gold"]} == {"train"}
    assert evaluation["pool"].unique().to_list() == ["all"]


def test_evaluation_can_have_its_own_number_of_distractors(make):
    tasks, evaluation, _ = make("cd", distractors=2, evaluation={"distractors": 1})
    assert set(tasks["candidates"].list.len()) == {3} and set(evaluation["candidates"].list.len()) == {2}
    with pytest.raises(UserError, match="E-DISTRACTORS") as raised:
        make("cd", distractors=2, evaluation={"distractors": 30})
    assert raised.value.got == "eval_tasks.distractors: 30" and raised.value.fix.startswith("set eval_tasks.distractors: 9,")


@pytest.mark.parametrize(
    ("name", "changes", "got", "fix"),
    [
        (
            "distractors/distractors=5",
            {"distractors": 5},
            "sweeps.distractors: 5",
            "take what is above 4 out of sweeps.distractors (for training and evaluation tasks of split cd, ",
        ),
        (
            "distractors/eval_tasks.distractors=30",
            {"evaluation": {"distractors": 30}},
            "sweeps.distractors: 30",
            "take what is above 4 out of sweeps.distractors (for training and evaluation tasks of split cd, ",
        ),
        (
            "queries/meta_tasks.tools=99",
            {"meta": {"tools": 99}},
            "sweeps.queries.tools: 99",
            "take what is above 10 out of sweeps.queries.tools, or 0 for all",
        ),
    ],
)
def test_an_impossible_point_of_a_sweep_names_the_sweeps_key(make, name, changes, got, fix):
    with pytest.raises(UserError) as raised:
        make("cd", variant=Variant.parse(f"sweep/{name}"), **changes)
    assert raised.value.got == got and raised.value.fix.startswith(fix)


def test_more_training_tools_than_there_are_are_refused(make):
    with pytest.raises(UserError, match="E-QUESTIONS") as raised:
        make("cd", meta={"tools": 99})
    assert raised.value.what.startswith("99 training tools are asked for")


def test_more_questions_of_a_tool_than_any_has_are_refused(make):
    with pytest.raises(UserError, match="E-QUESTIONS") as raised:
        make("cd", meta={"questions_per_tool": 99})
    assert raised.value.what.startswith("99 questions of each training tool are asked for, and none has more than 12")
    assert raised.value.got == "meta_tasks.questions_per_tool: 99"
    with pytest.raises(UserError, match="E-QUESTIONS") as raised:
        swept = Variant.parse("sweep/queries/meta_tasks.questions_per_tool=99")
        make("cd", "swept", variant=swept, meta={"questions_per_tool": 99})
    assert raised.value.got == "sweeps.queries.questions: 99"
