import json
import re
from pathlib import Path

import pytest

from metatoolagent import params
from metatoolagent.errors import UserError

COMMITTED = Path(__file__).parents[1] / "params.yaml"


def load(tmp_path, *changes):
    text = COMMITTED.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return params.load(path)


def test_the_committed_file_is_valid_and_short():
    assert params.load(COMMITTED).distractors >= 1
    assert len(COMMITTED.read_text(encoding="utf-8").splitlines()) <= 100


@pytest.mark.parametrize("text", ["- a\n- b\n", "seed\n", "3\n"])
def test_a_file_without_keys_is_told_so(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        params.load(path)
    assert (raised.value.code, raised.value.what, raised.value.exit_code) == ("E-PARAMS", "not a mapping of keys to values", 64)
    assert raised.value.where == f"{path}:1"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("distractors: 5", "distractors: ten", "key distractors"),
        ("distractors: 5", "distractors: 0", "key distractors"),
        ("distractors: 5", 'distractors: "3; touch PWNED"', "key distractors"),
        ("seed: 0", "seed: -1", "key seed"),
        ("seed: 0", "seed: 0.5", "key seed"),
        ("  test: 0.27", "  test: 1.5", "key split.test"),
        ("part: test", "part: all", "key eval_tasks.part"),
        ("clip_norm: 1.0", "clip_norm: -1", "key train.clip_norm"),
        ("  test: 0.27", "  test: 0.9", "key split"),
        ("hypergradient: first_order", "hypergradient: implicit", "key mta.hypergradient"),
        ("product: double_backward", "product: forward", "key mta.product"),
        ("inner_steps: 1", "inner_steps: 0", "key mta.inner_steps"),
        ("  layers: 0", "  layers: -1", "key backbone.layers"),
        ("  query_tasks: 0", "  query_tasks: 9", "key meta_tasks"),
        ("held_out: [app,", "held_out: [app, app,", "key held_out"),
        ("  count: 80 ", f"  count: 1{'0' * 320} ", "key meta_tasks.count"),
        ("support_packs: 1 ", "support_packs: 40000 ", "key meta_tasks.support_packs"),
        ("  tasks_per_pack: 8 ", "  tasks_per_pack: 40000 ", "key meta_tasks.tasks_per_pack"),
        ("  tasks_per_set: 8 ", f"  tasks_per_set: 1{'0' * 30} ", "key eval_tasks.tasks_per_set"),
        ("  bootstrap: 10000 ", f"  bootstrap: 1{'0' * 30} ", "key metrics.bootstrap"),
    ],
)
def test_wrong_values_name_their_line_and_key(tmp_path, old, new, key):
    with pytest.raises(UserError) as raised:
        load(tmp_path, (old, new))
    error = raised.value
    lines = (tmp_path / "params.yaml").read_text(encoding="utf-8").splitlines()
    assert (error.code, error.exit_code) == ("E-PARAMS", 64)
    assert error.where.endswith(key)
    line = int(error.where.split(":")[-1].split(",")[0])
    assert lines[line - 1].strip().startswith(key.removeprefix("key ").split(".")[-1])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("hypergradient: first_order", "hypergradient: reptile", "reptile has no gradient to learn rates"),
        ("inner_lr: 0.001", "inner_lr: 0.0", "a factor of inner_lr, which is 0"),
    ],
)
def test_rates_are_learned_only_where_they_have_a_gradient(tmp_path, old, new, said):
    alone = ("support_share: 0.5", "support_share: 0.0")
    load(tmp_path, (old, new), alone)
    with pytest.raises(UserError, match="E-PARAMS") as raised:
        load(tmp_path, (old, new), alone, ("learn_inner_lr: false", "learn_inner_lr: true"))
    assert said in raised.value.what
    assert raised.value.where.endswith("key mta")


