"""Metrics as text: shares in per cent, differences in points, each with its interval, and p-values."""

from metatoolagent.evaluation import statistics

Metrics = dict[str, float]


def interval(metrics: Metrics, key: str, mean: str = "accuracy") -> str:
    """Return a share and its interval, in per cent; `mean` is how its key ends."""
    middle, low, high = (100 * metrics[f"{key}.{name}"] for name in (mean, "low", "high"))
    return f"{middle:.1f} [{low:.1f}, {high:.1f}]"


def difference(metrics: Metrics, key: str) -> str:
    """Return a difference and its interval, in points."""
    mean, low, high = (100 * metrics[f"{key}.{name}"] for name in ("difference", "low", "high"))
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def marked(metrics: Metrics, key: str) -> str:
    """Return the same, and a remark where it is not resolved."""
    return difference(metrics, key) + ("" if resolved(metrics, key) else "  not resolved")


def resolved(metrics: Metrics, key: str) -> bool:
    """Return whether a difference's interval leaves 0 out, and its p-value after Holm, if it was tested, is below 0.05.

    The test is the one over tools where there is one; metrics of an earlier version have the one over tasks alone.
    """
    p = metrics.get(f"{key}.p_tools_holm", metrics.get(f"{key}.p_holm"))
    return statistics.resolved(metrics[f"{key}.low"], metrics[f"{key}.high"], p)


def p_value(p: float | None) -> str:
    """Return a p-value to four digits, or a dash where an earlier version made the metrics and had none of its kind."""
    if p is None:
        return "–"
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"
