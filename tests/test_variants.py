import itertools
from pathlib import Path

import pytest

from metatoolagent import params, variants
from metatoolagent.errors import UserError
from metatoolagent.variants import Variant


@pytest.fixture(scope="module")
def config(committed: params.Params) -> dict:
    """Params with distractors 2, seed 0 and inner rate 0.001."""
    return committed.model_copy(update={"seed": 0}).model_dump()


@pytest.mark.parametrize(
    ("name", "split", "overrides"),
    [
        ("main", "cd", {}),
        ("sd", "sd", {"split": "sd"}),
        ("hd-office", "hd-office", {"split": "hd-office"}),
        ("sweep/x/distractors=10,seed=1", "cd", {"distractors": 10, "seed": 1}),
        ("sweep/x/mta.inner_lr=1e-05,mta.optimistic=false", "cd", {"mta.inner_lr": 1e-5, "mta.optimistic": False}),
        ("sweep/x/backbone.source=A%2FB%2Cc@r,split=sd", "sd", {"backbone.source": "A/B,c@r", "split": "sd"}),
    ],
)
def test_a_name_is_read_and_written_back(name, split, overrides):
    variant = Variant.parse(name)
    assert (variant.split, dict(variant.overrides), str(variant)) == (split, overrides, name)


@pytest.mark.parametrize(
    ("folder", "key", "named"),
    [
        ("results/main", "distractors", "distractors"),
        ("results/sd", "distractors", "distractors"),
        ("results/sweep/distractors/distractors=10", "distractors", "sweeps.distractors"),
        ("results/sweep/distractors/eval_tasks.distractors=10", "eval_tasks.distractors", "sweeps.distractors"),
        # What the sweep does not override is the main job's.
        ("results/sweep/distractors/eval_tasks.distractors=10", "distractors", "distractors"),
        ("results/sweep/table2/seed=1,split=sd", "distractors", "distractors"),
        ("/somewhere/results/sweep/queries/meta_tasks.tools=40", "meta_tasks.tools", "sweeps.queries.tools"),
        ("/tmp/out", "meta_tasks.tools", "meta_tasks.tools"),
    ],
)
def test_a_sweeps_folder_tells_which_key_of_params_yaml_a_value_is_from(folder, key, named):
    assert Variant.of(Path(folder)).named(key) == named


@pytest.mark.parametrize("text", ["123", "true", "1e5", "null", "NaN", "[1]", '"quoted"', "plain", "a,b=c/d", "1.2.3"])
def test_a_text_comes_back_from_a_name_as_that_text(text):
    variant = Variant("scale", {"backbone.source": text})
    assert Variant.parse(str(variant)) == variant


@pytest.mark.parametrize(
    "items", ["distractors", "distractors=", "=1", "seed=1,seed=2", "seed=1,,distractors=2", "seed=[1]", "seed=null", "split=xd"]
)
def test_a_name_that_cannot_be_read_is_refused_with_an_example(items):
    with pytest.raises(UserError) as raised:
        Variant.parse(f"sweep/x/{items}")
    assert (raised.value.code, raised.value.exit_code) == ("E-VARIANT", 64)
    assert raised.value.where == f"variant sweep/x/{items}"
    assert "distractors=10,seed=1" in raised.value.fix


@pytest.mark.parametrize(
    ("items", "code", "told"),
    [
        ("distractors=two", "E-PARAMS", "distractors: "),
        ("distractor=2", "E-PARAMS", "unknown key distractor"),
        ("mta.inner_rate=2", "E-PARAMS", "unknown key mta.inner_rate"),
        ("seed.x=2", "E-VARIANT", "seed is no section"),
        ("mta.hypergradient=reptile", "E-PARAMS", "reptile has no gradient that a share of the support loss"),
    ],
)
def test_overrides_are_checked_as_params_are_and_the_variant_is_named(config, items, code, told):
    with pytest.raises(UserError) as raised:
        Variant.parse(f"sweep/x/{items}").apply(config)
    assert (raised.value.code, raised.value.exit_code) == (code, 64)
    assert told in raised.value.what
    assert raised.value.where.startswith(f"variant sweep/x/{items}")


