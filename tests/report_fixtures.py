"""A small set of results, with a tool and a question that try to break out of the page."""

from pathlib import Path

import polars as pl
import pytest

from metatoolagent import params
from metatoolagent.artifacts import canonical_json, publishing
from metatoolagent.evaluation import breakdowns, metrics
from metatoolagent.reporting import figures, page, programme
from metatoolagent.sweeps import distractors
from whole_predictions import whole

__all__ = ["drawn", "hostile_catalog", "html", "probed", "results", "swept", "two_splits"]

HOSTILE = "</script><img src=x onerror=\"window.broken = 'yes'\">{{ 7 * 7 }}<!--"
METHODS = list(params.MAIN_JOB)
TASKS = 24
SHARE = {"rate": 0.123, "low": 0.0, "high": 0.456, "n": 42}
"""What every measure of a probe is."""
ROOT = Path(__file__).parents[1]
COMMITTED = params.load(ROOT / "params.yaml").model_dump()


@pytest.fixture(scope="session")
def hostile_catalog(catalog, tmp_path_factory) -> Path:
    """The small catalog with a hostile description and a hostile question."""
    out = tmp_path_factory.mktemp("hostile")
    tools = pl.read_parquet(catalog / "tools.parquet")
    questions = pl.read_parquet(catalog / "questions.parquet")
    first = questions.filter(tool=tools["name"][0])["question_id"][0]
    with publishing(out, ["tools.parquet", "questions.parquet"], producer="ingest") as paths:
        change = pl.when(pl.col("name") == tools["name"][0]).then(pl.lit(HOSTILE)).otherwise("description").alias("description")
        tools.with_columns(change).write_parquet(paths["tools.parquet"])
        change = pl.when(pl.col("question_id") == first).then(pl.lit(HOSTILE)).otherwise("question").alias("question")
        questions.with_columns(change).write_parquet(paths["questions.parquet"])
    return out


def selected(method: str, index: int) -> bool:
    """Whether a method is right on a task: mta on all but every fourth, ft on every second, the others on every sixth."""
    return index % 4 != 0 if method == "mta" else index % (2 if method == "ft" else 6) == 0


def mistaken(index: int, others: list[str]) -> str:
    """What a method that is wrong on a task selects: a sibling in one of mta's mistakes in two and of ft's in four."""
    return others[index % 5] if index % 8 in (4, 5) else others[-1]


