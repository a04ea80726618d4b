"""Two stages: reasoning, then a line with the answer."""

import polars as pl
import pytest

from metatoolagent.evaluation import scoring
from metatoolagent.evaluation.language import Language
from metatoolagent.evaluation.methods import cot, react, reasoning
from metatoolagent.evaluation.methods.reasoning import after, ending, reason, reasoned, turn
from metatoolagent.evaluation.predicting import outcome

CANDIDATES = ["atlas", "pulse"]
CATALOG = {*CANDIDATES, "timer_begin"}


@pytest.mark.parametrize(
    ("text", "cut", "expected"),
    [
        ("atlas", False, "right"),
        ("pulse", False, "wrong"),
        ("timer_begin", False, "other_tool"),
        ("a map", False, "none"),
        ("", False, "none"),
        ("Atlas", False, "none"),
        ("atlas and then", True, "cut"),
        ("atlas", True, "cut"),
        # Later lines are no part of the answer, and an answer whose line ended was not cut.
        ("atlas\nAction Input: {}", True, "right"),
        ("pulse \nObservation: done", False, "wrong"),
        ("timer_begin\nTool: atlas", True, "other_tool"),
        ("I do not know\natlas", True, "none"),
    ],
)
def test_every_outcome_of_an_answer_s_line(text, cut, expected):
    found = scoring.prediction(CANDIDATES, [-1.0, -2.0], (text, cut))
    assert outcome("atlas", found, CATALOG) == expected
    assert found.free == (found.free_text if expected in {"right", "wrong"} else None)
    assert "\n" not in found.free_text


@pytest.mark.parametrize(
    ("style", "said", "expected"),
    [
        (cot.STYLE, "They need a map.", "They need a map.\nTool:"),
        (cot.STYLE, "They need a map.\nTool: atlas", "They need a map.\nTool:"),
        (cot.STYLE, "A map.\n\n  Tool: atlas\nTool: pulse", "A map.\nTool:"),
        (cot.STYLE, "The Tool: atlas", "The Tool: atlas\nTool:"),  # not a line of its own
        (cot.STYLE, "Tool: atlas", "Tool:"),
        (cot.STYLE, "", "Tool:"),
        (react.STYLE, "a map is needed", "Thought: a map is needed\nAction:"),
        (react.STYLE, "a map\nAction: atlas\nObservation: x", "Thought: a map\nAction:"),
        (react.STYLE, "Action: atlas", "Thought:\nAction:"),
        (react.STYLE, "", "Thought:\nAction:"),
    ],
)
def test_the_turn_up_to_the_answer(style, said, expected):
    assert turn(style, said) == expected


@pytest.mark.parametrize(
    ("said", "cut", "expected"),
    [
        ("They need a map.\nTool: atlas", False, "line"),
        ("They need a map.\nTool: atlas\nThen again", True, "line"),  # the answer was there before the budget was spent
        ("They need a map.", False, "turn"),
        ("The Tool: atlas", False, "turn"),
        ("They need a", True, "cut"),
        ("", False, "turn"),
    ],
)
def test_what_ended_a_reasoning(said, cut, expected):
    assert ending(cot.STYLE, said, cut=cut) == expected


@pytest.fixture
def language(adapted, weights, renderer, monkeypatch):
    """A tiny model that says many things, which is also what every job loads."""
    made = Language(adapted, weights, renderer, 2)
    monkeypatch.setattr(reasoning, "load", lambda job: made)
    return made


@pytest.fixture
def rows(catalog):
    """Eight tasks over one candidate set."""
    candidates = ["pulse", "oven_preheat", "atlas"]
    questions = pl.read_parquet(catalog / "questions.parquet").filter(pl.col("tool").is_in(candidates)).sort("question_id")
    return [
        {
            "question_id": row["question_id"],
            "candidates": candidates,
            "gold": row["tool"],
            "position": candidates.index(row["tool"]),
        }
        for row in questions.gather_every(4).head(8).to_dicts()
    ]


@pytest.mark.parametrize("style", [cot.STYLE, react.STYLE])
def test_many_reason_as_one_by_one(style, language, rows):
    together = reason(language, style, [rows[:5], rows[5:]], 12)
    assert [len(of_set) for of_set in together] == [5, 3]
    found = [said for of_set in together for said in of_set]
    assert found == [reason(language, style, [[row]], 12)[0][0] for row in rows]
    assert len(set(found)) > 1


def test_the_budget_is_a_limit_of_tokens(language, rows):
    short, long = (reason(language, cot.STYLE, [rows], budget)[0] for budget in (3, 12))
    for (one, cut), (other, _) in zip(short, long, strict=True):
        assert other.startswith(one) and cut == (one != other)
        assert len(one.encode()) <= 12  # a token of the tiny model is a byte; an impossible one is shown as three


@pytest.mark.parametrize("style", [cot.STYLE, react.STYLE])
def test_what_the_model_sees(style, language, rows):
    row = rows[0]
    decode = language.renderer.template.tokenizer.decode
    packed = after(language.renderer, style, [row], [turn(style, "so it is")], generated=4, branch=True)
    text = decode(packed.input_ids_T[packed.node_T <= 1])
    assert text.startswith(f"<|im_start|>system\n{style.instruction}- ")
    assert text.endswith(
        f"<|im_start|>assistant\n{style.opening} so it is\n{style.marker}".replace("assistant\n ", "assistant\n")
    )
    answers = [decode(packed.target_A[packed.branch_A == index]) for index in range(len(row["candidates"]))]
    assert answers == [f" {name}<|im_end|>" for name in row["candidates"]]
    bare = after(language.renderer, style, [row], [style.opening], generated=4, branch=False)
    assert decode(bare.input_ids_T).endswith(f"<|im_start|>assistant\n{style.opening}")
    # As a step of a chain has it, whose question does not stand in the catalog.
    step = row | {"question_id": "chain-1", "question": "Draw a map. Already called: pulse."}
    packed = after(language.renderer, style, [step], [style.opening], generated=4, branch=False)
    assert "<|im_start|>user\nDraw a map. Already called: pulse.<|im_end|>" in decode(packed.input_ids_T)


@pytest.mark.parametrize("style", [cot.STYLE, react.STYLE])
def test_the_score_is_the_names_log_probability_after_the_reasoning(style, job, language, rows):
    template = language.renderer.template
    for row, found in zip(rows, reasoned(job, style)([rows])[0], strict=True):
        packed = after(language.renderer, style, [row], [turn(style, found.reasoning)], generated=4, branch=True)
        asked = [scoring.Asked(packed, row["candidates"])]
        ((expected,),) = scoring.select(language.model, language.weights, template, template.turn_ends, asked, 1)
        assert found.log_probabilities == pytest.approx(expected.log_probabilities, abs=1e-4)
        assert found.scored == row["candidates"][found.log_probabilities.index(max(found.log_probabilities))]


def test_a_model_that_names_a_tool_by_itself_is_taken_at_its_word(job, language, rows, monkeypatch):
    said = [f"A reason.\nTool: {row['gold']}" for row in rows]
    answers = [(f"{row['gold']}\nmore", True) for row in rows]
    monkeypatch.setattr(reasoning, "reason", lambda *_: [[(text, True) for text in said]])
    monkeypatch.setattr(scoring, "generate", lambda *_: answers)
    (found,) = reasoned(job, cot.STYLE)([rows])
    assert [one.free for one in found] == [row["gold"] for row in rows]
    assert [one.reasoning for one in found] == said
    assert {one.reasoning_end for one in found} == {"line"}
