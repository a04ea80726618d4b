"""The data dictionary: what stands in each column of each table that passes between stages.

Frames are checked after they are collected (on a LazyFrame pandera looks at types alone), strictly and all at once.
"""

from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from metatoolagent import artifacts, columns
from metatoolagent.errors import Exit, Finding, raise_findings, shown

PARTS = ["train", "validation", "test"]
KINDS = ["direct", "indirect", "context_first", "terse", "goal", "distracting", "disfluent", "multi_sentence"]
TEXT = pa.Check.str_length(min_value=1)
TEXTS = pl.List(pl.String)
Table = pa.DataFrameSchema


def _table(what: str, columns: dict[str, pa.Column], sorted_by: list[str]) -> Table:
    return Table(columns, strict=True, ordered=True, title=what, metadata={"sorted_by": sorted_by})


def _text(description: str, *, unique: bool = False) -> pa.Column:
    return pa.Column(pl.String, TEXT, unique=unique, description=description)


def _one_of(values: list[str], description: str, *, nullable: bool = False) -> pa.Column:
    return pa.Column(pl.String, pa.Check.isin(values), nullable=nullable, description=description)


def _index(dtype: type[pl.DataType], description: str) -> pa.Column:
    return pa.Column(dtype, pa.Check.ge(0), description=description)


DOMAIN = _text("the domain: the stem of the file that it was read from")
NAME = _text("the tool's name, unique in the catalog", unique=True)
PART = _one_of(PARTS, "the part of the split that the tool is in, and all its questions with it")
QUESTION_ID = "frame_id and the number of the filling, from 1"

TOOLS = _table(
    "tools",
    {
        "name": NAME,
        "domain": DOMAIN,
        "description": _text("what the tool does, as its documentation says"),
        "parameters": _text("JSON Schema (2020-12) of its arguments, as JSON text with sorted keys"),
    },
    sorted_by=["domain", "name"],
)

_QUESTION_COLUMNS = {
    "question_id": _text(QUESTION_ID, unique=True),
    "frame_id": _text("the sentence frame: the gold tool's name and the first 8 hexadecimal digits of the frame's SHA-256"),
    "tool": _text("the gold tool"),
    "also": pa.Column(TEXTS, description="other tools that answer the question too; never distractors"),
    "domain": DOMAIN,
    "kind": _one_of(KINDS, "the manner in which the question is put; null where its author does not say", nullable=True),
    "question": _text("the user's request"),
    "arguments": _text("the gold arguments of the call, as JSON text with sorted keys"),
}
QUESTIONS = _table("questions", _QUESTION_COLUMNS, sorted_by=["question_id"])

CHAIN_ID = _text("`chain-` and the first 8 hexadecimal digits of the question's SHA-256", unique=True)
ALSO = pa.Column(TEXTS, description="tools that would do a step as well; never distractors")
CHAINS = _table(
    "chains",
    {
        "chain_id": CHAIN_ID,
        "tools": pa.Column(TEXTS, description="the gold tools, in the order of their calls"),
        "also": ALSO,
        "domain": _text("the domain of all the tools, or `mixed`"),
        "kind": _one_of(KINDS, "the manner in which the question is put; null where its author does not say", nullable=True),
        "question": _text("the user's request"),
    },
    sorted_by=["chain_id"],
)

REJECTED = _table(
    "rejected rows",
    {
        "file": _text("the file that the row stands in"),
        "line": pa.Column(pl.Int32, pa.Check.ge(1), description="the line of the field, from 1"),
        "field": pa.Column(pl.String, description="the field, by its path in the entry; empty for a whole entry or file"),
        "value": pa.Column(pl.String, description="what was found there, cut to 200 characters"),
        "code": _text("the error's code"),
        "reason": _text("what is wrong, and how to mend it"),
    },
    sorted_by=["file", "line", "field", "code", "reason"],
)
"""A row for each finding. A run that went on without the rows (`ingest.allow_rejected`) publishes them as `rejected.parquet`,
beside the tables that it made; one that stopped publishes nothing, and leaves them in `errors/rejected.parquet`."""

_PLACE = {
    "file": _text("the published file, as data/sources.tsv names it"),
    "row": _text("the row: its line, or the path of its entry in the file"),
}
_PUBLISHED = _text("what its benchmark calls the tool")
PUBLISHED = _table("published names", {"name": NAME, "published": _PUBLISHED, **_PLACE}, sorted_by=["name"])
EXCLUDED = _table(
    "rows that are left out",
    {
        **_PLACE,
        "table": _one_of(["tool", "question", "chain"], "the table that the row would be in"),
        "code": _text("the code of the reason"),
        "reason": _text("why the row is left out"),
    },
    sorted_by=["file", "table", "row"],
)

TOOL_PARTS = _table("the parts of tools", {"name": NAME, "domain": DOMAIN, "part": PART}, sorted_by=["domain", "name"])
QUESTION_PARTS = _table("the parts of questions", _QUESTION_COLUMNS | {"part": PART}, sorted_by=["question_id"])