def test_reptile_takes_no_share_of_the_support_loss(tmp_path):
    with pytest.raises(UserError, match="reptile has no gradient that a share of the support loss"):
        load(tmp_path, ("hypergradient: first_order", "hypergradient: reptile"))


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_differences_of_gradients_need_float32(tmp_path, dtype):
    changes = [("hypergradient: first_order", "hypergradient: exact"), ("product: double_backward", "product: finite_difference")]
    load(tmp_path, *changes, ("dtype: auto", "dtype: float32"))
    with pytest.raises(UserError, match=rf"differences that bfloat16 rounds away, and backbone\.dtype is {dtype}") as raised:
        load(tmp_path, *changes, ("dtype: auto", f"dtype: {dtype}"))
    assert "float32 (not auto)" in raised.value.fix


def test_an_unknown_key_is_refused_with_the_nearest_one(tmp_path):
    with pytest.raises(UserError) as raised:
        load(tmp_path, ("  inner_steps:", "  inner_step:"))
    assert raised.value.fix == "did you mean inner_steps?"
    assert not raised.value.more  # inner_steps is missing for no other reason


def test_a_misspelt_key_is_one_finding_where_a_stage_is_given_it_too():
    sections = json.loads(params.load(COMMITTED).model_dump_json())
    split = {key.replace("near_duplicate", "near_duplicates"): value for key, value in sections["split"].items()}
    with pytest.raises(UserError, match=r"unknown key split\.near_duplicates") as raised:
        params.given(json.dumps({"split": split})).section(params.Split)
    assert (raised.value.fix, raised.value.more) == ("did you mean near_duplicate?", "")


def test_a_missing_key_is_told_as_such_also_behind_another_finding(tmp_path):
    with pytest.raises(UserError) as raised:
        load(tmp_path, ("distractors: 5", "candidates: 5"))
    assert raised.value.what == "unknown key candidates"
    (told,) = raised.value.more.splitlines()[1:]
    assert told.strip().startswith("E-PARAMS ") and told.endswith("params.yaml:2, missing key distractors")


def test_all_wrong_keys_are_told_at_once(tmp_path):
    with pytest.raises(UserError) as raised:
        load(tmp_path, ("seed: 0", "seed: x"), ("rank: 16", "rank: 0"))
    assert raised.value.more.startswith("1 further")


def test_a_file_that_is_not_yaml_ends_with_the_code_of_params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("seed: [", encoding="utf-8")
    with pytest.raises(UserError) as raised:
        params.load(path)
    assert raised.value.exit_code == 64


def test_a_stage_gets_the_keys_that_it_was_given_and_no_others():
    whole = json.loads(params.load(COMMITTED).model_dump_json())
    given = params.given(json.dumps({"seed": whole["seed"], "split": whole["split"]}))
    assert given.section(params.Split) == params.load(COMMITTED).split
    assert given.seed == whole["seed"]
    with pytest.raises(UserError, match="missing key meta_tasks"):
        given.section(params.MetaTasks)


def test_without_given_keys_the_file_is_read():
    given = params.given(None, COMMITTED)
    assert given.section(params.MetaTasks) == params.load(COMMITTED).meta_tasks
    assert given.distractors == params.load(COMMITTED).distractors


def test_a_section_within_a_section_is_given_alone_or_with_the_whole():
    committed = params.load(COMMITTED).sweeps.caps
    for text in (json.dumps({"sweeps.caps": committed.model_dump()}), json.dumps({"sweeps": {"caps": committed.model_dump()}})):
        assert params.given(text).section(params.Caps, "sweeps.caps") == committed
    with pytest.raises(UserError, match=r"missing key sweeps\.caps"):
        params.given("{}").section(params.Caps, "sweeps.caps")


def test_sweeps_know_the_methods(tmp_path):
    with pytest.raises(UserError, match="unknown methods maml"):
        load(tmp_path, ("methods: [random,", "methods: [maml, random,"))


@pytest.mark.parametrize("sweep", ["sensitivity", "search"])
def test_a_space_has_points_enough_for_two_in_each_half(tmp_path, sweep):
    load(tmp_path, (f"{sweep}: {{points: 8,", f"{sweep}: {{points: 4,"))
    for few in (1, 3):
        with pytest.raises(UserError, match="greater than or equal to 4") as raised:
            load(tmp_path, (f"{sweep}: {{points: 8,", f"{sweep}: {{points: {few},"))
        assert raised.value.where.endswith(f"key sweeps.{sweep}.points") and raised.value.exit_code == 64


