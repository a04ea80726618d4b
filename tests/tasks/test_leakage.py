import random

import polars as pl
import pytest

from metatoolagent.catalog import schemas
from metatoolagent.errors import UserError
from metatoolagent.tasks import leakage
from metatoolagent.tasks.splits import split

WORDS = "".join(chr(97 + i) for i in range(26))


def sentence(generator, words=10):
    return " ".join("".join(generator.choices(WORDS, k=generator.randint(2, 8))) for _ in range(words)).capitalize() + "."


def tools(*more):
    rows = [("train_tool", "Reads the mail.", "train"), ("test_tool", "Boils an egg.", "test"), *more]
    return pl.DataFrame(
        [(name, "d", text, part) for name, text, part in rows], schema=["name", "domain", "description", "part"], orient="row"
    )


def questions(*rows):
    return pl.DataFrame(
        [(f"q{number}", f"{part}_tool", text, part) for number, (text, part) in enumerate(rows)],
        schema=["question_id", "tool", "question", "part"],
        orient="row",
    )


def leaks(tools, asked):
    return leakage.leaks(tools, lambda: asked.iter_slices(3), 0.8)


EDITS = {
    "exact": lambda text: text,
    "case": str.upper,
    "spaces": lambda text: "  ".join(text.split(" ")),
    "punctuation": lambda text: text.replace(" ", ", ") + "!",
    "compatibility forms": lambda text: text.replace("a", "ａ"),
    "a letter": lambda text: text[:30] + "x" + text[31:],
    "a word more": lambda text: text + " Ok",
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize(("one", "other"), [("train", "test"), ("train", "validation"), ("test", "validation")])
def test_every_planted_twin_is_found(edit, one, other):
    generator = random.Random(0)
    texts = [sentence(generator) for _ in range(100)]
    rows = [(text, one) for text in texts] + [(EDITS[edit](text), other) for text in texts]
    found = leaks(tools(), questions(*rows))
    pairs = {finding.where for finding in found if finding.code == "E-SPLIT-LEAK"}
    assert pairs == {f"q{number} and q{number + 100}" for number in range(100)}


def test_the_kind_of_likeness_is_told():
    rows = [
        ("Book a table for two.", "train"),
        ("Book a table for two.", "test"),
        ("book a TABLE for two", "test"),
        ("Book a table for twos", "test"),
    ]
    assert [finding.what.split(" of training ")[1] for finding in leaks(tools(), questions(*rows))] == [
        "is also one of test",
        "is in other writing one of test",
        "is nearly one of test",
    ]


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_twins_within_a_part_are_no_leak(part):
    rest = [(f"Other words {name}.", name) for name in ("train", "validation", "test")]
    assert leaks(tools(), questions(("Same text.", part), ("Same text.", part), *rest)) == []


def test_the_small_catalog_gives_no_alarm(catalog, committed, tmp_path):
    split(catalog, "cd", committed.split, 0, tmp_path)
    parts = schemas.read(tmp_path / "tools.parquet", schemas.TOOL_PARTS)
    documented = parts.join(pl.read_parquet(catalog / "tools.parquet"), on=["name", "domain"])
    assert leaks(documented, pl.read_parquet(tmp_path / "questions.parquet")) == []


def test_random_sentences_give_no_alarm():
    generator = random.Random(1)
    rows = [(sentence(generator, 6), part) for part in ("train", "test") for _ in range(300)]
    assert leaks(tools(), questions(*rows)) == []


@pytest.mark.parametrize(("one", "other"), [("train", "validation"), ("train", "test"), ("test", "validation")])
def test_tools_with_one_documentation_are_found(one, other):
    twins = tools(
        ("mail_reader", "Reads all the mail of a person.", one),
        ("mail_readers", "Reads all the mail of a person!", other),
    )
    (finding,) = leaks(twins, questions())
    assert (finding.code, finding.where) == ("E-UNSEEN-SEEN", "mail_reader and mail_readers")


def test_one_description_under_two_names_is_found():
    twins = tools(
        ("lamp_activation_controller", "Switch a light on or off in a room.", "train"),
        ("toggle_bulb", "Switch a light on or off, in a room", "test"),
        ("toggle_bell", "Rings.", "test"),
    )
    (finding,) = leaks(twins, questions())
    assert (finding.code, finding.where) == ("E-UNSEEN-SEEN", "lamp_activation_controller and toggle_bulb")


def test_a_tool_in_two_parts_is_found():
    (finding, *_) = leaks(tools(("train_tool", "Other words entirely.", "test")), questions())
    assert (finding.code, finding.where, finding.got) == ("E-SPLIT-LEAK", "tool train_tool", "test, train")


def test_a_training_question_of_an_unseen_tool_is_found():
    asked = questions(("Boil it.", "train")).with_columns(tool=pl.lit("test_tool"))
    (finding,) = leaks(tools(), asked)
    assert (finding.code, finding.where) == ("E-UNSEEN-SEEN", "question q0")


def test_all_leaks_are_one_error():
    rows = [(text, part) for part in ("train", "test") for text in ("One question.", "Two of them.", "Three in all.")]
    with pytest.raises(UserError) as raised:
        leakage.check(tools(), lambda: questions(*rows).iter_slices(4), 0.8)
    assert raised.value.code == "E-SPLIT-LEAK"
    assert raised.value.more.startswith("2 further")
    assert "q1 and q4" in raised.value.more
