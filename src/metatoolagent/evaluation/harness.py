"""Evaluation tasks for lm-evaluation-harness: prompts and answers as text, so that any model can be measured on them.

The harness joins a context and a continuation, tokenizes the whole, and takes what follows the context's own tokens for
the continuation. Three things make its choice ours: the prompt is written out as it is (so no chat template is applied), each
answer ends with the end of its line (without it a name that begins another one would win too often), and the measure is `acc`,
which compares sums of log-probabilities (`acc_norm` divides them by the length).

Text that a tokenizer joins across our boundaries, or reads as a special token, is other tokens there than here. Every prompt
with every answer is looked at, and the tasks in which one differs are counted.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
import yaml

from metatoolagent import artifacts, columns, known
from metatoolagent.catalog import schemas
from metatoolagent.errors import Exit, UserError
from metatoolagent.models.backbone import load_tokenizer
from metatoolagent.tasks.prompts import asking, listing, read_template
from metatoolagent.tasks.rendering import Renderer, Row

PRODUCER = "export_lm_eval"
TABLE = schemas.Table(
    {
        **{name: schemas.EVAL_TASKS.columns[name] for name in ("task_id", "question_id", "candidates", "gold", "position")},
        "prompt": pa.Column(
            pl.String, schemas.TEXT, description="the candidate set and the question, up to where the answer starts"
        ),
        "answers": pa.Column(schemas.TEXTS, description="each candidate's name with the end of its line"),
    },
    strict=True,
    ordered=True,
    metadata={"sorted_by": ["task_id"]},
)
README = """# Tool selection, as tasks of lm-evaluation-harness

Run in this folder (the tasks name their data beside them):

```bash
lm_eval --model hf --model_args pretrained=MODEL,dtype=float32 --tasks metatoolagent,metatoolagent_free --include_path .
```

`MODEL` is a hub id or a folder. The prompts are plain lines, so they are the same for every model; the column below was counted
with the tokenizer of `{backbone}`. Do not pass `--apply_chat_template`: `mta evaluate` asks without it.

| task | tasks | read otherwise |
|---|---:|---:|
{table}

