"""The tables of the probes, in the terminal and on the page: a row a method, in per cent with 95 % intervals."""

import re
from collections.abc import Sequence

from rich.table import Table

from metatoolagent.params import PROBED
from metatoolagent.reporting.numbers import Metrics, interval, marked, p_value

READINGS = ("free", "scored")
REPEATED = ("abstention", "injection")
"""The probes in which a question stands in several tasks."""
ABOUT = {
    "abstention": "One more answer is “none of these”, and half of the tasks lack the gold tool. Over-calling: of those, the "
    "share in which a tool is chosen. Under-calling: of the others, the share in which “none of these” is chosen; accuracy: in "
    "which the gold tool is. Balanced: right answers of all tasks. A free answer that names no candidate is neither a call nor a "
    "refusal; invalid: the share of those, without which over- and under-calling say nothing.",
    "rotation": "The same candidates in every turn. Consistency: the share of questions in which one tool is chosen at all "
    "places; always right: it is the gold one. Then the accuracy by the gold tool's place in the list, counted from 1.",
    "injection": "The description of one distractor says to choose it. The share in which it is chosen without that sentence, "
    "and with it over all attacks; the lift is the difference. Then each attack.",
    "adaptation": "Accuracy after a number of inner steps on a few questions of the same unseen tools; none of those is asked. "
    "Gain: that less the accuracy before the first step; the comparisons have one method's gain less another's.",
    "comparisons": "In points, with 95 % intervals. p after Holm: McNemar's exact test over tasks where each question stands in "
    "one, and a sign-flip test over tools. –: a comparison or a test that an earlier version did not make, or that has no place.",
}
"""What is asked, and what the columns mean."""


def tables(metrics: Metrics) -> list[Table]:
    """Return the table of each probe; one whose metrics are not there has no rows."""
    return [abstention(metrics), rotation(metrics), injection(metrics), adaptation(metrics), comparisons(metrics)]


def abstention(metrics: Metrics) -> Table:
    """Return how often a method chooses a tool though none fits, and `none of these` though one does."""
    measures = ("over_calling", "under_calling", "accuracy", "balanced")
    titles = ("over-calling", "under-calling", "accuracy", "balanced", "invalid")
    table = _table("Abstention", ABOUT["abstention"], titles)
    for method, reading, key in _answers(metrics, "abstention", "balanced"):
        shares = [interval(metrics, f"{key}.{measure}", "rate") for measure in measures]
        invalid = metrics.get(f"abstention.{method}.invalid") if reading == "free" else 0.0
        table.add_row(method, reading, *shares, "–" if invalid is None else f"{100 * invalid:.1f}")
    return table


def rotation(metrics: Metrics) -> Table:
    """Return how often a method chooses the same tool at all places, and its accuracy by the gold tool's place."""
    pattern = re.compile(r"rotation\..*\.position-(\d+)\.rate")
    places = sorted({int(found[1]) for key in metrics if (found := pattern.fullmatch(key))})
    titles = ("consistency", "always right", *(f"place {place + 1}" for place in places))
    table = _table("Rotation", ABOUT["rotation"], titles)
    for method, reading, key in _answers(metrics, "rotation", "consistency"):
        whole = [interval(metrics, f"{key}.{measure}", "rate") for measure in ("consistency", "always_right")]
        by_place = [f"{100 * metrics[f'{key}.position-{place}.rate']:.1f}" for place in places]
        table.add_row(method, reading, *whole, *by_place)
    return table


def injection(metrics: Metrics) -> Table:
    """Return how often the attacked distractor is chosen, with each attack and without, and what all attacks add."""
    pattern = re.compile(r"injection\.[^.]+\.[^.]+\.([^.]+)\.lift\.difference")
    attacks = sorted({found[1] for key in metrics if (found := pattern.fullmatch(key))} - {"all"})
    titles = ("clean", "attacked", "lift in points", *attacks)
    table = _table("Injection", ABOUT["injection"], titles)
    for method, reading, key in _answers(metrics, "injection", "all.success"):
        shares = [interval(metrics, f"{key}.{name}.success", "rate") for name in ("clean", "all")]
        by_attack = [f"{100 * metrics[f'{key}.{attack}.success.rate']:.1f}" for attack in attacks]
        table.add_row(method, reading, *shares, marked(metrics, f"{key}.all.lift"), *by_attack)
    return table


def adaptation(metrics: Metrics) -> Table:
    """Return the accuracy after each number of inner steps, and what the steps gained."""
    pattern = re.compile(r"adaptation\..*\.steps-(\d+)\.accuracy\.rate")
    steps = sorted({int(found[1]) for key in metrics if (found := pattern.fullmatch(key))})
    table = _table("Adaptation", ABOUT["adaptation"], ("steps", "accuracy", "gain in points"))
    for method, reading, key in _answers(metrics, "adaptation", "steps-0.accuracy"):
        for number in steps:
            after = f"{key}.steps-{number}"
            gain = marked(metrics, f"{after}.gain") if number else ""
            table.add_row(method, reading, str(number), interval(metrics, f"{after}.accuracy", "rate"), gain)
    return table


def comparisons(metrics: Metrics) -> Table:
    """Return the paired differences between methods."""
    table = Table(title="Probes: paired differences", caption=ABOUT["comparisons"])
    numbers = ("difference", "p, tasks", "p, tools")
    for column in ("probe", "comparison", "answer", "in", *numbers):
        table.add_column(column, justify="right" if column in numbers else "left")
    pattern = re.compile(r"((?:abstention|rotation|injection|adaptation)\.\w+_vs_\w+\.\w+\.[\w-]+)\.difference")
    for key in sorted(found[1] for name in metrics if (found := pattern.fullmatch(name))):
        probe, pair, reading, measure = key.split(".")
        named = (probe, pair.replace("_vs_", " - "), reading)
        table.add_row(*named, measure, *_compared(metrics, key, repeated=probe in REPEATED))
        if probe == "adaptation" and measure != "steps-0":
            table.add_row(*named, f"{measure}, gain", *_compared(metrics, f"{key}.gain"))
    return table


def _compared(metrics: Metrics, key: str, *, repeated: bool = False) -> tuple[str, ...]:
    """Return a difference, its p-value over tasks and that over tools; where questions are repeated, `p` is over tools."""
    if f"{key}.difference" not in metrics:
        return "–", "–", "–"
    tests = [metrics.get(f"{key}.{name}_holm") for name in ("p", "p_tools")]
    return marked(metrics, key), *map(p_value, reversed(tests) if repeated else tests)


def _table(title: str, about: str, measures: Sequence[str]) -> Table:
    table = Table(title=title, caption=f"{about} In %, with 95 % intervals.")
    for column in ("method", "answer"):
        table.add_column(column)
    for column in measures:
        table.add_column(column, justify="right")
    return table


def _answers(metrics: Metrics, probe: str, measure: str) -> list[tuple[str, str, str]]:
    """Return method, reading and beginning of the keys, of those that have a measure, in the order of methods."""
    found = [(method, reading, f"{probe}.{method}.{reading}") for method in PROBED for reading in READINGS]
    return [(method, reading, key) for method, reading, key in found if f"{key}.{measure}.rate" in metrics]
