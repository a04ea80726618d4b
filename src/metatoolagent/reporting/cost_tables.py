"""`mta cost`: the tables of docs/cost.md, the small form from params.yaml and the full one from profiles/full over it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metatoolagent import params, strict_yaml
from metatoolagent.reporting import cost
from metatoolagent.variants import Config


def forms(root: Path) -> tuple[Config, Config]:
    """Return the small form and the full one, whose ladder of backbones is one rung: each model has a column of its own.

    Raises:
        UserError: E-PARAMS (exit code 64), or an error of `strict_yaml.load`.
    """
    small = params.load(root / "params.yaml").model_dump()
    full = over(small, strict_yaml.load(root / "profiles/full/sweeps.yaml").content)
    full = over(full, {"sweeps": {"scale": {"layers": [0], "sources": []}}})
    return small, params.check(full).model_dump()


def over(config: Config, changed: Config) -> dict[str, Any]:
    """Return a config with what another one says in place of its own, section by section."""
    nested = {key: over(config[key], value) for key, value in changed.items() if isinstance(value, Mapping)}
    return {**config, **changed, **nested}


def render(root: Path = Path()) -> str:
    """Return the tables of docs/cost.md, in Markdown.

    Args:
        root: the folder of params.yaml and profiles/.

    Raises:
        UserError: as `forms` and `works`.
    """
    small, full = ({target: cost.works(target, form) for target in cost.TARGETS} for form in forms(root))
    larger = _larger(params.load(root / "params.yaml"))
    return "\n".join([*_small(small), "", *_full(full), "", *_storage(full), "", *larger]) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _small(plan: Mapping[str, Sequence[cost.Work]]) -> list[str]:
    rows = []
    for target, of_target in plan.items():
        total, tokens = cost.flops(of_target, cost.MODELS[0]), sum(work.tokens for work in of_target)
        took = cost.hours(total, cost.cpu_flops())
        rows.append([target, *cost.counts(of_target), _number(tokens / 1e6), f"{total:.1e}", _number(took)])
    return _table(["target, small form", "trainings", "evaluations", "million tokens", "FLOPs", "hours on two cores"], rows)


def _full(plan: Mapping[str, Sequence[cost.Work]]) -> list[str]:
    names = [model.name for model in cost.MODELS]
    rows = [
        [target, *cost.counts(of_target), *(_number(cost.hours(cost.flops(of_target, model))) for model in cost.MODELS)]
        for target, of_target in plan.items()
    ]
    return _table(["target, full form; GPU hours", "trainings", "evaluations", *names], rows)


def _storage(plan: Mapping[str, Sequence[cost.Work]]) -> list[str]:
    rows = [
        [target, *(_number(cost.storage(of_target, model) / 1e9) for model in cost.MODELS)] for target, of_target in plan.items()
    ]
    return _table(["target, full form; GB", *(model.name for model in cost.MODELS)], rows)


def _larger(main: params.Params) -> list[str]:
    rows = []
    for name, tools, questions in (
        ("ours, training tools", 92, cost.ONE_PASS),
        ("1,000 tools", 1_000, 60_000),
        ("100,000 tools", 100_000, 6_000_000),
        ("10 million questions", 1_000, 10_000_000),
    ):
        meta = main.meta_tasks.model_copy(update={"count": questions // (2 * cost.QUESTIONS)})
        work = cost.training("mta", main.model_copy(update={"meta_tasks": meta}))
        gpu = [_number(cost.hours(cost.flops([work], model))) for model in (cost.MODELS[0], cost.MODELS[4])]
        rows.append([name, f"{questions:,}", _number(work.tokens / 1e9), *gpu, _number(8 * tools**2 / 1e9)])
    head = ["catalog", "questions", "billion tokens of one pass", "GPU hours, 135M", "GPU hours, ChatGLM3-6B", "GB of bm25 ranks"]
    return _table(head, rows)
