"""A seeded search for the defaults of meta-learning, on validation tools: no test tool is looked at."""

import polars as pl

from metatoolagent.sweeps.sensitivity import figure, setting
from metatoolagent.sweeps.sensitivity import finding as told
from metatoolagent.sweeps.space import runs
from metatoolagent.sweeps.wording import at, percent

__all__ = ["figure", "finding", "runs"]
SHOWN = 3


def finding(table: pl.DataFrame, caps: dict[str, int]) -> str:
    """Say the best settings, then what the sensitivity says of the same points."""
    ranked = at(table).sort("value", descending=True).head(SHOWN).to_dicts()
    first = "; ".join(f"{percent(row)} at {setting(row, table)}" for row in ranked)
    kinds = at(table).group_by("hypergradient", maintain_order=True).agg(pl.col("value").mean(), pl.len().alias("points"))
    means = ", ".join(f"{row['hypergradient']} {100 * row['value']:.1f} % ({row['points']} points)" for row in kinds.to_dicts())
    return f"The {len(ranked)} best settings: {first}. Mean by hypergradient: {means}. {told(table, caps)}"
