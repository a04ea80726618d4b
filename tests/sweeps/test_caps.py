"""The caps of the sweeps make runs smaller than the main run, and never larger."""

import pytest

from metatoolagent import params
from metatoolagent.sweeps.runs import planned


@pytest.mark.parametrize(
    ("cap", "own", "folder"),
    [
        (100, 300, "sweep/table2/eval_tasks.count=100"),
        (100, 60, "main"),
        (0, 60, "main"),
    ],
)
def test_a_cap_holds_where_the_count_is_higher(committed: params.Params, cap: int, own: int, folder: str) -> None:
    config = committed.model_dump()
    config["eval_tasks"]["count"] = own
    config["sweeps"] |= {"caps": {"meta_tasks": 10**6, "eval_tasks": cap}, "seeds": [config["seed"]]}
    config["sweeps"]["table2"] = {"methods": ["bm25", "mta"], "splits": ["cd"]}
    assert [run.files for run in planned("table2", config)] == [
        [f"results/{folder}/{method}/predictions.parquet"] for method in ("bm25", "mta")
    ]
