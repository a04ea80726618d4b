"""Fixtures that several tests share."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metatoolagent import params
from metatoolagent.catalog.ingest import ingest
from metatoolagent.sources import MIRRORS, fetch_file, source

# pytest's workers, and the commands that they run, share a GPU if there is one: they would wait for each other.
os.environ.setdefault("METATOOLAGENT_GPU", "0")
IngestParams = Callable[..., params.Ingest]
FIXTURES = Path(__file__).parent / "fixtures"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow tests first: a long one that starts last leaves the other worker idle."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def fixture_catalog() -> Path:
    """The folder of a small catalog: two domains of 10 tools, 12 questions a tool."""
    return FIXTURES / "catalog"


@pytest.fixture(scope="session")
def catalog(fixture_catalog: Path, ingest_params: IngestParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of ingesting the small catalog."""
    out = tmp_path_factory.mktemp("interim")
    ingest(ingest_params(fixture_catalog), out)
    return out


@pytest.fixture(scope="session")
def committed() -> params.Params:
    """The committed params.yaml, fitted to the small catalog."""
    committed = params.load(FIXTURES.parents[1] / "params.yaml")
    split = committed.split.model_copy(update={"tools_list": "", "test": 0.3, "validation": 0.2})
    evaluation = committed.eval_tasks.model_copy(update={"count": 60})
    meta = committed.meta_tasks.model_copy(update={"count": 20})
    return committed.model_copy(update={"split": split, "eval_tasks": evaluation, "meta_tasks": meta, "distractors": 2})


@pytest.fixture(scope="session")
def ingest_params() -> IngestParams:
    """The parameters of ingesting tools and questions of a folder, by folder and whether rows may be rejected."""

    def make(folder: Path, allow_rejected: bool = False) -> params.Ingest:
        return params.Ingest(tools=str(folder / "tools"), questions=str(folder / "questions"), allow_rejected=allow_rejected)

    return make


@pytest.fixture(scope="session")
def published() -> dict[str, Path]:
    """The benchmarks' published files by the names of data/sources.tsv, from the mirror; skips where there is none."""
    table = FIXTURES.parents[1] / "data" / "sources.tsv"
    names = [line.split("\t")[0] for line in table.read_text(encoding="utf-8").splitlines() if "/" in line.split("\t")[0]]
    folders = [Path(entry) for entry in os.environ.get(MIRRORS, "").split(os.pathsep) if entry]
    found = {name: folder / name for name in names for folder in folders if (folder / name).is_file()}
    if len(found) < len(names):
        pytest.skip(f"{MIRRORS} names no folder with the benchmarks")
    return {name: fetch_file(source(name, table), table.parent) for name in names}


@pytest.fixture
def handlers() -> Iterator[None]:
    """Bring the signal handlers back that a supervisor replaces."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