def prediction(method: str, index: int, pool: str, catalog: Path) -> dict:
    """A row of predictions."""
    tools = pl.read_parquet(catalog / "tools.parquet")["name"].to_list()
    gold = tools[index % 4]
    question = pl.read_parquet(catalog / "questions.parquet").filter(tool=gold)["question_id"][index // 4]
    others = [name for name in tools if name != gold]
    candidates = [gold, others[index % 5], others[-1]] if index % 3 == 0 else [others[index % 5], others[-1], gold]
    right = selected(method, index)
    choice = gold if right else mistaken(index, others)
    free = choice if right or index % 8 == 0 else None
    return {
        "task_id": f"{pool}-{index:06d}",
        "pool": pool,
        "part": "test",
        "question_id": question,
        "candidates": candidates,
        "gold": gold,
        "position": candidates.index(gold),
        "log_probabilities": None if method in params.SELECTING else [-1.0 if name == choice else -3.0 for name in candidates],
        "scored": choice,
        "free": free,
        "free_text": free or HOSTILE,
        "reasoning": None,
        "outcome": ("right" if free == gold else "wrong") if free else "none",
    }


@pytest.fixture(scope="session")
def results(hostile_catalog, tmp_path_factory) -> Path:
    """The results of a main job as the rules lay them out."""
    out = tmp_path_factory.mktemp("results") / "main"
    for method in METHODS:
        rows = [prediction(method, index, pool, hostile_catalog) for pool in ("all", "unseen") for index in range(TASKS)]
        with publishing(out / method, ["predictions.parquet"], producer="evaluate") as paths:
            whole(pl.DataFrame(rows, infer_schema_length=None)).write_parquet(paths["predictions.parquet"])
        with publishing(out / method / "adapter", ["train_log.csv"], producer="train") as paths:
            paths["train_log.csv"].write_text("update,loss,right,selected\n1,2.5,0.25,0\n2,1.5,0.5,0\n", encoding="utf-8")
    files = {method: [out / method / "predictions.parquet"] for method in METHODS}
    metrics.measure("cd", files, 100, 0, out)
    breakdowns.measure("cd", files, hostile_catalog, 100, 0, out / "breakdowns")
    return out


def row(training: int, evaluation: int, method: str, value: float, against: str | None = None) -> dict:
    """A row of the table of sweep `distractors`, over all seeds."""
    labels = {"training": training, "evaluation": evaluation, "method": method, "against": against}
    numbers = {"n": 50, "value": value, "low": value - 0.1, "high": value + 0.1, "p": None, "p_holm": 0.25 if against else None}
    return labels | {"pool": "all", "reading": "scored", "seed": "all", "seeds": 2} | numbers


@pytest.fixture(scope="session")
def swept(tmp_path_factory) -> Path:
    """What sweep `distractors` ended in: mta ahead of ft by a tenth, and both the better the fewer distractors there are."""
    out = tmp_path_factory.mktemp("sweep") / "distractors"
    rows = []
    for training in (2, 5):
        for evaluation in (2, 5):
            rows += [
                row(training, evaluation, "ft", 0.7 - evaluation / 10),
                row(training, evaluation, "mta", 0.8 - evaluation / 10),
            ]
            rows.append(row(training, evaluation, "mta", 0.1, "ft"))
    made = pl.DataFrame(rows, schema_overrides={"p": pl.Float64, "p_holm": pl.Float64})
    with publishing(out, programme.FILES, producer="sweep") as paths:
        paths["finding.md"].write_text(f"{distractors.finding(made, {})}\n\n{HOSTILE}\n", encoding="utf-8")
        paths["figure.json"].write_text(distractors.figure(made).to_json(), encoding="utf-8")
        made.write_csv(paths["table.csv"])
    return out


@pytest.fixture(scope="session")
def probed(tmp_path_factory) -> Path:
    """The metrics of probe abstention, of one method."""
    out = tmp_path_factory.mktemp("probes") / "abstention"
    measures = ("over_calling", "under_calling", "accuracy", "balanced")
    numbers = {f"abstention.mta.scored.{name}.{part}": value for name in measures for part, value in SHARE.items()}
    with publishing(out, ["metrics.json"], producer="metrics_probe") as paths:
        paths["metrics.json"].write_text(canonical_json(numbers), encoding="utf-8")
    return out / "metrics.json"


@pytest.fixture(scope="session")
def drawn(results) -> Path:
    """The folder of the figures."""
    logs = {method: results / method / "adapter" / "train_log.csv" for method in ("ft", "mta")}
    out = results.parent / "report" / "figures"
    figures.publish(figures.Sources([results / "metrics.json"], [results / "breakdowns"], logs), 2, out)
    return out


@pytest.fixture(scope="session")
def two_splits(results, hostile_catalog) -> Path:
    """A page that also has the tasks of pool `all` as those of a benchmark, whose name is before `cd` in the alphabet."""
    out, split = results.parent / "two", "apibench-cd"
    for method in METHODS:
        with publishing(out / method, ["predictions.parquet"], producer="evaluate") as paths:
            rows = pl.read_parquet(results / method / "predictions.parquet")
            rows.filter(pool="all").write_parquet(paths["predictions.parquet"])
    files = {method: [out / method / "predictions.parquet"] for method in METHODS}
    metrics.measure(split, files, 100, 0, out)
    breakdowns.measure(split, files, hostile_catalog, 100, 0, out / "breakdowns")
    measured, parts = [folder / "metrics.json" for folder in (results, out)], [folder / "breakdowns" for folder in (results, out)]
    logs = {method: results / method / "adapter" / "train_log.csv" for method in ("ft", "mta")}
    figures.publish(figures.Sources(measured, parts, logs), 2, out / "figures")
    answers = {"cd": {method: [results / method / "predictions.parquet"] for method in METHODS}, split: files}
    catalogs = dict.fromkeys(answers, hostile_catalog)
    page.publish(page.Sources(out / "figures", ROOT / "workflow/report", measured, answers, catalogs), COMMITTED, out / "page")
    return out / "page" / "index.html"


@pytest.fixture(scope="session")
def html(results, drawn, hostile_catalog, probed, swept) -> Path:
    """The page."""
    files = {"cd": {method: [results / method / "predictions.parquet"] for method in METHODS}}
    sources = page.Sources(
        figures=drawn,
        captions=ROOT / "workflow/report",
        metrics=[results / "metrics.json"],
        predictions=files,
        catalogs={"cd": hostile_catalog},
        probes=[probed],
        programme={"distractors": swept},
        targets=["sweep_distractors"],
        missing=["eval_sd", "multi_tool"],
    )
    page.publish(sources, COMMITTED, drawn.parent)
    return drawn.parent / "index.html"
