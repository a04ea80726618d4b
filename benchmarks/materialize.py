"""How long a million tasks take, and how much memory, against a plain loop with random.sample.

Run: PYTHONPATH=src python benchmarks/materialize.py
It writes benchmarks/results/materialize.json. The catalog is synthetic: 154 tools in 7 domains.
"""

import json
import os
import platform
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import polars as pl
import psutil

from measuring import in_own_process
from metatoolagent import artifacts, params
from metatoolagent.catalog import schemas
from metatoolagent.environment import processor
from metatoolagent.tasks import eval_tasks, meta_tasks

TASKS = 1_000_000
DISTRACTORS = 5
PEER_TASKS = 20_000
RUNS = 3
DOMAINS, TOOLS, TEST_TOOLS = 7, 22, 6
LIMIT_MIB = 2048
RESULTS = Path(__file__).parent / "results" / "materialize.json"

META = params.MetaTasks(
    count=TASKS // 16,
    tasks_per_pack=8,
    support_packs=1,
    query_packs=1,
    distractor_kind="random",
    documentation=0,
    query_tasks=0,
    tools=0,
    questions_per_tool=0,
    abstention=0,
)
EVALUATION = params.EvalTasks(part="test", count=TASKS // 2, distractors=0, tasks_per_set=1, distractor_kind="random")
KINDS = ["training", "evaluation"]


def write_catalog(folder: Path) -> None:
    """Write a catalog and its split; test tools have enough questions for half a million tasks a pool."""
    names = [
        (f"tool_{domain}_{tool:02}", f"domain{domain}", tool < TEST_TOOLS) for domain in range(DOMAINS) for tool in range(TOOLS)
    ]
    tools = pl.DataFrame(
        [(name, domain, "test" if test else "train") for name, domain, test in names],
        schema=["name", "domain", "part"],
        orient="row",
    )
    each = TASKS // 2 // (DOMAINS * TEST_TOOLS) + 1
    counts = [each if part == "test" else 60 for part in tools["part"]]
    number = pl.concat([pl.int_range(count, eager=True) for count in counts]).cast(pl.String).str.zfill(6)
    rows = tools.select(pl.exclude("part"), "part").select(pl.all().repeat_by(pl.Series(counts)).explode(empty_as_null=True))
    questions = rows.select(
        question_id=pl.col("name") + "-" + number,
        frame_id="name",
        tool="name",
        also=pl.lit([], pl.List(pl.String)),
        domain="domain",
        kind=pl.lit(None, pl.String),
        question=pl.lit("Which?"),
        arguments=pl.lit("{}"),
        part="part",
    ).sort("question_id")
    documents = tools.select("name", "domain", description="name", parameters=pl.lit("{}"))
    with artifacts.publishing(folder / "split", ["tools.parquet", "questions.parquet"], producer="benchmark") as paths:
        schemas.write(tools, schemas.TOOL_PARTS, paths["tools.parquet"])
        schemas.write(questions, schemas.QUESTION_PARTS, paths["questions.parquet"])
    with artifacts.publishing(folder / "catalog", ["tools.parquet"], producer="benchmark") as paths:
        schemas.write(documents, schemas.TOOLS, paths["tools.parquet"])


def ours(folder: Path, kind: str) -> float:
    """Materialize a million tasks of a kind with the package; return the seconds, reading and checks included."""
    start = time.perf_counter()
    given = folder / "split", folder / "catalog", "cd", DISTRACTORS, 0
    if kind == "training":
        meta_tasks.materialize(*given, META, folder / kind)
    else:
        eval_tasks.materialize(*given, EVALUATION, META, folder / kind)
    return time.perf_counter() - start


def peer(folder: Path, kind: str) -> float:
    """Materialize `PEER_TASKS` tasks of a kind with a plain loop; return the seconds of what grows with their number."""
    tools = pl.read_parquet(folder / "split" / "tools.parquet")
    part = "train" if kind == "training" else "test"
    domain = dict(tools.select("name", "domain").iter_rows())
    gold = tools.filter(part=part)["name"].to_list()
    asked = (
        pl.read_parquet(folder / "split" / "questions.parquet", columns=["question_id", "tool"])
        .group_by("tool")
        .agg("question_id")
    )
    questions = dict(asked.iter_rows())
    make = loop_of_packs if kind == "training" else loop_of_tasks
    start = time.perf_counter()
    pl.DataFrame(make(gold, domain, questions)).write_parquet(folder / f"peer-{kind}.parquet")
    return time.perf_counter() - start


def loop_of_tasks(gold: list[str], domain: dict[str, str], questions: dict[str, list[str]]) -> list[dict[str, object]]:
    """Return evaluation tasks, one at a time."""
    rows = []
    for number in range(PEER_TASKS):
        tool = gold[number % len(gold)]
        candidates = [tool, *random.sample([name for name in domain if name != tool], DISTRACTORS)]
        random.shuffle(candidates)
        question = random.choice(questions[tool])
        rows.append({"question_id": question, "candidates": candidates, "gold": tool, "position": candidates.index(tool)})
    return rows


def loop_of_packs(gold: list[str], domain: dict[str, str], questions: dict[str, list[str]]) -> list[dict[str, object]]:
    """Return training tasks, one pack at a time, support and query of different domains."""
    rows = []
    for number in range(PEER_TASKS // 16):
        domains = sorted(set(domain.values()))
        random.shuffle(domains)
        for role, side in (("support", domains[:3]), ("query", domains[3:])):
            candidates = random.sample([name for name in gold if domain[name] in side], DISTRACTORS + 1)
            for task in range(8):
                tool = candidates[task % len(candidates)]
                question = random.choice(questions[tool])
                at = candidates.index(tool)
                rows.append(
                    {"meta_task": number, "role": role, "task": task, "question_id": question, "gold": tool, "position": at}
                )
                rows[-1]["candidates"] = candidates
    return rows


def row(measure: str, unit: str, found: list[float], peer: float, peer_name: str) -> dict[str, object]:
    """Return a result: the median of our runs beside the peer's figure."""
    median = statistics.median(found)
    memory = psutil.virtual_memory().total / 2**30
    return {
        "measure": measure,
        "ours": round(median, 2),
        "peer": round(peer, 2),
        "peer_name": peer_name,
        "ratio": round(peer / median, 2),
        "unit": unit,
        "runs": len(found),
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GiB, {processor()}, {platform.system()}",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "polars", "pyarrow")}},
        "date": datetime.now(UTC).date().isoformat(),
    }


def main() -> None:
    """Measure both kinds and write the results."""
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_catalog(folder)
        for kind in KINDS:
            found = [in_own_process(ours, folder, kind) for _ in range(RUNS)]
            loop = statistics.median(in_own_process(peer, folder, kind)[0] for _ in range(RUNS)) * TASKS / PEER_TASKS
            peer_name = f"plain Python loop with random.sample, {PEER_TASKS} tasks, scaled to {TASKS}"
            results.append(row(f"{TASKS} {kind} tasks", "s", [seconds for seconds, _ in found], loop, peer_name))
            peaks = [peak for _, peak in found]
            results.append(row(f"{TASKS} {kind} tasks, peak memory", "MiB", peaks, LIMIT_MIB, "the limit that we set ourselves"))
            print(json.dumps(results[-2:], indent=1))
    with artifacts.atomic_path(RESULTS) as path:
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
