"""What a chain or sweep target ended in, for the page: its paragraphs, its figure, the rows that its paragraphs tell of."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import vl_convert

from metatoolagent.artifacts import read_manifest, verify
from metatoolagent.errors import Exit, UserError
from metatoolagent.look import CONFIG, MARKS, VEGA_LITE
from metatoolagent.reporting.numbers import p_value

FILES = ("finding.md", "figure.json", "table.csv")
"""The files of a target's folder that the page shows."""
CHAINS = "multi_tool"
"""The target that is no sweep."""
TITLES = {
    "table2": "Every method on every split, over training seeds",
    "compare": "Fine-tuning against every hypergradient",
    "distractors": "Distractors in training against distractors in evaluation",
    "scale": "A ladder of backbones",
    "queries": "Query tasks, training tools and the generalization gap",
    "sensitivity": "How much each hyper-parameter matters",
    "search": "The search for the defaults, on validation tools",
    "overlap": "Candidates whose documentation overlaps",
    CHAINS: "Questions that need several tools in order",
}
HEADLINE = {"pool": "all", "reading": "scored", "seed": "all", "chains": "test", "length": "all"}
"""The rows of a table that the page shows, and that the paragraphs are about, by the columns that the table has."""
NUMBERS = ("seeds", "n", "value", "low", "high", "p", "p_holm")
"""The columns of a table that are no part of a row's name."""


@dataclass(frozen=True)
class Outcome:
    """What a target ended in."""

    name: str
    title: str
    finding: Sequence[str]
    """Paragraphs."""
    image: str
    """The figure, as a `data:` address."""
    columns: Sequence[str]
    """Of the table, before the number, its interval, its p-value and the number of tasks."""
    rows: Sequence[dict[str, Any]]
    """`names`, a text for each of the columns, `value`, `interval`, `p` and `n`; differences come last."""
    path: str
    """Of the whole table."""


def read(name: str, folder: Path) -> Outcome:
    """Return what a target ended in.

    Args:
        name: a key of `TITLES`.
        folder: with `FILES`.

    Raises:
        UserError: E-CORRUPT or E-MISSING; E-PROGRAMME (exit code 64) if the folder is another target's.
    """
    _require_of(name, folder)
    finding, figure, table = (verify(folder / file) for file in FILES)
    made = headline(pl.read_csv(table, infer_schema_length=None))
    columns = [column for column in made.columns if column not in NUMBERS and column != "against"]
    return Outcome(
        name,
        TITLES[name],
        [text.strip() for text in finding.read_text(encoding="utf-8").split("\n\n") if text.strip()],
        image(json.loads(figure.read_text(encoding="utf-8"))),
        columns,
        [_row(row, columns) for row in made.to_dicts()],
        table.as_posix(),
    )


def _require_of(name: str, folder: Path) -> None:
    """Refuse the folder of another target, whose results would stand under the title of this one.

    Raises:
        UserError: E-MISSING or E-CORRUPT; E-PROGRAMME.
    """
    producer, made = read_manifest(folder)["producer"], "report_chains" if name == CHAINS else "sweep"
    # All sweeps are published by one stage; the workflow names a folder after its sweep.
    if producer != made or folder.resolve().name != name:
        what, where = f"this is not the folder of {name}", f"{folder} (option --programme)"
        fix = f"name the folder that its target made: results/{'' if name == CHAINS else 'sweep/'}{name}"
        raise UserError("E-PROGRAMME", what, where, f"published by {producer}", fix, exit_code=Exit.PARAMS)


def headline(made: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of `HEADLINE` without the columns that are the same in all of them, accuracies before differences."""
    chosen = {column: value for column, value in HEADLINE.items() if column in made.columns}
    rows = made.filter(**chosen).drop(chosen)
    return pl.concat([rows.filter(pl.col("against").is_null()), rows.filter(pl.col("against").is_not_null())])


def image(spec: dict[str, Any]) -> str:
    """Return a Vega-Lite figure in the look of the page, as a `data:` address of an SVG."""
    svg = vl_convert.vegalite_to_svg(json.dumps(marked(spec) | {"config": CONFIG}), vl_version=VEGA_LITE)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def marked(node: Any, rows: Any = None) -> Any:
    """Return a Vega-Lite figure in which each method has the colour that it has in all others.

    One that colours by something else, or has a method without a mark, stays as it is.

    Args:
        node: the figure, or a part of it.
        rows: all rows of the figure; those of `node` where left out.
    """
    if isinstance(node, list):
        return [marked(part, rows) for part in node]
    if not isinstance(node, dict):
        return node
    if rows is None:
        rows = [row for data in node.get("datasets", {}).values() for row in data]
    found = {key: value if key == "datasets" else marked(value, rows) for key, value in node.items()}
    methods = list(dict.fromkeys(row["method"] for row in rows if "method" in row))
    colour = found.get("color")
    if isinstance(colour, dict) and colour.get("field") == "method" and set(methods) <= set(MARKS):
        found["color"] = colour | {"scale": {"domain": methods, "range": [MARKS[method][0] for method in methods]}}
    return found


def _row(row: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    against = row["against"]
    names = [f"{row[column]} − {against}" if column == "method" and against else _text(row[column]) for column in columns]
    sign = "+" if against else ""
    value, low, high = (f"{100 * row[name]:{sign}.1f}" for name in ("value", "low", "high"))
    p = "" if row["p_holm"] is None else p_value(row["p_holm"])
    return {"names": names, "value": value, "interval": f"{low} to {high}", "p": p, "n": row["n"]}


def _text(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
