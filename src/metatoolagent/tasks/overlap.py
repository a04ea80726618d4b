"""Documentation that overlaps: the tasks of the main run again, over tools whose descriptions have been made alike.

Two transformations, both from the seed:

- a share p of shared words. A description of n words keeps every one of them, in order and unchanged, and k = round(n p /
  (1 - p)) words are scattered among them, so that they are the share p of all its words. They are the first k of one
  sequence for the whole catalog: every word of its descriptions once, in random order, and again if that is too short. So
  a tool with a longer text shares more of the sequence. Names, parameters, questions and candidate sets stay.
- siblings. Every distractor is replaced by a copy of the gold tool. The description of each ends with one sentence more,
  `It is open to ....`: to everybody for the gold tool, and for each copy to a group that no question comes from. All of
  them, the gold tool too, get two random letters behind the name.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from metatoolagent import artifacts
from metatoolagent.catalog import schemas
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.known import stale
from metatoolagent.tasks.distractors import generator_of

SIBLINGS = "siblings"
POOL = "all"
CATALOG, TASKS = ["tools.parquet", "questions.parquet"], ["eval_tasks.parquet"]
EVERYBODY = "everybody"
OTHERS = (
    "the vendor's own technicians alone",
    "accounts that were closed before 2010 alone",
    "the crew of research vessels alone",
    "automatic test runs alone",
    "holders of a diplomatic passport alone",
    "the former beta programme alone",
    "visitors of the trade fair stand alone",
    "customers in Antarctica alone",
    "the night watch of the data centre alone",
    "auditors of the regulator alone",
    "members of the founding committee alone",
    "people who lease a tram alone",
    "licensed lighthouse keepers alone",
    "subscribers of the printed edition alone",
    "delegates of partner cities alone",
    "the instructors of the flight school alone",
    "retired employees alone",
    "museums with a telegraph line alone",
    "the organisers of the chess league alone",
    "owners of a model from 1998 alone",
)
"""Whom a sibling is open to."""
LETTERS = "bcdfghjklmnpqrstvwxz"


def materialize(kind: str, catalog: Path, tasks: Path, seed: int, out: Path) -> None:
    """Publish the artifacts `catalog` (tools and questions) and `tasks` (`eval_tasks.parquet`, pool `all`) of a variant.

    Args:
        kind: the shared words in per cent, 0 to 90, or `siblings`.
        catalog: the folder of the ingested catalog.
        tasks: the evaluation tasks that are asked again.
        seed: the experiment's seed.
        out: the folder of both artifacts.

    Raises:
        UserError: E-OVERLAP (exit code 64) for another kind, E-DISTRACTORS, or an error of the inputs.
    """
    if kind not in (SIBLINGS, *map(str, range(91))):
        fix = f"0 to 90 per cent, or {SIBLINGS}"
        raise UserError("E-OVERLAP", "no such overlap", "argument KIND", shown(kind), fix, exit_code=Exit.PARAMS)
    sources = [catalog / name for name in CATALOG]
    tools, questions = schemas.read(sources[0], schemas.TOOLS), schemas.read(sources[1], schemas.QUESTIONS)
    asked = schemas.read(tasks, schemas.EVAL_TASKS).filter(pl.col("pool") == POOL)
    if missing := sorted({*asked["gold"], *asked["candidates"].explode()} - set(tools["name"])):
        raise stale("the tasks name tools that the catalog does not have", ", ".join(missing[:3]))
    if kind == SIBLINGS:
        tools, questions, asked = with_siblings(tools, questions, asked, seed)
    else:
        texts = share_words(dict(tools.select("name", "description").iter_rows()), int(kind) / 100, seed)
        tools = tools.with_columns(pl.Series("description", [texts[name] for name in tools["name"]]))
    inputs = [*sources, tasks]
    with artifacts.publishing(out / "catalog", CATALOG, producer="materialize_overlap", inputs=inputs) as paths:
        schemas.write(tools, schemas.TOOLS, paths[CATALOG[0]])
        schemas.write(questions, schemas.QUESTIONS, paths[CATALOG[1]])
    with artifacts.publishing(out / "tasks", TASKS, producer="materialize_overlap", inputs=inputs) as paths:
        schemas.write(asked, schemas.EVAL_TASKS, paths[TASKS[0]])


def share_words(descriptions: Mapping[str, str], share: float, seed: int) -> dict[str, str]:
    """Return the descriptions with shared words scattered among their own.

    Args:
        descriptions: by the tool's name.
        share: of all words of a description that are to be shared ones, under 1.
        seed: the experiment's seed.
    """
    vocabulary = sorted({word for text in descriptions.values() for word in re.findall(r"[^\W\d_]+", text.lower())})
    order = generator_of(seed, "overlap", "shared").permutation(len(vocabulary))
    sequence = [vocabulary[index] for index in order]
    mixed = {}
    for name, text in descriptions.items():
        own = text.split()
        number = round(len(own) * share / (1 - share))
        shared = [sequence[index % len(sequence)] for index in range(number)]
        mixed[name] = " ".join(scattered(own, shared, generator_of(seed, "overlap", name)))
    return mixed


def scattered(own: Sequence[str], shared: Sequence[str], generator: np.random.Generator) -> list[str]:
    """Return both lists as one, each in its order, the places of the second drawn at random."""
    places = set(generator.choice(len(own) + len(shared), len(shared), replace=False).tolist())
    first, second = iter(own), iter(shared)
    return [next(second) if place in places else next(first) for place in range(len(own) + len(shared))]


def with_siblings(
    tools: pl.DataFrame, questions: pl.DataFrame, tasks: pl.DataFrame, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the catalog of the gold tools with their siblings, the questions about them, and the tasks over them.

    Args:
        tools: the catalog.
        questions: of the catalog.
        tasks: evaluation tasks, all with as many candidates.
        seed: the experiment's seed.

    Raises:
        UserError: E-DISTRACTORS if there are not so many siblings.
    """
    number = len(tasks["candidates"][0]) - 1
    if number > len(OTHERS):
        raise UserError(
            "E-DISTRACTORS",
            f"a tool has {len(OTHERS)} siblings to be mistaken for, and the tasks have more distractors",
            f"overlap {SIBLINGS}",
            got=f"{number} distractors",
            fix=f"set eval_tasks.distractors: {len(OTHERS)} or less",
            kept=artifacts.KEPT,
        )
    gold = dict.fromkeys(tasks["gold"])
    families = {row["name"]: family(row, number, seed) for row in tools.to_dicts() if row["name"] in gold}
    made = pl.DataFrame([row for rows in families.values() for row in rows], schema=tools.schema).sort("domain", "name")
    first = {name: rows[0]["name"] for name, rows in families.items()}
    none_also = pl.lit([], dtype=schemas.TEXTS).alias("also")
    kept = questions.filter(pl.col("tool").is_in(list(gold))).with_columns(pl.col("tool").replace(first), none_also)
    rows = []
    for row in tasks.to_dicts():
        # Tasks that shared a candidate set share one again.
        generator = generator_of(seed, "overlap", SIBLINGS, *row["candidates"])
        names = [families[row["gold"]][index]["name"] for index in generator.permutation(number + 1)]
        rows.append({**row, "candidates": names, "gold": first[row["gold"]], "position": names.index(first[row["gold"]])})
    return made, kept, pl.DataFrame(rows, schema=tasks.schema)


def family(tool: Mapping[str, str], number: int, seed: int) -> list[dict[str, str]]:
    """Return a tool that is open to everybody, and after it so many siblings that are not."""
    generator = generator_of(seed, "overlap", SIBLINGS, tool["name"])
    chosen = [EVERYBODY, *(OTHERS[index] for index in generator.choice(len(OTHERS), number, replace=False))]
    ends = generator.choice(len(LETTERS) ** 2, number + 1, replace=False)
    return [
        {
            **tool,
            "name": f"{tool['name']}_{LETTERS[end // len(LETTERS)]}{LETTERS[end % len(LETTERS)]}",
            "description": f"{tool['description']} It is open to {who}.",
        }
        for who, end in zip(chosen, ends.tolist(), strict=True)
    ]
