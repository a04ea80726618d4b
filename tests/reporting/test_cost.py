"""The cost model against numbers worked out by hand."""

import re
from pathlib import Path

import pytest

from metatoolagent.reporting import cost

ROOT = Path(__file__).parents[2]


def test_a_pack_is_what_was_measured_and_grows_with_questions_and_candidates():
    assert cost.pack_tokens(5) == pytest.approx(771)
    assert cost.pack_tokens(5, questions=1) == pytest.approx(380)
    # A question adds 391 / 7 = 55.857 tokens, a candidate (380 - 55.857) / 6 = 54.024.
    assert cost.pack_tokens(20) == pytest.approx(771 + 15 * 54.0238, abs=0.01)


def test_flops_of_a_training_and_an_evaluation():
    # 10 meta-tasks of two packs of 771 tokens; 4 N a token for ft, 5 N for mta.
    assert cost.training("ft", 10, 5) == (pytest.approx(15_420), pytest.approx(4 * 15_420))
    assert cost.training("mta", 10, 5) == (pytest.approx(15_420), pytest.approx(5 * 15_420))
    # 75 packs of 771 tokens, and 600 answers of 12 tokens, 48 more where the method reasons.
    assert cost.evaluation(5, reasoning=False) == (pytest.approx(65_025), pytest.approx(2 * 65_025))
    assert cost.evaluation(5, reasoning=True)[0] == pytest.approx(65_025 + 28_800)


def test_a_target_is_the_sum_of_its_runs():
    target = cost.Target("t", "", 2, 1, 3, reasoning=1)
    tokens, flops = cost.of_target(target, 10)
    assert tokens == pytest.approx(3 * 15_420 + 3 * 65_025 + 28_800)
    assert flops == pytest.approx((2 * 4 + 5) * 15_420 + 2 * (3 * 65_025 + 28_800))
    half = cost.Target("t", "", 2, 0, 0, (5, 20))
    assert cost.of_target(half, 10)[0] == pytest.approx(15_420 + 20 * cost.pack_tokens(20))


def test_an_adapter_has_as_many_numbers_as_the_trained_one():
    # 30 layers of q, o (576 + 576), k, v (576 + 192), gate, up, down (576 + 1536), rank 16: the size of the published adapter.
    assert cost.MODELS[0].adapter() == 16 * 30 * (2 * 1152 + 2 * 768 + 3 * 2112) == 4_884_480
    assert cost.storage(cost.Target("t", "", 1, 1, 0), cost.MODELS[0]) == pytest.approx(2 * 134.5e6 + 2 * 4 * 4_884_480)


def test_hours_and_the_measured_rate():
    assert cost.hours(7.2e15, 1e12) == pytest.approx(2)
    # 80 packs of 771 tokens in 204 seconds, 4 x 134.5 million FLOPs a token.
    assert cost.cpu_flops() == pytest.approx(1.6267e11, rel=1e-4)


def test_the_page_has_the_tables_as_they_are_computed():
    tables = re.findall(r"(?:^\|.*\n)+", (ROOT / "docs/cost.md").read_text(), re.M)
    assert "\n".join(tables) == cost.render()
