"""Chain tasks: a question, its gold tools in order, and one candidate set for all steps.

A chain is unseen if none of its tools is in training; only those are tasks. The candidates are all its gold tools and
distractors from the whole catalog, which are drawn for each chain alone, so that a chain more changes no other task.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from metatoolagent import artifacts, known
from metatoolagent.catalog import schemas
from metatoolagent.catalog.similar import similar_pairs
from metatoolagent.errors import Finding, UserError, raise_findings, shown
from metatoolagent.tasks.distractors import generator_of, require
from metatoolagent.tasks.rendering import Row

FILE = "chain_tasks.parquet"
LEAST_UNSEEN = ("train", "validation", "test")


def materialize(
    chains: Path, catalog: Path, split: Path | None, distractors: int, seed: int, near_duplicate: float, out: Path
) -> None:
    """Publish `chain_tasks.parquet`; the manifest says how many chains were left out because a tool of theirs is seen.

    Args:
        chains: the table of chains.
        catalog: the folder of the tools that they are over.
        split: the folder of the parts of tools and questions; None for a benchmark, all of whose tools are unseen.
        distractors: wrong tools in each candidate set, beside the gold ones.
        seed: the experiment's seed.
        near_duplicate: a chain whose question has at least this trigram similarity to a training question is a leak.
        out: the folder of the artifact.

    Raises:
        UserError: E-CHAINS if no chain is unseen, E-SPLIT-LEAK, E-DISTRACTORS, E-STALE if the chains name other tools, or an
            error of the inputs.
    """
    sources = [chains, catalog / "tools.parquet"]
    rows = schemas.read(chains, schemas.CHAINS).to_dicts()
    tools = schemas.read(sources[1], schemas.TOOLS)["name"].to_list()
    parts = dict.fromkeys(tools, "test")
    called = [name for row in rows for name in row["tools"]]
    known.require(called, parts, chains)
    if split:
        sources += [split / "tools.parquet", split / "questions.parquet"]
        parts = dict(schemas.read(sources[2], schemas.TOOL_PARTS).select("name", "part").iter_rows())
        known.require(called, parts, split)
        _refuse_leaks(rows, schemas.read(sources[3], schemas.QUESTION_PARTS), parts, near_duplicate)
    unseen = [row for row in rows if part_of(row["tools"], parts) != "train"]
    if not unseen:
        fix = "add chains over tools of the test part"
        raise UserError("E-CHAINS", "every chain has a tool that is trained on", str(chains), fix=fix, kept=artifacts.KEPT)
    require({f"chain {row['chain_id']}": len(tools) - len({*row["tools"], *row["also"]}) for row in unseen}, distractors)
    records = [
        {
            "task_id": row["chain_id"],
            "part": part_of(row["tools"], parts),
            "question": row["question"],
            "candidates": candidates(row, tools, distractors, seed),
            "gold": row["tools"],
        }
        for row in unseen
    ]
    with artifacts.publishing(
        out, [FILE], producer="materialize_chains", inputs=sources, extra={"seen": len(rows) - len(unseen)}
    ) as paths:
        schemas.write(pl.DataFrame(records).sort("task_id"), schemas.CHAIN_TASKS, paths[FILE])


def part_of(tools: list[str], parts: Mapping[str, str]) -> str:
    """Return the part of the least unseen of some tools."""
    return min((parts[name] for name in tools), key=LEAST_UNSEEN.index)


def candidates(chain: Row, tools: list[str], distractors: int, seed: int) -> list[str]:
    """Return the gold tools and the distractors of a chain, in random order; none of `also` is among them."""
    generator = generator_of(seed, "chain_tasks", chain["chain_id"])
    allowed = [name for name in tools if name not in {*chain["tools"], *chain["also"]}]
    drawn = [allowed[index] for index in generator.choice(len(allowed), distractors, replace=False)]
    names = [*chain["tools"], *drawn]
    return [names[index] for index in generator.permutation(len(names))]


def _refuse_leaks(rows: Sequence[Row], questions: pl.DataFrame, parts: Mapping[str, str], near_duplicate: float) -> None:
    training = questions.filter(pl.col("part") == "train")["question"].to_list()
    unseen = [row["question"] for row in rows if part_of(row["tools"], parts) != "train"]
    what, fix = "a chain asks nearly what a training question asks", "reword the chain"
    pairs = similar_pairs(training, unseen, near_duplicate)
    findings = [Finding("E-SPLIT-LEAK", what, shown(unseen[two]), shown(training[one]), fix) for one, two in pairs]
    raise_findings(findings, kept=artifacts.KEPT)