`acc` of a task is `scored` of `mta results`: the candidate whose name is most probable, with the end of its line.
`exact_match` of the task of the same name with `_free` at its end is `free`: an answer may have {limit} tokens here, enough for
the name of every candidate, which `mta evaluate` never cuts. Only a name in other tokens than the tokenizer's own can be cut
there and right here.
Read otherwise: tasks of which the tokenizer makes other tokens than `mta evaluate` does; where it is 0, both choose the same in
float32 (`backbone.dtype`; `auto` may be bfloat16, with another choice where two names are nearly as probable).
"""


@dataclass(frozen=True)
class Source:
    """The evaluation tasks of a split."""

    tasks: Path
    """Their file."""
    catalog: Path
    """The folder with the tables of the catalog that they are drawn from."""

    def read(self, renderer: Renderer) -> pl.DataFrame:
        """Return the tasks.

        Args:
            renderer: of the catalog.

        Raises:
            UserError: E-MISSING or E-CORRUPT; E-SCHEMA for another table; E-STALE for tasks of another catalog.
        """
        tasks = columns.read(self.tasks, "evaluation tasks", columns.EVAL_TASKS, columns.INJECTED_TASKS)
        if "instruction" in tasks.columns:
            what = "tasks with injected instructions are not exported: a task is written as its catalog documents the tools"
            fix = "name the tasks of a split, a benchmark or another probe"
            raise UserError("E-SCHEMA", what, str(self.tasks), fix=fix, kept=artifacts.KEPT, exit_code=Exit.ARTIFACT)
        tasks = schemas.checked(tasks, schemas.EVAL_TASKS, str(self.tasks))
        known.require(tasks["candidates"].explode(), renderer.entries, self.catalog)
        known.require(tasks["question_id"], renderer.questions, self.catalog)
        return tasks


def export(sources: Mapping[str, Source], backbone: Path, max_new_tokens: int, out: Path) -> dict[str, int]:
    """Publish the tasks of some splits, a table and two task files for each split, part and pool, with a README.

    Args:
        sources: the evaluation tasks of each split, by the split's name.
        backbone: a folder with the tokenizer and chat template of a model; its weights are not read.
        max_new_tokens: limit of a free answer that is no candidate's name; the harness's is as long as the longest name at least,
            since it has one limit for all answers.
        out: the folder of the artifact.

    Returns:
        How many tasks of each table the harness reads as other tokens than `mta evaluate`.

    Raises:
        UserError: E-MISSING, E-CORRUPT or E-SCHEMA for the tables; E-STALE for tasks of another catalog; E-BACKBONE or E-TEMPLATE
            for the backbone.
    """
    catalogs = dict.fromkeys(source.catalog for source in sources.values())
    renderers = {catalog: open_renderer(catalog, backbone) for catalog in catalogs}
    tables: dict[str, pl.DataFrame] = {}
    differing: dict[str, int] = {}
    limit = max_new_tokens
    for split, source in sources.items():
        renderer = renderers[source.catalog]
        tasks = source.read(renderer)
        limit = max([limit, *(len(renderer.answers[name]) for name in tasks["candidates"].explode())])
        for (part, pool), group in tasks.group_by("part", "pool", maintain_order=True):
            rows = group.sort("task_id").to_dicts()
            key = f"{split}-{part}-{pool}"
            documents = [document(renderer, row) for row in rows]
            tables[key] = pl.DataFrame(documents, schema_overrides={"position": pl.Int16}).select(list(TABLE.columns))
            differing[key] = sum(differs(renderer, item) for item in documents)
    inputs = [source.tasks for source in sources.values()]
    inputs += [catalog / name for catalog in renderers for name in ("tools.parquet", "questions.parquet")]
    with artifacts.publishing(out, _names(tables), producer=PRODUCER, inputs=inputs, extra={"differing": differing}) as paths:
        for key, table in tables.items():
            schemas.write(table, TABLE, paths[f"{key}.parquet"])
            for name, content in (key, scored(key)), (f"{key}-free", free(key, limit)):
                paths[f"{name}.yaml"].write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        lines = [f"| {_task(key)} | {len(table)} | {differing[key]} |" for key, table in tables.items()]
        text = README.format(backbone=backbone.as_posix(), table="\n".join(lines), limit=limit)
        paths["README.md"].write_text(text, encoding="utf-8")
    return differing


def open_renderer(catalog: Path, backbone: Path) -> Renderer:
    """Return what renders tasks over a catalog with a model's chat template, however long they are.

    Raises:
        UserError: E-MISSING or E-CORRUPT for the catalog; E-BACKBONE or E-TEMPLATE for the backbone.
    """
    try:
        tokenizer = load_tokenizer(backbone)
    except (OSError, ValueError) as error:
        what = f"no tokenizer can be read there: {str(error).splitlines()[0]}"
        fix = "run: snakemake --cores all backbone, or name a model's folder"
        raise UserError("E-BACKBONE", what, str(backbone), fix=fix, exit_code=Exit.ARTIFACT) from None
    return Renderer(catalog, read_template(tokenizer), context=sys.maxsize)


def document(renderer: Renderer, row: Row) -> dict[str, Any]:
    """Return a row of the table: a task as text, which no tokenizer has a part in."""
    kept = {name: row[name] for name in ("task_id", "question_id", "candidates", "gold", "position")}
    listed = listing([renderer.entries[name] for name in row["candidates"]])
    prompt = listed + asking(renderer.questions[row["question_id"]])
    return kept | {"prompt": prompt, "answers": [f" {name}\n" for name in row["candidates"]]}


def differs(renderer: Renderer, task: Mapping[str, Any]) -> bool:
    """Return whether the tokenizer makes other tokens of the text of a document than the task has."""
    texts = [task["prompt"] + answer for answer in task["answers"]]
    read = renderer.template.tokenizer(texts, add_special_tokens=False).input_ids
    prompt = _prompt(renderer, task)
    return any(list(found) != prompt + renderer.answers[name] for found, name in zip(read, task["candidates"], strict=True))


def scored(key: str) -> dict[str, Any]:
    """Return the task file of the choice by score."""
    acc = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
    return {
        "task": _task(key),
        "tag": "metatoolagent",
        **_data(key),
        "output_type": "multiple_choice",
        "doc_to_choice": "answers",
        "doc_to_target": "position",
        "metric_list": [acc],
    }


def free(key: str, limit: int) -> dict[str, Any]:
    """Return the task file of the free answer: greedy, and right if it is the gold tool's name and nothing else."""
    exact = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    stripped = [{"function": "regex", "regex_pattern": r"(?s)^\s*(.*?)\s*\Z"}, {"function": "take_first"}]
    return {
        "task": f"{_task(key)}_free",
        "tag": "metatoolagent_free",
        **_data(key),
        "output_type": "generate_until",
        "doc_to_target": "gold",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": limit, "do_sample": False},
        "filter_list": [{"name": "stripped", "filter": stripped}],
        "metric_list": [exact],
    }


def _data(key: str) -> dict[str, Any]:
    """Return what both task files say of the data: where it lies, and that nothing stands between prompt and answer."""
    return {
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": f"{key}.parquet"}},
        "test_split": "test",
        "num_fewshot": 0,
        "doc_to_text": "prompt",
        "target_delimiter": "",
        "metadata": {"version": 1},
    }


def _task(key: str) -> str:
    return f"metatoolagent_{key.replace('-', '_')}"


def _names(tables: Mapping[str, pl.DataFrame]) -> list[str]:
    return ["README.md", *(f"{key}{end}" for key in tables for end in (".parquet", ".yaml", "-free.yaml"))]


def _prompt(renderer: Renderer, row: Row) -> list[int]:
    # Without the beginning of every text, which the harness adds where the tokenizer does.
    return [*renderer.lines(row["candidates"]), *renderer.line(row["question_id"])]