_CHOICE_COLUMNS = {
    "question_id": _text(QUESTION_ID),
    "candidates": pa.Column(TEXTS, description="the tools to choose from, in the order in which the model sees them"),
    "gold": _text("the gold tool; `none of these` where that is offered and right"),
    "position": _index(pl.Int16, "where the gold tool stands in candidates, from 0"),
}

META_TASKS = _table(
    "meta-tasks",
    {
        "meta_task": _index(pl.Int32, "number of the meta-task, from 0"),
        "role": _one_of(["support", "query"], "the inner loop's tasks or the outer loss's"),
        "pack": _index(pl.Int16, "number of the pack within the role, from 0; its tasks share the candidate set and its order"),
        "task": _index(pl.Int16, "number of the task within the pack, from 0"),
        **_CHOICE_COLUMNS,
        "documentation": pa.Column(
            pl.Boolean, description="whether the first sentence of the gold tool's documentation is asked instead of the question"
        ),
    },
    sorted_by=[],
)

_EVAL_COLUMNS = {
    "task_id": _text("pool and number, such as all-000017; the same number is the same question in both pools", unique=True),
    "pool": _one_of(["all", "unseen"], "distractors from the whole catalog, or from tools that no training question has"),
    "part": PART,
    **_CHOICE_COLUMNS,
}
EVAL_TASKS = _table("evaluation tasks", _EVAL_COLUMNS, sorted_by=[])

_ATTACK_COLUMNS = {
    "attacked": _text("the distractor whose description carries the instruction, or would"),
    "attack": pa.Column(pl.String, TEXT, nullable=True, description="the name of the attack; null for the task as it is"),
    "instruction": pa.Column(pl.String, TEXT, nullable=True, description="what the description ends with; null likewise"),
}
INJECTED_TASKS = _table("tasks of probe injection", _EVAL_COLUMNS | _ATTACK_COLUMNS, sorted_by=[])


def _predictions(of: str, pattern: str, told: str, more: dict[str, pa.Column] | None = None) -> Table:
    """Return the table of a method's answers: what was asked, then what it selected."""
    asked = {
        "task_id": pa.Column(pl.String, pa.Check.str_matches(pattern), description=told),
        "position": _index(pl.Int64, "where the gold tool stands in candidates, from 0"),
    }
    selected = {
        "log_probabilities": pa.Column(
            pl.List(pl.Float32), nullable=True, description="of each candidate's name, in nats; null if the method has none"
        ),
        "scored": _text("the candidate with the highest one"),
        "free": pa.Column(pl.String, nullable=True, description="the candidate that the greedy answer names; null if none"),
        "free_text": pa.Column(pl.String, description="the greedy answer"),
        "reasoning": pa.Column(pl.String, nullable=True, description="what was generated before it; null if nothing was"),
        # Predictions of an earlier version do not have it.
        "reasoning_end": pa.Column(
            pl.String,
            pa.Check.isin(["line", "turn", "cut"]),
            nullable=True,
            required=False,
            description="what ended the reasoning: the line of the answer, the model's turn or the budget; null if nothing was",
        ),
        "outcome": _one_of([*OUTCOMES], "what became of the free answer"),
    }
    return _table(f"predictions{of}", {**_EVAL_COLUMNS, **asked, **(more or {}), **selected}, sorted_by=[])


OUTCOMES = ("right", "wrong", "other_tool", "none", "cut")
"""Of free answers; `evaluation/predicting.py` says what each means."""
PREDICTIONS = _predictions("", r"^(all|unseen)-\d+$", "pool and number, such as all-000017; no probe's")
PROBE_PREDICTIONS = {
    "abstention": _predictions(" of probe abstention", r"^.+-(absent|present)$", "such as all-000017-absent"),
    "rotation": _predictions(" of probe rotation", r"^.+-turn\d+$", "such as all-000017-turn2"),
    "injection": _predictions(" of probe injection", ".+", "such as all-000017-always", _ATTACK_COLUMNS),
    "adaptation": _predictions(
        " of probe adaptation", ".+", "such as unseen-000017", {"steps": _index(pl.Int64, "inner steps before the answer")}
    ),
}

_CHAIN_COLUMNS = {
    "task_id": CHAIN_ID,
    "part": _one_of(PARTS, "the part of its least unseen tool: test only where every tool is in it"),
    "question": _text("the user's request"),
    "candidates": pa.Column(
        TEXTS, description="the tools to choose from at every step, in the order in which the model sees them"
    ),
    "gold": pa.Column(TEXTS, description="the gold tools, in the order of their calls"),
}
CHAIN_TASKS = _table("chain tasks", _CHAIN_COLUMNS, sorted_by=["task_id"])
CHAIN_PREDICTIONS = _table(
    "choices on chains",
    {
        **_CHAIN_COLUMNS,
        "scored": pa.Column(
            TEXTS, description="the most probable tool of each step that was not called yet, after its own choices"
        ),
        "free": pa.Column(TEXTS, description="the greedy answers, after its own; they end where one names no candidate"),
        "forced": pa.Column(TEXTS, description="as scored, but at each step after the gold tools of the steps before"),
    },
    sorted_by=["task_id"],
)

