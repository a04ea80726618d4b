from collections import Counter

import numpy as np
import pytest

from metatoolagent.tasks.distractors import generator_of
from metatoolagent.tasks.turns import Parting, Turns


def parting(sizes, need):
    return Parting(np.repeat(np.arange(len(sizes)), sizes), np.array(sizes), need)


@pytest.mark.parametrize(
    ("sizes", "need", "possible"),
    [
        ([5, 5], 5, True),
        ([5, 5], 6, False),
        ([9, 1], 2, False),
        ([4, 3, 3], 4, True),
        ([4, 3, 3], 5, False),
        ([3], 1, False),
        ([2, 2, 3], 3, True),
    ],
)
def test_a_parting_is_possible_if_both_sides_can_be_large_enough(sizes, need, possible):
    assert parting(sizes, need).is_possible() is possible


def test_units_stay_whole_and_both_sides_are_large_enough():
    sizes = [4, 3, 3, 1, 1]
    support = parting(sizes, 5).support(300, generator_of(0, "test"))
    units = np.split(support, np.cumsum(sizes)[:-1], axis=1)
    assert all((unit == unit[:, :1]).all() for unit in units)
    assert (support.sum(axis=1) >= 5).all()
    assert ((~support).sum(axis=1) >= 5).all()


def test_each_unit_is_on_each_side_equally_often():
    support = parting([1] * 7, 1).support(2000, generator_of(0, "test"))
    assert set(support.sum(axis=1)) == {3, 4}
    assert np.allclose(support.mean(axis=0), 0.5, atol=0.05)


def turns(questions_of_each=(3, 2)):
    tools = np.repeat(np.arange(len(questions_of_each)), questions_of_each)
    return Turns.first(tools, 10 + np.arange(len(tools)), generator_of(0, "test"))


def test_questions_come_round_when_all_were_asked():
    asked = turns().questions(np.array([0, 1, 0, 0, 1, 0, 1]))
    of_first, of_second = asked[[0, 2, 3, 5]], asked[[1, 4, 6]]
    assert sorted(of_first[:3]) == [10, 11, 12]
    assert sorted(of_second[:2]) == [13, 14]
    assert of_first[3] == of_first[0]
    assert of_second[2] == of_second[0]


def test_questions_go_on_where_they_were():
    once, twice = turns(), turns()
    gold = np.array([0, 0, 1, 0, 1, 0])
    assert np.concatenate([twice.questions(gold[:2]), twice.questions(gold[2:])]).tolist() == once.questions(gold).tolist()


def test_every_tool_is_anchor_before_one_is_again():
    anchors = turns((1,) * 6).anchors(
        np.tile([True, True, True, False, False, False], (9, 1)), np.array([True, False]), generator_of(0, "test")
    )
    assert all(set(anchors[start : start + 3, 0]) == {0, 1, 2} for start in (0, 3, 6))
    assert Counter(anchors[:, 1].tolist()) == {3: 3, 4: 3, 5: 3}
    assert len({tuple(anchors[start : start + 3, 0]) for start in (0, 3, 6)}) > 1
