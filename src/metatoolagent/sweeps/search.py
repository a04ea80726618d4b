"""A seeded search for the defaults of meta-learning, on validation tools: no test tool is looked at."""

import polars as pl

from metatoolagent.sweeps.sensitivity import figure, kinds, setting
from metatoolagent.sweeps.sensitivity import finding as told
from metatoolagent.sweeps.space import runs
from metatoolagent.sweeps.wording import at, percent

__all__ = ["figure", "finding", "runs"]
SHOWN = 3


def finding(table: pl.DataFrame, caps: dict[str, int]) -> str:
    """Say the best settings, then what the sensitivity says of the same points."""
    ranked = at(table).sort("value", descending=True).head(SHOWN).to_dicts()
    first = "; ".join(f"{percent(row)} at {setting(row, table)}" for row in ranked)
    means = " ".join(f"Mean by {name}: {_means(at(table), name)}." for name in kinds(table))
    return f"The {len(ranked)} best settings: {first}. {means} {told(table, caps)}"


def _means(rows: pl.DataFrame, kind: str) -> str:
    means = rows.group_by(kind, maintain_order=True).agg(pl.col("value").mean(), pl.len().alias("points")).to_dicts()
    return ", ".join(f"{row[kind]} {100 * row['value']:.1f} % ({row['points']} points)" for row in means)
