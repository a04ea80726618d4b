"""A sweep's predictions -> one table, one figure, one paragraph."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import vl_convert

from metatoolagent.artifacts import publishing, verify
from metatoolagent.look import CONFIG
from metatoolagent.sweeps.runs import Run, module
from metatoolagent.sweeps.table import table

FILES = ("table.csv", "figure.json", "figure.svg", "figure.png", "finding.md")
SCALE = 2.0
"""Pixels of the PNG for one of the drawing."""
QUESTIONS = "questions.parquet"
"""Of the artifact of a split."""


def collect(
    sweep: str, runs: Sequence[Run], caps: dict[str, int], resamples: int, seed: int, out: Path, parts: Path | None = None
) -> None:
    """Publish `table.csv`, `figure.json` (Vega-Lite), `figure.svg`, `figure.png` and `finding.md`.

    Args:
        sweep: its name.
        runs: with their predictions.
        caps: `meta_tasks` and `eval_tasks`, of every run; 0 for none.
        resamples: of an interval and of a test.
        seed: of the resampling.
        out: the folder.
        parts: the artifact of the split, for a sweep whose figure needs the number of training tools and of their questions.

    Raises:
        UserError: E-CORRUPT or E-MISSING for inputs; E-UNPAIRED if the methods of a point have different tasks.
    """
    made = table(runs, resamples, seed, getattr(module(sweep), "ALONG", ""))
    counted = {} if parts is None else {"largest": trained_on(parts)}
    drawn = module(sweep).figure(made, **counted).configure(**CONFIG | {"background": "white"}).to_json()
    told = module(sweep).finding(made, caps)
    inputs = [Path(file) for file in dict.fromkeys(file for run in runs for file in run.files)]
    inputs += [] if parts is None else [parts / QUESTIONS]
    with publishing(out, FILES, producer="sweep", inputs=inputs) as paths:
        made.write_csv(paths["table.csv"])
        paths["figure.json"].write_text(drawn + "\n", encoding="utf-8")
        paths["figure.svg"].write_text(vl_convert.vegalite_to_svg(drawn), encoding="utf-8")
        paths["figure.png"].write_bytes(vl_convert.vegalite_to_png(drawn, scale=SCALE))
        paths["finding.md"].write_text(told + "\n", encoding="utf-8")


def trained_on(parts: Path) -> dict[str, int]:
    """Return how many `tools` a split trains on, and how many `questions` of each on average, to the next whole number.

    They are the questions that no other tool answers, and the tools with such a question.

    Raises:
        UserError: E-CORRUPT or E-MISSING.
    """
    asked = pl.scan_parquet(verify(parts / QUESTIONS)).filter(pl.col("part") == "train", pl.col("also").list.len() == 0)
    tools, questions = asked.select(pl.col("tool").n_unique(), questions=pl.len()).collect().row(0)
    return {"tools": tools, "questions": round(questions / tools)}