def test_overrides_change_these_keys_alone_and_leave_the_config_as_it_was(config):
    before = params.check(config)
    changed = Variant.parse("sweep/x/distractors=1,mta.inner_steps=3,split=sd").apply(config)
    assert (changed["distractors"], changed["mta"]["inner_steps"]) == (1, 3)
    changed["distractors"], changed["mta"]["inner_steps"] = config["distractors"], config["mta"]["inner_steps"]
    assert params.check(changed) == params.check(config) == before


def test_a_name_that_no_file_system_takes_is_refused():
    with pytest.raises(UserError, match="E-VARIANT") as raised:
        str(Variant("x", {"backbone.source": "a" * 300}))
    assert "at most 240" in raised.value.what


EVERYTHING = "sweep/x/adapter.rank=2,distractors=1,eval_tasks.count=8,eval_tasks.distractors=3,mta.inner_lr=0.5,seed=7,split=sd"


@pytest.mark.parametrize(
    ("which", "method", "name", "expected"),
    [
        ("training_tasks", None, EVERYTHING, "sweep/x/distractors=1,seed=7,split=sd"),
        ("adapter", "ft", EVERYTHING, "sweep/x/adapter.rank=2,distractors=1,seed=7,split=sd"),
        ("adapter", "mta", EVERYTHING, "sweep/x/adapter.rank=2,distractors=1,mta.inner_lr=0.5,seed=7,split=sd"),
        ("evaluation_tasks", None, EVERYTHING, "sweep/x/eval_tasks.count=8,eval_tasks.distractors=3,split=sd"),
        ("predictions", "base", EVERYTHING, "sweep/x/eval_tasks.count=8,eval_tasks.distractors=3,split=sd"),
        ("predictions", "ft", EVERYTHING, EVERYTHING.replace("mta.inner_lr=0.5,", "")),
        ("backbone", None, EVERYTHING, "main"),
        # What params.yaml says anyway is no override, and nothing left is the main run.
        ("predictions", "mta", "sweep/x/distractors=2,eval_tasks.distractors=2,mta.inner_lr=0.001,seed=0", "main"),
        ("predictions", "ft", "sweep/x/mta.inner_lr=0.5", "main"),
        ("predictions", "mta", "sweep/x/mta.inner_lr=0.001,split=sd", "sd"),
        # One number of distractors has one name, whichever key says it; the seed of training is none of the tasks' business.
        ("evaluation_tasks", None, "sweep/x/distractors=1,seed=7", "sweep/x/eval_tasks.distractors=1"),
        ("evaluation_tasks", None, "sweep/x/distractors=1,eval_tasks.distractors=2", "main"),
        ("predictions", "ft", "sweep/x/distractors=1,eval_tasks.distractors=1", "sweep/x/distractors=1"),
        ("predictions", "ft", "sweep/x/distractors=1,eval_tasks.distractors=2", "sweep/x/distractors=1,eval_tasks.distractors=2"),
        # A benchmark's tasks are its own, and asked of what was trained on split cd.
        ("training_tasks", None, "sweep/x/seed=7,split=toolalpaca-cd", "sweep/x/seed=7"),
        ("adapter", "ft", "sweep/x/seed=7,split=apibench-sd", "sweep/x/seed=7"),
        ("adapter", "ft", "sweep/x/split=apibench-sd", "main"),
        ("evaluation_tasks", None, EVERYTHING.replace("split=sd", "split=toolalpaca-cd"), "toolalpaca-cd"),
        ("predictions", "ft", "sweep/x/eval_tasks.count=8,seed=7,split=apibench-sd", "sweep/x/seed=7,split=apibench-sd"),
        ("predictions", "base", "sweep/x/eval_tasks.count=8,split=toolalpaca-sd", "toolalpaca-sd"),
        ("predictions", "base", "sweep/x/backbone.layers=1,split=toolalpaca-sd", "sweep/x/backbone.layers=1,split=toolalpaca-sd"),
        ("predictions", "mta", "sweep/x/seed=0,split=toolalpaca-sd", "toolalpaca-sd"),
        # Tasks of training tools depend on which tools those are.
        (
            "evaluation_tasks",
            None,
            "sweep/x/eval_tasks.part=train,meta_tasks.tools=4,seed=7",
            "sweep/x/eval_tasks.part=train,meta_tasks.tools=4,seed=7",
        ),
        ("backbone", None, "sweep/x/backbone.layers=2,seed=7", "sweep/x/backbone.layers=2"),
        ("predictions", "bm25", "sweep/x/backbone.layers=2,seed=7", "main"),
        ("predictions", "base", "sweep/x/backbone.layers=2,seed=7", "sweep/x/backbone.layers=2"),
    ],
)
def test_an_artifact_is_named_by_what_it_depends_on(config, which, method, name, expected):
    arguments = [Variant.parse(name), *([method] if method else []), config]
    assert str(getattr(variants, which)(*arguments)) == expected