UNUSED_QUESTIONS = _table(
    "unused questions",
    {
        "question_id": _text(QUESTION_ID, unique=True),
        "tool": _text("the gold tool"),
        "domain": DOMAIN,
        "distractors": _index(pl.Int32, "how many distractors there are for it, which is fewer than were asked for"),
    },
    sorted_by=["question_id"],
)

_SHARE = pa.Check.in_range(0, 1)
_MEASURED = {
    "split": _text("the split, or the benchmark and its candidate sets"),
    "method": _text("the method"),
    "pool": _one_of(["all", "unseen"], "the pool that the distractors come from"),
    "reading": _one_of(["free", "scored"], "how the selection is read off the method"),
}
BREAKDOWNS = _table(
    "breakdowns",
    {
        **_MEASURED,
        "axis": _one_of(["domain", "kind", "position", "style", "candidates"], "by what the tasks are parted"),
        "value": _text(
            "the value on the axis: a position counts from 0, a style is of the gold tool's name, candidates is a number"
        ),
        "n": pa.Column(pl.Int32, pa.Check.ge(1), description="tasks"),
        "tools": pa.Column(pl.Int32, pa.Check.ge(1), description="gold tools, which are the clusters of the interval"),
        "accuracy": pa.Column(pl.Float64, _SHARE, description="share of the tasks in which the gold tool is selected"),
        "low": pa.Column(pl.Float64, _SHARE, description="lower end of its 95 % interval"),
        "high": pa.Column(pl.Float64, _SHARE, description="upper end"),
    },
    sorted_by=[],
)
CONFUSIONS = _table(
    "confusions",
    {
        **_MEASURED,
        "gold": _text("the gold tool"),
        "distractor": _text("another candidate"),
        "siblings": pa.Column(pl.Boolean, description="whether the two are of one domain"),
        "offered": pa.Column(pl.Int32, pa.Check.ge(1), description="tasks of the gold tool with this candidate"),
        "selected": _index(pl.Int32, "those in which it is selected"),
    },
    sorted_by=[],
)


def checked(frame: pl.DataFrame, schema: Table, source: str) -> pl.DataFrame:
    """Return `frame` if it is what `schema` describes.

    Args:
        frame: a collected frame.
        schema: one of this module's tables.
        source: the file or stage that the frame comes from, for the error.

    Raises:
        UserError: E-SCHEMA if it has other columns; else with every column and row that is not as described.
    """
    what = schema.title or "this kind"
    if set(frame.columns) not in map(set, _columns(schema)):
        raise columns.another(source, what, list(schema.columns), f"columns {', '.join(frame.columns)}")
    findings = []
    try:
        schema.validate(frame, lazy=True)
        keys = (schema.metadata or {})["sorted_by"]
        if keys and not frame.select(keys).equals(frame.select(keys).sort(keys)):
            findings.append(Finding("E-SCHEMA", f"rows are not sorted by {', '.join(keys)}", source, fix="sort them so"))
    except SchemaErrors as error:
        for case in error.failure_cases.iter_rows(named=True):
            # A column of another type fails its other checks too, each with an error of polars and without a row.
            if case["check_number"] is None or case["index"] is not None:
                findings.append(_finding(case, schema, source))
    raise_findings(findings, kept=artifacts.KEPT, exit_code=Exit.ARTIFACT)
    return frame


def _finding(case: dict[str, Any], schema: Table, source: str) -> Finding:
    """Return a failure as pandera tells it in our words."""
    name, check, got = case["column"], case["check"], shown(case["failure_case"])
    if name is None:
        return Finding("E-SCHEMA", "a column is not in its place", source, got, f"the order is {', '.join(schema.columns)}")
    said = {"not_nullable": "a value is missing", "field_uniqueness": "a value stands twice"}
    said |= {f"dtype('{schema.columns[name].dtype}')": f"a column is not of type {schema.columns[name].dtype}"}
    where = f"{source}, column {name}" + ("" if case["index"] is None else f", row {case['index']}")
    fix = f"in a table of {schema.title or 'this kind'}, {name} is: {schema.columns[name].description or check}"
    return Finding("E-SCHEMA", said.get(check, f"a value is not as described: {check}"), where, got, fix)


def read(path: Path, schema: Table) -> pl.DataFrame:
    """Return a published table, checked against its manifest and its schema.

    Raises:
        UserError: E-MISSING, E-CORRUPT or E-SCHEMA.
    """
    return checked(columns.read(path, schema.title or "", *_columns(schema)), schema, str(path))


def _columns(schema: Table) -> list[list[str]]:
    """Return the columns that a table may have: all, and those without which it is another one."""
    return [list(schema.columns), [name for name, column in schema.columns.items() if column.required]]


def write(frame: pl.DataFrame, schema: Table, path: Path) -> None:
    """Check a table and write it; equal frames give equal bytes.

    Raises:
        UserError: E-SCHEMA.
    """
    checked(frame, schema, path.name).write_parquet(path, compression="zstd", compression_level=3)
