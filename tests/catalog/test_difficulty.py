import tracemalloc
from itertools import combinations

import numpy as np
import polars as pl
import pytest

from metatoolagent.catalog.difficulty import chance, difficulty


@pytest.mark.parametrize("distractors", [1, 3, 6])
@pytest.mark.parametrize("gold", [0.0, 1.0, 2.0])
def test_the_chance_is_the_mean_over_all_candidate_sets(gold, distractors):
    others = np.array([0.0, 0.0, 1.0, 1.0, 0.5, 2.0])
    outcomes = [
        0.0 if max(drawn) > gold else 1 / (1 + sum(score == gold for score in drawn))
        for drawn in combinations(others.tolist(), distractors)
    ]
    assert chance(gold, others, distractors) == pytest.approx(np.mean(outcomes))


def test_more_distractors_than_tools_are_all_tools():
    assert chance(1.0, np.array([0.0, 1.0]), 5) == pytest.approx(0.5)


def test_words_of_the_documentation_find_the_tool_and_other_answers_are_no_distractors():
    tools = pl.DataFrame(
        {
            "name": ["alpha", "beta", "gamma"],
            "domain": ["desk", "desk", "shop"],
            "description": ["Sharpens pencils.", "Folds paper.", "Sharpens knives."],
        }
    )
    questions = pl.DataFrame(
        {
            "question_id": ["1", "2", "3", "4"],
            "tool": ["alpha", "alpha", "alpha", "beta"],
            "also": [[], [], ["gamma"], []],
            "question": ["sharpening", "Please!", "sharpening", "ask beta"],
        }
    )
    found = difficulty(tools, questions, 2)
    assert found["bm25_cd"].to_list() == pytest.approx([1 / 2, 1 / 3, 1, 1])
    assert found["bm25_sd"].to_list() == pytest.approx([1, 1 / 2, 1, 1])
    assert found["names_cd"].to_list() == pytest.approx([1 / 3, 1 / 3, 1 / 2, 1])


def test_names_without_a_content_word_are_told_apart_by_chance():
    names = ["get_it", "do_it", "who_is"]
    tools = pl.DataFrame({"name": names, "domain": ["desk"] * 3, "description": ["Folds paper.", "Sharpens.", "Finds them."]})
    questions = pl.DataFrame({"question_id": ["1"], "tool": ["get_it"], "also": [[]], "question": ["fold"]})
    (found,) = difficulty(tools, questions, 2).to_dicts()
    assert found["names_cd"] == pytest.approx(1 / 3) and found["bm25_cd"] == 1


def test_the_scores_of_all_questions_are_never_in_memory_together():
    tools = pl.DataFrame({"name": [f"tool{n}" for n in range(500)], "domain": ["desk"] * 500, "description": ["Folds."] * 500})
    number = 1_000
    questions = pl.DataFrame(
        {
            "question_id": [str(n) for n in range(number)],
            "tool": ["tool0"] * number,
            "also": [[]] * number,
            "question": ["fold"] * number,
        }
    )
    tracemalloc.start()
    try:
        difficulty(tools, questions, 5)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < number * len(tools) * 8
