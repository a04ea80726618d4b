"""How time and memory of ingestion, split and materialization grow with the questions.

Run: PYTHONPATH=src nice -n 19 python benchmarks/ingest.py [QUESTIONS ...]    (10000 100000 1000000 where left out)
It writes benchmarks/results/ingest.json. The catalog is synthetic: 22 tools a domain, frames of 100 questions each, made of
pseudo-words; its YAML files are written line by line. The peer of a time is the time of the smallest catalog, scaled with
the questions: a ratio below 1 is growth faster than theirs. The peer of a peak is the smallest catalog's peak: 1 is flat.
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import materialize as materialization
from materialize import measured, row
from metatoolagent import artifacts, params
from metatoolagent.catalog.ingest import ingest
from metatoolagent.tasks import eval_tasks, meta_tasks
from metatoolagent.tasks.splits import split

SIZES = [10_000, 100_000, 1_000_000]
TOOLS, FILLINGS, A_DOMAIN = 22, 100, 150_000
"""Tools of a domain, questions of a frame, and questions of a domain at most: a YAML file is limited to 200,000 values."""
WORDS, SPOKEN = 4000, 10
RESULTS = Path(__file__).parent / "results" / "ingest.json"

SPLIT = params.Split(tools_list="", validation=0.14, test=0.27, near_duplicate=0.8)
META = materialization.META.model_copy(update={"count": 40, "documentation": 0.7})
EVALUATION = materialization.EVALUATION.model_copy(update={"count": 300, "tasks_per_set": 8})


def write_catalog(folder: Path, questions: int) -> None:
    """Write the YAML files of a catalog of this many questions at least."""
    generator = random.Random(0)
    words = sorted({"".join(generator.choices("abcdefghilmnoprstuv", k=generator.randint(3, 9))) for _ in range(WORDS)})
    domains = max(7, -(-questions // A_DOMAIN))
    frames = -(-questions // (domains * TOOLS * FILLINGS))
    for name in ("tools", "questions"):
        (folder / name).mkdir(parents=True)
    for number in range(domains):
        with (folder / f"tools/domain_{number:03}.yaml").open("w") as file:
            file.writelines(tools(generator, words, number))
        with (folder / f"questions/domain_{number:03}.yaml").open("w") as file:
            file.writelines(frame for _ in range(frames) for frame in frames_of(generator, words, number))


def tools(generator: random.Random, words: list[str], domain: int) -> Iterator[str]:
    """Yield the entries of a domain's tools."""
    for tool in range(TOOLS):
        yield (
            f"- name: tool_{domain:03}_{tool:02}\n  description: {' '.join(generator.choices(words, k=20))}.\n  parameters:\n"
            "    type: object\n    properties: {place: {type: string}}\n    required: [place]\n"
        )


def frames_of(generator: random.Random, words: list[str], domain: int) -> Iterator[str]:
    """Yield one frame of each tool of a domain."""
    for tool in range(TOOLS):
        ask = " ".join(generator.choices(words, k=SPOKEN))
        places = ", ".join(f'"{" ".join(generator.choices(words, k=2))} {generator.randrange(10**6)}"' for _ in range(FILLINGS))
        yield (
            f'- tool: tool_{domain:03}_{tool:02}\n  ask: "{ask} {{place}}?"\n  fill:\n    place: [{places}]\n'
            '  arguments: {place: "{place}"}\n'
        )


def ours(folder: Path, stage: str) -> float:
    """Run a stage; return its seconds."""
    catalog, parts = folder / "interim", folder / "cd"
    start = time.perf_counter()
    if stage == "ingest":
        sources = params.Ingest(tools=str(folder / "tools"), questions=str(folder / "questions"), allow_rejected=True)
        ingest(sources, catalog)
    elif stage == "split":
        split(catalog, "cd", SPLIT, 0, parts)
    else:
        meta_tasks.materialize(parts, catalog, "cd", 5, 0, META, folder / "meta_tasks")
        eval_tasks.materialize(parts, catalog, "cd", 5, 0, EVALUATION, META, folder / "tasks")
    return time.perf_counter() - start


def main() -> None:
    """Measure each stage at each size and write the results."""
    sizes = sorted(map(int, sys.argv[1:])) or SIZES
    results: list[dict[str, object]] = []
    first: dict[str, tuple[float, float]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            write_catalog(Path(name), size)
            for stage in ("ingest", "split", "materialize"):
                seconds, peak = measured(ours, Path(name), stage)
                least, low = first.setdefault(stage, (seconds, peak))
                linear, flat = f"the time at {sizes[0]} questions, scaled", f"the peak at {sizes[0]} questions"
                results.append(row(f"{stage}, {size} questions", "s", [seconds], least * size / sizes[0], linear))
                results.append(row(f"{stage}, {size} questions, peak memory", "MiB", [peak], low, flat))
                print(json.dumps([{key: item[key] for key in ("measure", "ours", "ratio")} for item in results[-2:]]), flush=True)
                with artifacts.atomic_path(RESULTS) as path:
                    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
