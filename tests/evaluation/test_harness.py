import json
import socket
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml

from metatoolagent import artifacts, params
from metatoolagent.cli.exports import export_lm_eval
from metatoolagent.errors import UserError
from metatoolagent.evaluation.harness import Source, differs, document, export
from metatoolagent.evaluation.predicting import FILE, evaluate
from metatoolagent.tasks.rendering import Renderer

LIMIT = 24
"""Tokens of a free answer."""


@pytest.fixture
def row(materialized):
    return pl.read_parquet(materialized / "tasks/eval_tasks.parquet").row(0, named=True)


@pytest.fixture
def out(materialized, catalog, tiny, tmp_path):
    differing = export({"cd": Source(materialized / "tasks/eval_tasks.parquet", catalog)}, tiny, LIMIT, tmp_path / "harness")
    assert differing == {"cd-test-all": 0, "cd-test-unseen": 0}
    return tmp_path / "harness"


def test_a_task_is_its_lines_as_text_and_each_answer_ends_the_line(renderer, row):
    task = document(renderer, row)
    names = list(row["candidates"])
    assert task["answers"] == [f" {name}\n" for name in names]
    listed = "".join(f"{renderer.entries[name]}\n" for name in names)
    assert task["prompt"] == f"{listed}{renderer.questions[row['question_id']]} ->"
    assert task["candidates"][task["position"]] == task["gold"]


def test_the_text_is_the_same_for_every_tokenizer(catalog, metaspace, renderer, row):
    other = Renderer(catalog, metaspace, context=10**6)
    task = document(other, row)
    assert task == document(renderer, row)
    assert not differs(other, task)


def test_a_question_that_spells_a_special_token_is_counted(renderer, row):
    assert not differs(renderer, document(renderer, row))
    forged = renderer.opened([])
    forged.questions = renderer.questions | {row["question_id"]: "Bye.<|im_end|>"}
    assert differs(forged, document(forged, row))


def test_the_export_is_an_artifact_with_two_tasks_a_table(out, materialized):
    tasks = pl.read_parquet(materialized / "tasks/eval_tasks.parquet")
    for pool in ("all", "unseen"):
        table = pl.read_parquet(artifacts.verify(out / f"cd-test-{pool}.parquet"))
        assert table["task_id"].to_list() == tasks.filter(pool=pool)["task_id"].sort().to_list()
        scored = yaml.safe_load(artifacts.verify(out / f"cd-test-{pool}.yaml").read_text(encoding="utf-8"))
        free = yaml.safe_load(artifacts.verify(out / f"cd-test-{pool}-free.yaml").read_text(encoding="utf-8"))
        assert scored["task"] == f"metatoolagent_cd_test_{pool}"
        assert free["task"] == f"metatoolagent_cd_test_{pool}_free"
        assert free["generation_kwargs"] == {"until": ["\n"], "max_gen_toks": LIMIT, "do_sample": False}
    assert f"| metatoolagent_cd_test_all | {len(tasks) // 2} | 0 |" in (out / "README.md").read_text(encoding="utf-8")


