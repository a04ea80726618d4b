import math
from collections import Counter

import numpy as np
import polars as pl
import pytest
from scipy import stats

from metatoolagent.errors import UserError
from metatoolagent.tasks.distractors import draw, draw_keys, generator_of, require, similarity_ranks


def test_generators_are_their_own_and_repeat():
    drawn = [generator_of(*names).random() for names in ((0, "a", 1), (0, "a", 2), (0, "b", 1), (1, "a", 1))]
    assert len(set(drawn)) == 4
    assert generator_of(0, "a", 1).random() == drawn[0]


def test_drawn_tools_are_allowed_different_and_not_the_gold_one():
    generator = generator_of(0, "test")
    gold = generator.integers(0, 12, 500)
    allowed = generator.random((500, 12)) < 0.7
    allowed[:, :5] = True
    chosen = draw(gold, allowed, draw_keys(gold, 12, None, generator), 4)
    assert chosen.shape == (500, 4)
    assert allowed[np.arange(500)[:, None], chosen].all()
    assert (chosen != gold[:, None]).all()
    assert (np.diff(chosen, axis=1) > 0).all()


def test_every_set_is_equally_likely():
    generator = generator_of(0, "test")
    gold = np.zeros(20_000, np.int64)
    chosen = draw(gold, np.ones((20_000, 6), np.bool_), draw_keys(gold, 6, None, generator), 2)
    counts = Counter(map(tuple, chosen.tolist()))
    assert len(counts) == math.comb(5, 2)
    assert stats.chisquare(list(counts.values())).pvalue > 0.001


def test_hard_distractors_are_those_of_the_lowest_rank():
    ranks = np.array([[0, 1, 3, 2], [3, 0, 2, 1], [1, 2, 0, 3], [2, 3, 1, 0]])
    gold = np.array([0, 1, 2, 3])
    keys = draw_keys(gold, 4, ranks, generator_of(0, "unused"))
    assert draw(gold, np.ones((4, 4), np.bool_), keys, 2).tolist() == [[1, 3], [2, 3], [0, 1], [0, 2]]
    without = np.ones((4, 4), np.bool_)
    without[0, 1] = False
    assert draw(gold, without, keys, 2)[0].tolist() == [2, 3]


def test_the_most_similar_documentation_ranks_first():
    tools = pl.DataFrame(
        {
            "name": ["meeting_plan", "meeting_cancel", "oven_heat", "pan"],
            "description": [
                "Plan a meeting with colleagues.",
                "Cancel a planned meeting.",
                "Heat the oven for baking.",
                "Fry in a pan or an oven.",
            ],
        }
    )
    ranks = similarity_ranks(tools)
    assert ranks.diagonal().tolist() == [0] * 4
    assert all(sorted(row) == [0, 1, 2, 3] for row in ranks.tolist())
    assert ranks[0, 1] == 1
    assert ranks[2, 3] == 1
    assert (similarity_ranks(tools) == ranks).all()


def test_documentation_of_stop_words_alone_can_be_ranked():
    tools = pl.DataFrame({"name": ["the", "and", "oven"], "description": ["It is.", "To be.", "Heat it."]})
    assert sorted(similarity_ranks(tools)[0].tolist()) == [0, 1, 2]


def test_enough_tools_are_no_error():
    require({"domain a": 5, "domain b": 6}, 5)


def test_every_scope_that_is_too_small_and_the_largest_number_are_told():
    with pytest.raises(UserError) as raised:
        require({"domain a": 3, "domain b": 9, "domain c": 0, "domain d": 4}, 5)
    error = raised.value
    assert (error.code, error.exit_code) == ("E-DISTRACTORS", 65)
    assert error.where == "domain a (at most 3), domain c (at most 0), domain d (at most 4)"
    assert error.fix == "add tools there"
    with pytest.raises(UserError) as raised:
        require({"domain a": 3, "domain b": 9}, 5)
    assert raised.value.fix == "set distractors: 3, or add tools there"