@pytest.mark.parametrize("in_params", [0, 10])
@pytest.mark.parametrize("part", ["test", "train"])
def test_every_cell_of_sweep_distractors_has_the_numbers_that_were_asked_for(config, in_params, part):
    """Whatever params.yaml says: the folders of a cell's predictions, of its tasks and of its adapter."""
    config = config | {"distractors": 5, "eval_tasks": config["eval_tasks"] | {"distractors": in_params, "part": part}}
    numbers, folders = [2, 5, 10], {}
    for training, evaluation in itertools.product(numbers, numbers):
        asked = Variant("distractors", {"distractors": training, "eval_tasks.distractors": evaluation, "seed": 0})
        assert wrong_tools(variants.evaluation_tasks(asked, config), config) == evaluation
        for method in ("base", "ft", "mta"):
            name = str(variants.predictions(asked, method, config))
            folders.setdefault(method, set()).add(name)
            # The rules know no more of a run than the name of its folder.
            named = Variant.parse(name)
            assert wrong_tools(variants.evaluation_tasks(named, config), config) == evaluation
            if method != "base":
                assert variants.adapter(named, method, config).apply(config)["distractors"] == training
    assert {method: len(names) for method, names in folders.items() if method != "base"} == {"ft": 9, "mta": 9}
    assert len(folders["base"]) == (3 if part == "test" else 9)
    assert "main" in folders["mta"]


def wrong_tools(variant, config):
    """Return the number of distractors that rule materialize_evaluation reads for a variant."""
    changed = variant.apply(config)
    return changed["eval_tasks"]["distractors"] or changed["distractors"]


@pytest.mark.parametrize(
    ("overrides", "number", "name"),
    [
        ({"distractors": 2}, 10, "main"),
        ({"eval_tasks.distractors": 0}, 5, "sweep/x/eval_tasks.distractors=5"),
        ({"distractors": 2, "eval_tasks.distractors": 0}, 2, "sweep/x/eval_tasks.distractors=2"),
    ],
)
def test_training_stands_in_where_evaluation_has_no_number_of_its_own(config, overrides, number, name):
    config = config | {"distractors": 5, "eval_tasks": config["eval_tasks"] | {"distractors": 10}}
    tasks = variants.evaluation_tasks(Variant("x", overrides), config)
    assert (wrong_tools(tasks, config), str(tasks)) == (number, name)


def test_a_switch_is_not_a_number(config):
    assert dict(Variant("x", {"mta.inner_steps": True}).keep(config, ["mta"]).overrides) == {"mta.inner_steps": True}
