"""What was found, in sentences that are written from the metrics, favourable or not."""

from collections.abc import Iterator

from metatoolagent.params import MODEL_FREE, OF_METHOD
from metatoolagent.reporting.numbers import Metrics, interval, p_value, resolved

READINGS = {"free": "free answers", "scored": "scored choices"}
TOOLS = {
    "test": "tools that were never trained on",
    "validation": "validation tools, which were never trained on",
    "train": "tools that were trained on",
}
"""The tools that are asked for, by `eval_tasks.part`."""
POOLS = {"all": "among the whole catalog", "unseen": "among tools that are all new"}


def splits(metrics: Metrics) -> list[str]:
    """Return the splits that were measured, in the order of the metrics files."""
    return list(dict.fromkeys(key.split(".")[0] for key in metrics))


def methods(metrics: Metrics, split: str) -> list[str]:
    """Return the methods that were measured on a split, in the order of tables."""
    return [name for name in OF_METHOD if f"{split}.{name}.free.all.n" in metrics]


def pools(metrics: Metrics) -> list[str]:
    """Return the pools that were measured on any split; `unseen` is not where tools that were trained on are asked for."""
    return [pool for pool in POOLS if any(key.endswith(f".{pool}.n") for key in metrics)]


def headline(metrics: Metrics) -> str:
    """Return where meta-learning beat fine-tuning, and where it lost, on split cd."""
    signs = {
        f"{READINGS[reading]} {POOLS[pool]}": _sign(metrics, f"cd.mta_vs_ft.{reading}.{pool}")
        for pool, reading in _cells(metrics)
    }
    parts = []
    for sign, word in ((1, "ahead of"), (-1, "behind")):
        if where := [place for place, found in signs.items() if found == sign]:
            parts.append(f"{word} fine-tuning in {' and '.join(where)}")
    return f"Meta-learning is {', and '.join(parts)}" if parts else "Meta-learning and fine-tuning are not told apart"


def sentences(metrics: Metrics, part: str) -> list[str]:
    """Return the findings on split cd, then where both trained models are beaten, on whatever split.

    Args:
        metrics: of all splits.
        part: whose tools are asked for, a key of `TOOLS`.
    """
    n = int(metrics["cd.mta.scored.all.n"])
    scores = ", ".join(f"{name} {interval(metrics, f'cd.{name}.scored.all')}" for name in ("mta", "ft", "base"))
    found = [f"Scored choices on {n} tasks with {TOOLS[part]}, accuracy in % with 95 % intervals: {scores}."]
    found += [compared(metrics, f"cd.mta_vs_ft.{reading}.{pool}") for pool, reading in _cells(metrics)]
    mta, ft = (f"{100 * metrics[f'cd.{name}.invalid']:.0f} %" for name in ("mta", "ft"))
    found.append(f"Of free answers {mta} of mta's and {ft} of ft's name no candidate.")
    return found + list(rivals(metrics))


def compared(metrics: Metrics, key: str) -> str:
    """Return a comparison of mta with ft as a sentence."""
    _, _, reading, pool = key.split(".")
    mean, low, high = (100 * metrics[f"{key}.{name}"] for name in ("difference", "low", "high"))
    what = f"{READINGS[reading].capitalize()} {POOLS[pool]}"
    p = _is(p_value(metrics.get(f"{key}.p_tools_holm")))
    text = f"{what}: mta {mean:+.1f} points against ft [{low:+.1f}, {high:+.1f}], p over tools {p}"
    if resolved(metrics, key):
        return text + "."
    smallest = metrics.get(f"{key}.mdd")
    if smallest is None:
        return f"{text}: not resolved."
    points = f"a difference of {100 * smallest:.1f} points or more"
    return f"{text}: not resolved; only {points} would be found four times in five, before Holm and were tasks independent."


def rivals(metrics: Metrics) -> Iterator[str]:
    """Say where the best method that uses no language model beats both trained models, each difference resolved."""
    for split in splits(metrics):
        there = methods(metrics, split)
        free = max((name for name in there if name in MODEL_FREE), key=lambda name: _scored(metrics, split, name))
        best = max(("ft", "mta"), key=lambda name: _scored(metrics, split, name))
        if all(metrics[f"{split}.{name}_vs_{free}.scored.all.high"] < 0 for name in ("ft", "mta")):
            ours, theirs = (interval(metrics, f"{split}.{name}.scored.all") for name in (best, free))
            who = f"{free}, which uses no language model, is ahead of both trained models"
            yield f"On {split}, {who}: {theirs} against {ours} of {best}."


def _cells(metrics: Metrics) -> list[tuple[str, str]]:
    return [(pool, reading) for pool in POOLS for reading in READINGS if f"cd.mta_vs_ft.{reading}.{pool}.difference" in metrics]


def _sign(metrics: Metrics, key: str) -> int:
    if not resolved(metrics, key):
        return 0
    return 1 if metrics[f"{key}.difference"] > 0 else -1


def _scored(metrics: Metrics, split: str, method: str) -> float:
    return metrics[f"{split}.{method}.scored.all.accuracy"]


def _is(p: str) -> str:
    if p == "–":
        return "not computed"
    return p.replace("<", "< ") if p.startswith("<") else f"= {p}"
