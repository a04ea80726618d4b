import itertools
import typing

import pytest

from metatoolagent import params
from metatoolagent.reporting.findings import TOOLS, compared, elsewhere, headline, rivals, sentences


def comparison(reading, pool, difference, half, mdd=0.07):
    key = f"cd.mta_vs_ft.{reading}.{pool}"
    return {
        f"{key}.difference": difference,
        f"{key}.low": difference - half,
        f"{key}.high": difference + half,
        f"{key}.p_holm": 0.01,
        f"{key}.p_tools_holm": 0.04,
        f"{key}.mdd": mdd,
    }


AHEAD, OPEN, BEHIND = (
    comparison("free", "all", 0.1, 0.05),
    comparison("scored", "all", 0.02, 0.05),
    comparison("scored", "unseen", -0.09, 0.05),
)


def test_the_headline_says_where_mta_is_ahead_and_where_behind():
    assert headline(AHEAD | OPEN) == "Meta-learning is ahead of fine-tuning in free answers among the whole catalog"
    assert headline(OPEN | BEHIND) == "Meta-learning is behind fine-tuning in scored choices among tools that are all new"
    both = headline(AHEAD | BEHIND)
    assert "ahead of fine-tuning in free" in both and "behind fine-tuning in scored" in both
    assert headline(OPEN) == "Meta-learning and fine-tuning are not told apart"


def test_what_other_splits_tell_of_the_two_is_said_in_either_direction_and_nothing_else():
    other = {key.replace("cd.", "web.", 1): value for key, value in (AHEAD | OPEN | BEHIND).items()}
    assert list(elsewhere(AHEAD | OPEN | other)) == [
        "On web: Free answers among the whole catalog: mta +10.0 points against ft [+5.0, +15.0], p over tools = 0.0400.",
        "On web: Scored choices among tools that are all new: mta -9.0 points against ft [-14.0, -4.0], p over tools = 0.0400.",
    ]


def test_an_interval_without_zero_is_no_finding_where_the_test_over_tools_finds_nothing():
    key = "cd.mta_vs_ft.free.all"
    unsure = AHEAD | {f"{key}.p_tools_holm": 1.0}
    assert headline(unsure) == "Meta-learning and fine-tuning are not told apart"
    assert ": not resolved; " in compared(unsure, key)


def test_a_difference_that_is_not_resolved_says_what_could_have_been_found():
    assert compared(AHEAD, "cd.mta_vs_ft.free.all") == (
        "Free answers among the whole catalog: mta +10.0 points against ft [+5.0, +15.0], p over tools = 0.0400."
    )
    assert compared(OPEN, "cd.mta_vs_ft.scored.all").endswith(
        ": not resolved; only a difference of 7.0 points or more would be found four times in five, "
        "before Holm and were tasks independent."
    )


def beaten(half, split="web"):
    """Metrics in which bm25 and channel have more right than ft and mta; `half` is that of the differences' intervals."""
    shares = {"bm25": 0.9, "ft": 0.75, "channel": 0.95, "mta": 0.8}
    metrics = {f"{split}.{name}.free.all.n": 300 for name in shares}
    for name, share in shares.items():
        metrics |= {f"{split}.{name}.scored.all.{key}": share for key in ("accuracy", "low", "high")}
    for worse, better in itertools.combinations(shares, 2):
        key, difference = f"{split}.{better}_vs_{worse}.scored.all", shares[better] - shares[worse]
        metrics |= {f"{key}.difference": difference, f"{key}.low": difference - half, f"{key}.high": difference + half}
    return metrics


@pytest.mark.parametrize(
    ("part", "asked"),
    [("test", "tools that were never trained on"), ("validation", "validation tools"), ("train", "tools that were trained on")],
)
def test_the_findings_say_whose_tools_were_asked_for(part, asked):
    shares = ("bm25", "base", "ft", "mta")
    metrics = {f"cd.{name}.scored.all.{key}": 0.5 for name in shares for key in ("accuracy", "low", "high", "n")}
    metrics |= {f"cd.{name}.free.all.n": 300 for name in shares} | {f"cd.{name}.invalid": 0.1 for name in shares}
    pairs = [f"cd.{name}_vs_{other}.scored.all" for name in ("ft", "mta") for other in ("bm25", "base")]
    metrics |= {f"{pair}.{key}": value for pair in pairs for key, value in (("difference", 0), ("low", -0.1), ("high", 0.1))}
    assert f" tasks with {asked}" in sentences(metrics, part)[0]
    assert set(TOOLS) == set(typing.get_args(params.EvalTasks.model_fields["part"].annotation))


def test_that_both_are_beaten_is_said_of_every_method_of_which_it_is_resolved():
    assert list(rivals(beaten(0.3))) == []
    # bm25 is 0.1 above mta, and channel 0.15.
    (sentence,) = rivals(beaten(0.12))
    assert "bm25" not in sentence
    (sentence,) = rivals(beaten(0.05))
    assert sentence == (
        "On web, ahead of both ft and mta in scored choices: channel 95.0 [95.0, 95.0], "
        "bm25 (which uses no language model) 90.0 [90.0, 90.0]; mta, the better of the two, has 80.0 [80.0, 80.0]."
    )


def test_the_headline_names_what_beats_both():
    assert headline(beaten(0.05, "cd") | OPEN) == (
        "Meta-learning and fine-tuning are not told apart; both are behind channel and bm25 in scored choices"
    )
    assert "behind" not in headline(beaten(0.3, "cd") | OPEN)
