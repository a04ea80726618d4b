"""What was found, in sentences that are written from the metrics, favourable or not."""

from collections.abc import Iterator

from metatoolagent.params import MODEL_FREE, OF_METHOD
from metatoolagent.reporting.numbers import Metrics, interval, p_value, resolved

COMPARED = ("ft", "mta")
"""The methods that the findings are about."""
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
    """Return where meta-learning beat fine-tuning, where it lost, and what beat both, on split cd."""
    signs = {
        f"{READINGS[reading]} {POOLS[pool]}": _sign(metrics, f"cd.mta_vs_ft.{reading}.{pool}")
        for pool, reading in _cells(metrics)
    }
    parts = []
    for sign, word in ((1, "ahead of"), (-1, "behind")):
        if where := [place for place, found in signs.items() if found == sign]:
            parts.append(f"{word} fine-tuning in {' and '.join(where)}")
    found = f"Meta-learning is {', and '.join(parts)}" if parts else "Meta-learning and fine-tuning are not told apart"
    better = ahead(metrics, "cd")
    return f"{found}; both are behind {' and '.join(better)} in scored choices" if better else found


def sentences(metrics: Metrics, part: str) -> list[str]:
    """Return the findings on split cd, then what other splits tell of mta and ft, and which methods beat both.

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
    return found + list(elsewhere(metrics)) + list(rivals(metrics))


def elsewhere(metrics: Metrics) -> Iterator[str]:
    """Say where else than on split cd mta and ft are told apart, in whichever direction."""
    for split in splits(metrics):
        keys = [f"{split}.mta_vs_ft.{reading}.{pool}" for pool in POOLS for reading in READINGS]
        for key in keys if split != "cd" else []:
            if f"{key}.difference" in metrics and _sign(metrics, key):
                yield f"On {split}: {compared(metrics, key)}"


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
    """Say which methods are ahead of both ft and mta, a sentence for each split that has any."""
    for split in splits(metrics):
        if better := ahead(metrics, split):
            best = max(COMPARED, key=lambda name: _scored(metrics, split, name))
            ours, *theirs = (interval(metrics, f"{split}.{name}.scored.all") for name in (best, *better))
            without = [" (which uses no language model)" if name in MODEL_FREE else "" for name in better]
            told = ", ".join(f"{name}{remark} {share}" for name, remark, share in zip(better, without, theirs, strict=True))
            yield f"On {split}, ahead of both ft and mta in scored choices: {told}; {best}, the better of the two, has {ours}."


def ahead(metrics: Metrics, split: str) -> list[str]:
    """Return the methods whose scored choices, pool `all`, are above ft's and mta's, each difference resolved; the best first."""
    others = [name for name in methods(metrics, split) if name not in COMPARED]
    found = [name for name in others if all(_above(metrics, split, name, ours) for ours in COMPARED)]
    return sorted(found, key=lambda name: -_scored(metrics, split, name))


def _above(metrics: Metrics, split: str, method: str, other: str) -> bool:
    """Return whether a method is above another one; a pair is named in the order of methods, whichever of the two is first."""
    turned = f"{split}.{other}_vs_{method}.scored.all"
    if f"{turned}.difference" in metrics:
        return _sign(metrics, turned) < 0
    return _sign(metrics, f"{split}.{method}_vs_{other}.scored.all") > 0


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