COMMIT = "4d14e384a4b037942bb3f3016665157c8bcb70ea"


@pytest.mark.parametrize("old", ["  source: embedded ", "sources: [tiny]"])
@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/1", COMMIT[:7], COMMIT.upper(), f"{COMMIT}0"])
def test_a_backbone_of_the_hub_is_pinned_by_its_commit(tmp_path, monkeypatch, old, revision):
    monkeypatch.chdir(tmp_path)

    def named(revision):
        return old, old.replace("embedded", f"some/model@{revision}").replace("tiny", f"some/model@{revision}")

    load(tmp_path, named(COMMIT))
    with pytest.raises(UserError, match="40 hexadecimal digits") as raised:
        load(tmp_path, named(revision))
    assert (raised.value.code, raised.value.exit_code) == ("E-PARAMS", 64)
    assert raised.value.fix.endswith(f": git ls-remote https://huggingface.co/some/model {revision}")
    assert "params.yaml:" in raised.value.where
    (tmp_path / "some" / f"model@{revision}").mkdir(parents=True)
    load(tmp_path, named(revision))  # a folder may have any name


EXACT = {"hypergradient": "exact", "product": "finite_difference"}
REPTILE = {"hypergradient": "reptile"}
UNFIT = [
    ({"held_out": ["app", "app"]}, "held_out", "app", "name each domain once"),
    ({"split": {"validation": 0.5, "test": 0.5}}, "split", "", "lower one"),
    ({"meta_tasks": {"query_tasks": 9}}, "meta_tasks", "", "lower query_tasks"),
    ({"backbone": {"source": "some/model@main"}}, "backbone.source", "some/model@main", "git ls-remote"),
    ({"backbone": {"dtype": "auto"}, "mta": EXACT}, "mta", "", "set backbone.dtype to float32 (not auto)"),
    ({"mta": REPTILE | {"support_share": 0.0, "learn_inner_lr": True}}, "mta", "", "set learn_inner_lr to false"),
    ({"mta": REPTILE | {"support_share": 0.5}}, "mta", "", "set support_share to 0.0"),
    ({"mta": {"learn_inner_lr": True, "inner_lr": 0.0}}, "mta", "", "set inner_lr above 0"),
    ({"probes": {"steps": [1, 2]}}, "probes", "", "begin with 0"),
    ({"sweeps": {"table2": {"methods": ["maml"]}}}, "sweeps.table2.methods", "maml", "name some of random"),
    ({"sweeps": {"scale": {"layers": [], "sources": []}}}, "sweeps.scale", "", "name a number of layers or a source"),
]
"""Changes that each make one validator of `params` refuse: the key that is named, what is shown of it, how to mend it."""


@pytest.mark.parametrize(("changes", "key", "got", "fix"), UNFIT)
def test_values_that_do_not_go_together_are_told_without_their_section_and_with_a_fix(changes, key, got, fix):
    with pytest.raises(UserError) as raised:
        params.check(updated(params.load(COMMITTED).model_dump(), changes))
    error = raised.value
    assert error.what.startswith(f"{key}: ") and "value error" not in error.what.lower()
    assert error.where == f"key {key}"
    assert got in error.got if got else not error.got
    assert fix in error.fix
    assert not error.more


def test_no_validator_is_missing_above():
    sources = [path.read_text(encoding="utf-8") for path in Path(params.__file__).parent.glob("*.py")]
    assert sum(len(re.findall(r"raise (?:sections\.)?UnfitError\(", text)) for text in sources) == len(UNFIT)
    assert not any("raise ValueError" in text for text in sources)


def updated(content, changes):
    """Return nested mappings with some values changed."""
    nested = {key: updated(content[key], value) if isinstance(value, dict) else value for key, value in changes.items()}
    return content | nested


