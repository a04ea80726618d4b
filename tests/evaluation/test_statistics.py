import numpy as np
import pytest

from metatoolagent.evaluation.statistics import (
    LEVEL,
    cluster_bootstrap,
    crossed_bootstrap,
    holm,
    mcnemar,
    mean_bootstrap,
    minimum_detectable,
    sign_flips,
)


def outcomes(only_first, only_second, both=3, neither=2):
    """Paired outcomes with the numbers of pairs given."""
    first = [True] * only_first + [False] * only_second + [True] * both + [False] * neither
    second = [False] * only_first + [True] * only_second + [True] * both + [False] * neither
    return first, second


@pytest.mark.parametrize(
    ("only_first", "only_second", "expected"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (0, 5, 2 / 32),
        (1, 5, 2 * (1 + 6) / 64),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (3, 3, 1.0),
        (0, 20, 2 / 2**20),
    ],
)
def test_mcnemar_is_exact(only_first, only_second, expected):
    first, second = outcomes(only_first, only_second)
    assert mcnemar(first, second) == pytest.approx(expected)
    assert mcnemar(second, first) == pytest.approx(expected)
    # Pairs that agree tell nothing.
    assert mcnemar(*outcomes(only_first, only_second, both=100, neither=0)) == pytest.approx(expected)


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.04, "b": 0.001, "c": 0.2, "d": 0.015}) == pytest.approx({"b": 0.004, "d": 0.045, "a": 0.08, "c": 0.2})
    assert holm({"a": 0.7, "b": 0.6}) == {"a": 1.0, "b": 1.0}
    assert holm({"a": 0.2}) == {"a": 0.2}
    assert holm({}) == {}


def test_the_mean_is_exact_and_equal_values_leave_no_doubt():
    rng = np.random.default_rng(0)
    found = cluster_bootstrap([1, 0, 0, 1, 1, 0, 1, 0], list("aabbbccc"), 500, rng)
    assert (found.mean, found.n) == (0.5, 8)
    assert found.low < 0.5 < found.high
    same = cluster_bootstrap([1, 1, 1], list("abb"), 100, rng)
    assert (same.mean, same.low, same.high) == (1, 1, 1)
    below = cluster_bootstrap([-1, -1], list("ab"), 100, rng)
    assert (below.mean, below.low, below.high) == (-1, -1, -1)


def test_the_interval_is_that_of_a_small_case_worked_out():
    """Two clusters of constant values: the mean of a resample is 0, 1/2 or 1 with probabilities 1/4, 1/2, 1/4."""
    found = cluster_bootstrap([1, 1, 0, 0], list("aabb"), 2000, np.random.default_rng(0))
    assert (found.low, found.high) == (0, 1)
    # With six of them, 0 and 1 have probability 1/64 each, below 2.5 %: the ends are 1/6 and 5/6.
    six = cluster_bootstrap([1, 1, 1, 0, 0, 0], list("abcdef"), 20_000, np.random.default_rng(0))
    assert (six.low, six.high) == pytest.approx((1 / 6, 5 / 6))


