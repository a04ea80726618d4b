from collections import Counter

from metatoolagent.evaluation.methods.random import drawn

CANDIDATES = ["a", "b", "c"]


def row(index):
    return {"task_id": f"all-{index:06}", "candidates": CANDIDATES}


def test_each_candidate_is_drawn_equally_often():
    counts = Counter(drawn(row(index), 0).scored for index in range(3000))
    assert all(900 < counts[name] < 1100 for name in CANDIDATES)


def test_the_draw_depends_on_the_seed_and_the_task_alone():
    first = [drawn(row(index), 0) for index in range(20)]
    assert first == [drawn(row(index), 0) for index in range(20)]
    assert first != [drawn(row(index), 1) for index in range(20)]
    assert len({one.scored for one in first}) == 3


def test_the_free_answer_is_the_selection_and_there_are_no_scores():
    found = drawn(row(0), 0)
    assert found.free == found.free_text == found.scored
    assert (found.log_probabilities, found.cut) == (None, False)