@pytest.fixture
def authored(tmp_path, monkeypatch):
    """Gives the committed params with other values in a folder that has authored files of the domains iot and office."""
    monkeypatch.chdir(tmp_path)
    for name in ("tools/iot.yaml", "tools/office.yaml", "tools/.app.yaml", "questions/iot.yaml", "chains/.keep", "split.csv"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()

    def given(**changes):
        committed = params.load(COMMITTED).model_dump()
        for section in ("ingest", "chains"):
            committed[section] |= changes.pop(section, {})
        return params.check(committed | {"held_out": ["office", "iot"]} | changes)

    return given


def test_folders_of_authored_files_are_there(authored):
    params.require_folders(authored())
    with pytest.raises(UserError, match="E-MISSING") as raised:
        params.require_folders(authored(ingest={"tools": "data/tolls"}, chains={"folder": "nosuch/chains"}))
    error = raised.value
    assert (error.exit_code, error.where, error.got) == (64, "params.yaml, key ingest.tools", '"data/tolls"')
    assert error.fix == "did you mean data/tools?"
    assert error.more.startswith("1 further") and "chains.folder" in error.more


@pytest.mark.parametrize(
    ("folder", "code", "what"),
    [
        ("data/tools/iot.yaml", "E-MISSING", "Not a directory"),
        ("x" * 300, "E-MISSING", "too long"),
        ("data/chains", "E-EMPTY", "no file"),
        ("data/{x}/questions", "E-PATH", "no braces"),
        ("", "E-PATH", "below this one"),
    ],
)
def test_what_is_no_folder_of_authored_files_is_one_error(authored, folder, code, what):
    with pytest.raises(UserError, match=code) as raised:
        params.require_folders(authored(ingest={"questions": folder}))
    assert what in raised.value.what and raised.value.where.endswith("key ingest.questions")


def test_a_list_of_parts_that_is_named_is_there(authored):
    split = params.load(COMMITTED).split.model_dump()
    params.require_folders(authored(split=split | {"tools_list": ""}))
    with pytest.raises(UserError, match=r"E-MISSING.* the list of parts is not there") as raised:
        params.require_folders(authored(split=split | {"tools_list": "my/split.csv"}))
    assert raised.value.exit_code == 64 and "mta split-list --out my/split.csv" in raised.value.fix


def test_a_missing_params_yaml_says_where_to_run_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="E-MISSING") as raised:
        params.load(Path("params.yaml"))
    assert raised.value.exit_code == 64 and "in the repository's folder" in raised.value.fix and "create" not in raised.value.fix


def test_domains_that_are_held_out_have_tools(authored):
    params.require_domains(authored())
    with pytest.raises(UserError, match="E-PARAMS") as raised:
        params.require_domains(authored(held_out=["iot", "ofice", "app"]))
    error = raised.value
    assert (error.exit_code, error.where, error.got) == (64, "params.yaml, key held_out", '"ofice"')
    assert "iot, office" in error.fix and "app" not in error.fix
    assert '"app"' in error.more


def test_folds_of_a_table_have_tools_and_are_named_by_the_table_s_key(authored):
    params.require_domains(authored(held_out=["nosuch"]), ["sd", "hd-iot"])  # held_out says which folds hd has
    with pytest.raises(UserError, match="E-PARAMS") as raised:
        params.require_domains(authored(), ["hd", "hd-nosuch"])
    assert (raised.value.where, raised.value.got) == ("params.yaml, key sweeps.table2.splits", '"nosuch"')


@pytest.mark.parametrize("tools", ["nosuch", "data/chains", "data/tools/iot.yaml"])
def test_without_tools_to_read_no_domain_is_unknown_yet(authored, tools):
    params.require_domains(authored(ingest={"tools": tools}, held_out=["ofice"]))


def test_sections_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        params.load(COMMITTED).split.test = 0.5


@pytest.mark.parametrize("steps", [[0], [1, 2], [0, 2, 1], [0, 1, 1], [0, -1]])
def test_the_steps_of_the_adaptation_probe_rise_from_zero(steps):
    content = params.load(COMMITTED).model_dump()
    content["probes"]["steps"] = steps
    with pytest.raises(UserError, match=r"probes\.steps|probes: "):
        params.check(content)
