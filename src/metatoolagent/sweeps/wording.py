"""What the paragraphs of all sweeps share: which rows they tell of, how a number reads, and what the caps were."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from metatoolagent import params
from metatoolagent.evaluation.statistics import resolved

ENOUGH = 4
"""Seeds from which on an interval that resamples them is not said to rest on few; docs/log.md has its coverage."""
UNTRAINED = frozenset(method for method, sections in params.OF_METHOD.items() if not sections)


def at(table: pl.DataFrame, *, pool: str = "all", reading: str = "scored") -> pl.DataFrame:
    """Return the accuracies over all seeds, of one pool and one reading."""
    return table.filter(
        pl.col("against").is_null() & (pl.col("seed") == "all") & (pl.col("pool") == pool) & (pl.col("reading") == reading)
    )


def differences(table: pl.DataFrame, *, pool: str = "all", reading: str = "scored") -> pl.DataFrame:
    """Return the paired differences over all seeds, of one pool and one reading."""
    return table.filter(
        pl.col("against").is_not_null() & (pl.col("seed") == "all") & (pl.col("pool") == pool) & (pl.col("reading") == reading)
    )


def percent(row: Mapping[str, Any]) -> str:
    """Return an accuracy and its interval in per cent."""
    return f"{100 * row['value']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def points(row: Mapping[str, Any]) -> str:
    """Return a difference, its interval in points and its p-value, and say where it is not resolved."""
    value, low, high = (100 * row[name] for name in ("value", "low", "high"))
    text = f"{value:+.1f} points [{low:+.1f}, {high:+.1f}], p = {row['p_holm']:.3g} over tools, after Holm"
    return text if resolved(row["low"], row["high"], row["p_holm"]) else f"{text}, not resolved"


def capped(table: pl.DataFrame, caps: Mapping[str, int]) -> str:
    """Say how many tasks and seeds the numbers come from, or that nothing was trained, and that the runs were cut short if so.

    What has a column of its own was each point's to say, so no cap of it held.
    """
    tasks, seeds = sorted(set(table["n"])), int(table["seeds"].max() or 0)  # type: ignore[arg-type]
    range_ = f"{tasks[0]}" if len(tasks) == 1 else f"{tasks[0]} to {tasks[-1]}"
    untrained = UNTRAINED.issuperset(table["method"])
    trained = "nothing was trained" if untrained else f"{seeds} training {'seed' if seeds == 1 else 'seeds'}"
    text = f"{range_} evaluation tasks a row, {trained}; "
    if untrained:
        text += "intervals (95 %) resample tools and questions"
    elif seeds == 1:
        text += "intervals (95 %) resample tools and questions, and say nothing of other trainings"
    else:
        text += "intervals (95 %) resample seeds, tools and questions, p-values take the trainings as they are"
    if 1 < seeds < ENOUGH:
        text += f"; {seeds} seeds tell little of how trainings differ"
    told = [f"{count} {name.replace('_', '-')} a run" for name, count in caps.items() if count and name not in table.columns]
    return f"{text}. Small form: at most {' and '.join(told)}." if told else f"{text}."