def test_a_free_answer_has_room_for_the_longest_name(materialized, catalog, renderer, tiny, tmp_path):
    out = tmp_path / "out"
    export({"cd": Source(materialized / "tasks/eval_tasks.parquet", catalog)}, tiny, 2, out)
    names = {name for path in out.glob("*.parquet") for names in pl.read_parquet(path)["candidates"] for name in names}
    longest = max(len(renderer.answers[name]) for name in names)
    for path in out.glob("*-free.yaml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["generation_kwargs"]["max_gen_toks"] == longest > 2
    assert f"{longest} tokens" in (out / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def variant(materialized, tmp_path, monkeypatch):
    """Publishes the tasks of a variant, with columns added, in a folder that becomes the current one."""
    monkeypatch.chdir(tmp_path)

    def publish(name, **columns):
        path = Path("results") / name / "tasks/eval_tasks.parquet"
        with artifacts.publishing(path.parent, [path.name], producer="test") as paths:
            pl.read_parquet(materialized / "tasks/eval_tasks.parquet").with_columns(**columns).write_parquet(paths[path.name])
        return path

    return publish


def described(catalog, out, description):
    """A catalog whose tools all have one description."""
    with artifacts.publishing(out, ["tools.parquet", "questions.parquet"], producer="test") as paths:
        tools = pl.read_parquet(catalog / "tools.parquet").with_columns(description=pl.lit(description))
        tools.write_parquet(paths["tools.parquet"])
        pl.read_parquet(catalog / "questions.parquet").write_parquet(paths["questions.parquet"])
    return out


GIVEN = json.dumps({"evaluate": {"max_new_tokens": LIMIT}})


def test_the_tasks_of_a_variant_are_exported_with_the_catalog_that_they_are_drawn_from(variant, catalog, tiny):
    tables = {"main": "data/interim", "toolalpaca-cd": "data/interim/toolalpaca", "overlap-60": "results/overlap-60/catalog"}
    for folder in tables.values():
        described(catalog, Path(folder), f"As {folder} has it.")
    export_lm_eval(Path("out"), [f"{name}={variant(name)}" for name in tables], model=tiny, parameters=GIVEN)
    for name, folder in tables.items():
        prompts = pl.read_parquet(f"out/{name}-test-all.parquet")["prompt"].to_list()
        assert all(f"As {folder} has it." in prompt for prompt in prompts)
        assert f"{folder}/tools.parquet" in artifacts.read_manifest(Path("out"))["inputs"]
    export_lm_eval(Path("out"), [f"cd={variant('main')}"], Path("data/interim/toolalpaca"), tiny, GIVEN)
    assert "As data/interim/toolalpaca has it." in pl.read_parquet("out/cd-test-all.parquet")["prompt"][0]


def test_tasks_of_another_catalog_are_told_with_the_one_that_was_read(variant, catalog, tiny):
    described(catalog, Path("data/interim"), "Ours.")
    tasks = variant("main", candidates=pl.col("candidates").list.concat(pl.lit("elsewhere")))
    with pytest.raises(UserError, match="E-STALE") as raised:
        export_lm_eval(Path("out"), [f"cd={tasks}"], model=tiny, parameters=GIVEN)
    assert (raised.value.where, raised.value.got) == ("data/interim", '"elsewhere"')
    assert "name the catalog that they were made from" in raised.value.fix


def test_tasks_with_injected_instructions_are_refused_for_what_they_are(variant, catalog, tiny):
    described(catalog, Path("data/interim"), "Ours.")
    attack = {name: pl.lit(None, pl.String) for name in ("attack", "instruction")}
    tasks = variant("probe-injection", attacked=pl.col("candidates").list.first(), **attack)
    with pytest.raises(UserError, match=r"E-SCHEMA.*injected instructions are not exported") as raised:
        export_lm_eval(Path("out"), [f"cd={tasks}"], model=tiny, parameters=GIVEN)
    assert (raised.value.where, raised.value.exit_code) == (str(tasks), 66) and not Path("out").exists()


@pytest.mark.parametrize(("name", "said"), [("nosuch", "No such file or directory"), (".", "no tokenizer can be read there")])
def test_a_folder_without_a_tokenizer_is_told_and_the_hub_is_never_asked(
    name, said, materialized, catalog, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **_: asked.append(arguments) or [])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="E-BACKBONE") as raised:
        export({"cd": Source(materialized / "tasks/eval_tasks.parquet", catalog)}, Path(name), LIMIT, tmp_path / "out")
    assert said in raised.value.what and raised.value.exit_code == 66
    assert asked == [] and not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore")
def test_the_harness_chooses_what_we_choose(out, job, tiny, tmp_path, monkeypatch):
    lm_eval = pytest.importorskip("lm_eval", reason="the peer; pip install -e '.[peers]'")
    import datasets
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    evaluation = params.Evaluate(max_new_tokens=LIMIT)
    evaluate(replace(job, evaluate=evaluation, out=tmp_path / "ours"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(out)
    ours = {row["task_id"]: row for row in pl.read_parquet(tmp_path / "ours" / FILE).iter_rows(named=True)}
    found = lm_eval.simple_evaluate(
        model=HFLM(pretrained=str(tiny), dtype="float32", device="cpu", batch_size=3),
        tasks=["metatoolagent", "metatoolagent_free"],
        task_manager=TaskManager(include_path=str(out), include_defaults=False),
        log_samples=True,
    )
    for pool in ("all", "unseen"):
        task = f"metatoolagent_cd_test_{pool}"
        samples = found["samples"][task]
        assert len(samples) == 12
        for sample in samples:
            our = ours[sample["doc"]["task_id"]]
            theirs = [score for (score, _), *_ in sample["resps"]]
            assert our["candidates"][max(range(len(theirs)), key=theirs.__getitem__)] == our["scored"]
            assert theirs == pytest.approx(our["log_probabilities"], abs=1e-3)
        rows = [our for our in ours.values() if our["pool"] == pool]
        assert found["results"][task]["acc,none"] == sum(row["scored"] == row["gold"] for row in rows) / len(rows)
        for sample in found["samples"][f"{task}_free"]:
            assert sample["filtered_resps"] == [ours[sample["doc"]["task_id"]]["free_text"]]
        right = sum(row["free_text"] == row["gold"] for row in rows) / len(rows)
        assert found["results"][f"{task}_free"]["exact_match,stripped"] == right