def test_clusters_of_like_values_widen_the_interval():
    values = [1] * 50 + [0] * 50
    clustered = cluster_bootstrap(values, [str(index // 10) for index in range(100)], 2000, np.random.default_rng(0))
    single = cluster_bootstrap(values, [str(index) for index in range(100)], 2000, np.random.default_rng(0))
    assert clustered.high - clustered.low > 2 * (single.high - single.low)


def test_larger_clusters_weigh_more():
    found = cluster_bootstrap([1] * 9 + [0], ["a"] * 9 + ["b"], 1000, np.random.default_rng(0))
    assert found.mean == pytest.approx(0.9)


def test_the_same_generator_gives_the_same_interval():
    values, clusters = [1, 0, 1, 1, 0, 0, 1, 0, 1, 1] * 6, [str(index // 4) for index in range(60)]
    first, again, other = (cluster_bootstrap(values, clusters, 300, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.mean == other.mean
    assert (first.low, first.high) != (other.low, other.high)


@pytest.mark.parametrize("block", [1, 90, 2**20])
def test_blocks_draw_the_numbers_of_one_whole_draw(block, monkeypatch):
    rng = np.random.default_rng(4)
    values, clusters = rng.integers(-1, 2, 200), rng.integers(0, 17, 200)
    counts = np.array([[(values[clusters == name] == value).sum() for value in (-1, 0, 1)] for name in range(17)])
    sizes = counts.sum(1)
    whole, blocked = np.random.default_rng(1), np.random.default_rng(1)
    drawn = whole.integers(17, size=(301, 17))
    inside = whole.multinomial(sizes[drawn], counts[drawn] / sizes[drawn][..., None])
    means = (inside[..., 2] - inside[..., 0]).sum(1) / sizes[drawn].sum(1)
    monkeypatch.setattr("metatoolagent.evaluation.statistics.BLOCK", block)
    found = cluster_bootstrap(values, [f"{name:02}" for name in clusters], 301, blocked)
    assert (found.low, found.high) == tuple(np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)))
    # What draws next from the same generator is left as it was, too.
    assert blocked.bit_generator.state == whole.bit_generator.state


@pytest.mark.parametrize("block", [1, 90, 2**20])
def test_blocks_of_a_mean_draw_the_same_too(block, monkeypatch):
    rng = np.random.default_rng(5)
    values, clusters = rng.random(200), np.r_[np.arange(17), rng.integers(0, 17, 183)]
    sums, sizes = np.bincount(clusters, values), np.bincount(clusters)
    drawn = np.random.default_rng(1).integers(17, size=(301, 17))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    monkeypatch.setattr("metatoolagent.evaluation.statistics.BLOCK", block)
    found = mean_bootstrap(values, [f"{name:02}" for name in clusters], 301, np.random.default_rng(1))
    assert (found.low, found.high) == tuple(np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)))


@pytest.mark.parametrize("values", [[], [0.5], [3.0], [float("nan")]])
def test_other_values_are_refused(values):
    with pytest.raises(ValueError, match="values must be some of"):
        cluster_bootstrap(values, ["a"] * len(values), 100, np.random.default_rng(0))


def drawn(rng, tools, questions, mean, likeness):
    """Outcomes of questions in tools: each tool has its own chance of being right."""
    chances = rng.beta(mean / likeness, (1 - mean) / likeness, tools)
    return (rng.random((tools, questions)) < chances[:, None]).astype(float), chances


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """400 data sets of 40 tools with 8 questions each; the truth is the mean over all tools there could be."""
    rng = np.random.default_rng(11)
    clusters = np.repeat(np.arange(40), 8).astype(str)
    covered = 0
    for _ in range(400):
        values, _ = drawn(rng, 40, 8, 0.7, 0.3)
        found = cluster_bootstrap(values.ravel(), clusters, 200, rng)
        covered += found.low <= 0.7 <= found.high
    assert 0.93 <= covered / 400 <= 0.97


def test_two_identical_methods_are_seldom_told_apart():
    """400 A/A comparisons on 40 tools with 8 questions each: each tool has one chance, both methods the same."""
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(40), 8).astype(str)
    by_interval = by_test = 0
    for _ in range(400):
        first, chances = drawn(rng, 40, 8, 0.7, 0.3)
        second = (rng.random((40, 8)) < chances[:, None]).astype(float)
        found = cluster_bootstrap((first - second).ravel(), clusters, 200, rng)
        by_interval += not found.low <= 0 <= found.high
        by_test += mcnemar(first.ravel() > 0, second.ravel() > 0) < 0.05
    # Resampling inside clusters too makes the interval wider than it need be, so it errs on the safe side here.
    assert by_interval / 400 <= 0.08
    assert 0.02 <= by_test / 400 <= 0.08


def test_methods_that_are_good_at_other_tools_are_seldom_told_apart_by_tools():
    """400 A/A comparisons in which each tool favours one method, none on the whole: tasks of a tool are no independent pairs."""
    rng = np.random.default_rng(8)
    clusters = np.repeat(np.arange(40), 8).astype(str)
    by_tasks = by_tools = 0
    for _ in range(400):
        chances = rng.choice([0.3, 0.9], (2, 40))
        first, second = ((rng.random((40, 8)) < of_tool[:, None]).ravel() for of_tool in chances)
        by_tasks += mcnemar(first, second) < 0.05
        by_tools += sign_flips([((first.astype(float) - second).tolist(), clusters.tolist())], 500, rng) < 0.05
    assert 0.02 <= by_tools / 400 <= 0.08
    assert by_tasks / 400 > 0.15  # which is why both are told


def test_a_real_difference_is_found():
    rng = np.random.default_rng(0)
    first, second = rng.random(400) < 0.75, rng.random(400) < 0.6
    found = cluster_bootstrap(first.astype(float) - second, [str(index // 10) for index in range(400)], 500, rng)
    assert found.low > 0
    assert mcnemar(first, second) < 0.01


def test_of_a_single_run_the_crossed_bootstrap_is_the_clustered_one():
    values, clusters = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0] * 5, [str(number // 3) for number in range(30)]
    once = cluster_bootstrap(values, clusters, 20_000, np.random.default_rng(0))
    crossed = crossed_bootstrap([(values, clusters)], 20_000, np.random.default_rng(0))
    assert (crossed.mean, crossed.n) == (once.mean, once.n)
    # The draws come in another order.
    assert (crossed.low, crossed.high) == (pytest.approx(once.low, abs=0.02), pytest.approx(once.high, abs=0.02))


def test_runs_that_differ_widen_the_interval_and_runs_that_do_not_leave_it():
    clusters = [str(number) for number in range(50)]
    right, wrong = ([1.0] * 50, clusters), ([0.0] * 50, clusters)
    found = crossed_bootstrap([right, wrong], 2000, np.random.default_rng(0))
    # One run is drawn: the wrong one in half of the resamples, the right one in the other half.
    assert (found.mean, found.low, found.high, found.n) == (0.5, 0.0, 1.0, 100)
    same = crossed_bootstrap([right, right], 2000, np.random.default_rng(0))
    assert (same.low, same.high) == (1.0, 1.0)


def test_one_run_less_than_there_are_is_drawn():
    clusters = [str(number) for number in range(20)]
    runs = [([value] * 20, clusters) for value in (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)]
    found = crossed_bootstrap(runs, 20_000, np.random.default_rng(0))
    # The five that are drawn are all wrong with probability 1 / 32, more than the tail of 0.025; six would be with 1 / 64.
    assert (found.low, found.high) == (0.0, 1.0)


def test_runs_may_have_different_clusters():
    found = crossed_bootstrap([([1.0, 1.0], ["a", "b"]), ([0.0, -1.0], ["c", "d"])], 2000, np.random.default_rng(0))
    assert (found.mean, found.n) == (0.25, 4)
    assert -1 <= found.low < 0.25 < found.high <= 1


def test_blocks_do_not_change_what_is_estimated(monkeypatch):
    sample = [([1.0, 0.0, 1.0, 0.0], ["a", "a", "b", "c"])] * 3
    whole = crossed_bootstrap(sample, 5000, np.random.default_rng(0))
    monkeypatch.setattr("metatoolagent.evaluation.statistics.BLOCK", 90)
    assert crossed_bootstrap(sample, 5000, np.random.default_rng(0)).low == pytest.approx(whole.low, abs=0.03)


@pytest.mark.parametrize("values", [[], [0.5], [2.0]])
def test_values_that_are_no_outcomes_are_refused(values):
    with pytest.raises(ValueError, match="-1, 0 and 1"):
        crossed_bootstrap([(values, ["a"] * len(values))], 100, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("sums", "expected"),
    [
        ([1, 1, 1], 2 / 8),  # of eight signs, all up and all down
        ([2, 1, -1], 6 / 8),  # the sum is 2; of 4, 2, 2, 0, 0, -2, -2 and -4, six are as far from 0
        ([0, 0, 3], 1.0),  # one tool alone differs
        ([0, 0, 0], 1.0),
    ],
)
def test_all_signs_are_flipped_where_there_are_few_clusters(sums, expected):
    values = [float(np.sign(size)) for size in sums for _ in range(max(1, abs(size)))]
    clusters = [str(index) for index, size in enumerate(sums) for _ in range(max(1, abs(size)))]
    assert sign_flips([(values, clusters)], 1000, np.random.default_rng(0)) == pytest.approx(expected)


def test_blocks_do_not_change_what_signs_tell(monkeypatch):
    values, clusters = [1.0] * 14 + [-1.0] * 6, [str(number) for number in range(20)]
    whole = sign_flips([(values, clusters)], 5000, np.random.default_rng(0))
    monkeypatch.setattr("metatoolagent.evaluation.statistics.BLOCK", 90)
    assert sign_flips([(values, clusters)], 5000, np.random.default_rng(0)) == pytest.approx(whole, abs=0.02)


def test_drawn_signs_agree_with_all_signs():
    values, clusters = [1.0] * 9 + [-1.0] * 3, [str(number) for number in range(12)]
    # By hand: at least 9 of 12 coins on one side.
    exact = 2 * (220 + 66 + 12 + 1) / 2**12
    assert sign_flips([(values, clusters)], 2**12, np.random.default_rng(0)) == pytest.approx(exact)
    assert sign_flips([(values, clusters)], 2**12 - 1, np.random.default_rng(0)) == pytest.approx(exact, abs=0.025)


def test_the_minimum_detectable_difference_by_hand():
    # Of 6 discordant pairs only 0 or 6 reject: 2 / 2^6 = 0.031, 2 * 7 / 2^6 = 0.22. Power p^6 + (1 - p)^6 = 0.8 at
    # p = 0.8^(1/6) = 0.9635, where the second term is 2e-9. So (2 * 0.9635 - 1) * 6 / 100.
    assert minimum_detectable(6, 100) == pytest.approx((2 * 0.8 ** (1 / 6) - 1) * 0.06, abs=1e-6)


@pytest.mark.parametrize("discordant", range(6))
def test_up_to_five_discordant_pairs_detect_nothing(discordant):
    assert minimum_detectable(discordant, 100) is None


def test_samples_with_the_detectable_difference_are_found_significant_four_times_in_five():
    m, n = 60, 300
    found = minimum_detectable(m, n)
    rng = np.random.default_rng(0)
    first = rng.binomial(m, (1 + found * n / m) / 2, size=4000)
    significant = [mcnemar([True] * k + [False] * (m - k), [False] * k + [True] * (m - k)) <= 0.05 for k in first.tolist()]
    assert np.mean(significant) == pytest.approx(0.8, abs=0.02)
    assert minimum_detectable(m, 2 * n) == pytest.approx(found / 2)
