import polars as pl
import pytest

from metatoolagent import artifacts
from metatoolagent.artifacts import verify
from metatoolagent.catalog import schemas
from metatoolagent.errors import UserError
from metatoolagent.tasks.overlap import EVERYBODY, OTHERS, materialize, share_words, with_siblings

TEXTS = {"one": "Ring the bell. It is loud!", "two": "Close a door", "three": " ".join(f"w{n}" for n in range(10))}


@pytest.mark.parametrize(("share", "numbers"), [(0.0, (0, 0, 0)), (0.5, (6, 3, 10)), (0.9, (54, 27, 90)), (0.25, (2, 1, 3))])
def test_own_words_stay_in_order_and_shared_ones_are_the_share(share, numbers):
    """By hand: k = round(n p / (1 - p)) for n of 6, 3 and 10."""
    mixed = share_words(TEXTS, share, seed=0)
    for (name, text), number in zip(TEXTS.items(), numbers, strict=True):
        words = mixed[name].split()
        assert len(words) == len(text.split()) + number
        left = iter(words)
        assert all(word in left for word in text.split()), "own words are not a subsequence"


def test_the_shared_words_are_one_sequence_for_all_tools():
    texts = {"one": "AAA BBB CCC", "two": "DDD EEE FFF"}
    mixed = share_words(texts, 0.5, seed=0)
    shared = {name: [word for word in mixed[name].split() if word not in text.split()] for name, text in texts.items()}
    assert shared["one"] == shared["two"] and len(shared["one"]) == 3
    assert set(shared["one"]) <= {"aaa", "bbb", "ccc", "ddd", "eee", "fff"}
    assert share_words(texts, 0.5, seed=0) == mixed
    assert len({share_words(texts, 0.5, seed)["one"] for seed in range(10)}) > 1


@pytest.fixture(scope="module")
def asked(catalog):
    """Four tasks on two tools, the first two with one candidate set."""
    questions = pl.read_parquet(catalog / "questions.parquet")
    tasks = []
    for number, (gold, candidates) in enumerate(
        [("pulse", ["atlas", "pulse", "bag_trace"])] * 2
        + [("atlas", ["atlas", "pulse", "visa_rules"]), ("pulse", ["pulse", "atlas", "coin_change"])]
    ):
        question = questions.filter(pl.col("tool") == gold)["question_id"][number]
        row = {"task_id": f"all-{number:06}", "pool": "all", "part": "test", "question_id": question}
        tasks.append({**row, "candidates": candidates, "gold": gold, "position": candidates.index(gold)})
    return pl.DataFrame(tasks, schema_overrides={"position": pl.Int16})


@pytest.mark.parametrize("kind", ["30", "siblings"])
def test_tasks_of_another_catalog_are_refused(kind, catalog, asked, tmp_path):
    with artifacts.publishing(tmp_path / "tasks", ["eval_tasks.parquet"], producer="materialize_evaluation") as paths:
        schemas.write(asked.with_columns(gold=pl.lit("renamed")), schemas.EVAL_TASKS, paths["eval_tasks.parquet"])
    with pytest.raises(UserError, match="E-STALE") as raised:
        materialize(kind, catalog, tmp_path / "tasks/eval_tasks.parquet", 0, tmp_path / "out")
    assert raised.value.got == '"renamed"' and not (tmp_path / "out").exists()


def test_siblings_differ_from_the_gold_tool_in_one_sentence(catalog, asked):
    tools, questions = pl.read_parquet(catalog / "tools.parquet"), pl.read_parquet(catalog / "questions.parquet")
    made, kept, tasks = with_siblings(tools, questions, asked, seed=0)
    assert len(made) == 2 * 3 and made["name"].n_unique() == 6
    documents = dict(made.select("name", "description").iter_rows())
    start = "Report delays at an airport or a railway station right now. It is open to "
    first = tasks.row(0, named=True)
    for name in first["candidates"]:
        assert name.startswith("pulse_") and len(name) == len("pulse_") + 2
        who = documents[name].removeprefix(start).removesuffix(".")
        assert who == EVERYBODY if name == first["gold"] else who in OTHERS
    assert first["candidates"][first["position"]] == first["gold"]
    assert tasks["candidates"][0].to_list() == tasks["candidates"][1].to_list()
    assert tasks["question_id"].to_list() == asked["question_id"].to_list()
    assert set(kept["tool"]) == set(tasks["gold"])
    schemas.checked(made, schemas.TOOLS, "siblings")
    schemas.checked(kept, schemas.QUESTIONS, "siblings")


def test_there_are_so_many_siblings_and_no_more(catalog, asked):
    tools, questions = pl.read_parquet(catalog / "tools.parquet"), pl.read_parquet(catalog / "questions.parquet")
    wide = asked.with_columns(pl.lit([f"t{n}" for n in range(len(OTHERS) + 2)]).alias("candidates"))
    with pytest.raises(UserError, match="E-DISTRACTORS") as raised:
        with_siblings(tools, questions, wide, seed=0)
    # Whichever key has the number: this one is for evaluation alone, and no tool that is added gives another sibling.
    assert raised.value.fix == f"set eval_tasks.distractors: {len(OTHERS)} or less"


def test_a_variant_is_published_with_the_tasks_of_pool_all(catalog, materialized, tmp_path):
    main = pl.read_parquet(materialized / "tasks/eval_tasks.parquet").filter(pl.col("pool") == "all")
    for kind in ("0", "60", "siblings"):
        materialize(kind, catalog, materialized / "tasks/eval_tasks.parquet", 0, tmp_path / kind)
        tasks = pl.read_parquet(verify(tmp_path / kind / "tasks/eval_tasks.parquet"))
        assert tasks["question_id"].equals(main["question_id"])
        assert tasks.equals(main) == (kind != "siblings")
    before, same, mixed = (
        pl.read_parquet(verify(folder / "tools.parquet")) for folder in (catalog, tmp_path / "0/catalog", tmp_path / "60/catalog")
    )
    assert same.equals(before) and mixed.drop("description").equals(before.drop("description"))


@pytest.mark.parametrize("kind", ["91", "-1", "3.5", "twins", "²"])
def test_other_kinds_are_refused(kind, catalog, materialized, tmp_path):
    with pytest.raises(UserError, match="E-OVERLAP"):
        materialize(kind, catalog, materialized / "tasks/eval_tasks.parquet", 0, tmp_path)
