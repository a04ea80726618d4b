"""What the programme costs: tokens, FLOPs, hours of a GPU and storage, from what was measured and from what is assumed.

A token costs 2 N FLOPs in a forward pass of a model with N parameters, and 2 N in a backward pass to its inputs (Kaplan et
al., Scaling laws for neural language models, 2020, section 2.1, has 2 N and 4 N; the other 2 N are the gradients of the weights,
which a frozen backbone has none of). Attention over short prompts and LoRA's own products are left out.

`mta cost` prints the tables of docs/cost.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

CANDIDATES, QUESTIONS = 6, 8
"""Of the packs that were measured."""
PACK_TOKENS, SINGLE_TOKENS = 771, 380
"""Measured: mean tokens of a training pack of 8 questions, and of 1, over 6 candidates; our catalog, the embedded tokenizer."""

CPU_TOKENS_S = 40 * 2 * PACK_TOKENS / 204
"""Measured: training tokens a second of ft on two cores, 40 meta-tasks of two packs in 3.4 minutes (docs/log.md)."""
H100_FLOPS = 989e12
"""A datasheet's: bfloat16, dense."""
UTILIZATION = 0.40
"""Assumed: the share of it that a training run reaches. Nothing was measured on a GPU."""

ONE_PASS = 346
"""Meta-tasks of 16 that ask each training question of 9,377 once: 59 % of the tools train."""
EVALUATED, ANSWER, REASONING = 600, 12, 48
"""Tasks of an evaluation (both pools), and the tokens that are generated for a free answer and a reasoning."""


@dataclass(frozen=True)
class Model:
    """A backbone: parameters, and the shapes that decide the size of its adapter."""

    name: str
    parameters: float
    layers: int
    linear: int
    """Sum of inputs and outputs of the adapted linear layers of one layer."""

    def adapter(self, rank: int = 16) -> int:
        """Return the numbers of an adapter, r (in + out) for each linear layer."""
        return rank * self.linear * self.layers


def llama(name: str, parameters: float, layers: int, hidden: int, keys: int, intermediate: int) -> Model:
    """Return a model of four attention and three feed-forward matrices a layer; `keys` is the width of keys and values."""
    attention = 2 * (hidden + hidden) + 2 * (hidden + keys)
    return Model(name, parameters, layers, attention + 3 * (hidden + intermediate))


MODELS = [
    llama("SmolLM2-135M (ours)", 134.5e6, 30, 576, 192, 1536),
    llama("Qwen1.5-0.5B", 0.62e9, 24, 1024, 1024, 2816),
    llama("Qwen1.5-1.8B", 1.84e9, 24, 2048, 2048, 5504),
    llama("Qwen1.5-4B", 3.95e9, 40, 2560, 2560, 6912),
    llama("ChatGLM3-6B", 6.24e9, 28, 4096, 256, 13696),
    llama("Qwen1.5-7B", 7.72e9, 32, 4096, 4096, 11008),
    llama("Qwen1.5-14B", 14.17e9, 40, 5120, 5120, 13696),
]
"""Parameters and shapes as their model cards and configurations have them."""


@dataclass(frozen=True)
class Target:
    """What a target runs on one model: trainings of ft (and masking) and of mta, evaluations, by number of distractors."""

    name: str
    grid: str
    ft: int
    mta: int
    evaluations: int
    distractors: tuple[int, ...] = (5,)
    reasoning: int = 0
    """Of the evaluations, those that reason first."""


TARGETS = [
    Target("eval_cd", "base, ft, mta; 1 seed", 1, 1, 3),
    Target("table2", "7 methods that name tools, 9 splits (sd, cd, 7 folds), 5 seeds", 90, 45, 315, reasoning=90),
    Target("sweep_distractors", "4 numbers in training x 4 in evaluation, ft and mta, 5 seeds", 20, 20, 160, (2, 5, 10, 20)),
    Target("sweep_scale", "one rung: base, ft, mta, 5 seeds", 5, 5, 15),
    Target("sweep_queries", "6 numbers of questions x 4 of tools, ft and mta, 5 seeds", 120, 120, 240),
    Target("sweep_sensitivity", "32 points, mta, 1 seed", 0, 32, 32),
    Target("sweep_overlap", "10 steps, base, ft, mta, 5 seeds; trained once", 5, 5, 150),
    Target("multi_tool", "200 chains of 3 steps as one evaluation; base, ft, mta, 5 seeds", 5, 5, 15),
]
"""The grids of the programme. The points of sweep_sensitivity and the tools of sweep_queries are assumed."""


def pack_tokens(distractors: int, questions: int = QUESTIONS) -> float:
    """Return the tokens of a pack: what every question adds, and what every candidate adds to the shared prefix.

    From two measurements: a question (with its answers) adds (771 - 380) / 7 tokens, and the rest is taken as six equal
    candidates; the few tokens of the instruction are counted with them.
    """
    question = (PACK_TOKENS - SINGLE_TOKENS) / (QUESTIONS - 1)
    candidate = (SINGLE_TOKENS - question) / CANDIDATES
    return candidate * (distractors + 1) + question * questions


def passes(method: str) -> float:
    """Return the forward or backward passes over a meta-task's tokens, support and query of one length, for its two packs.

    ft goes forward and back on both: 4. mta, first order, one inner step, optimistic: forward and back on the support, the
    queries forward at both iterates, back at one: 5.
    """
    return {"ft": 4, "mta": 5}[method] / 2


def training(method: str, meta_tasks: int, distractors: int) -> tuple[float, float]:
    """Return the tokens that a training reads, and its FLOPs for each parameter of the model."""
    tokens = 2 * meta_tasks * pack_tokens(distractors)
    return tokens, 2 * passes(method) * tokens


def evaluation(distractors: int, *, reasoning: bool) -> tuple[float, float]:
    """Return the tokens of an evaluation, read and generated, and its FLOPs for each parameter."""
    tokens = EVALUATED / QUESTIONS * pack_tokens(distractors) + EVALUATED * (ANSWER + reasoning * REASONING)
    return tokens, 2 * tokens


def of_target(target: Target, meta_tasks: int) -> tuple[float, float]:
    """Return the tokens of a target and its FLOPs for each parameter; its distractors are spread evenly over its runs."""
    total = [0.0, 0.0]
    for distractors in target.distractors:
        share = 1 / len(target.distractors)
        parts = [
            (target.ft, training("ft", meta_tasks, distractors)),
            (target.mta, training("mta", meta_tasks, distractors)),
            (target.evaluations - target.reasoning, evaluation(distractors, reasoning=False)),
            (target.reasoning, evaluation(distractors, reasoning=True)),
        ]
        for number, cost in parts:
            total = [before + number * share * part for before, part in zip(total, cost, strict=True)]
    return total[0], total[1]


def cpu_flops() -> float:
    """Return the FLOPs a second that the measured training reached: 4 N a token."""
    return 4 * MODELS[0].parameters * CPU_TOKENS_S


def hours(flops: float, rate: float) -> float:
    """Return the hours that so many FLOPs take at a rate a second."""
    return flops / rate / 3600


def storage(target: Target, model: Model) -> float:
    """Return the bytes that a target leaves: the backbone in bfloat16, and each adapter in float32."""
    return 2 * model.parameters + 4 * model.adapter() * (target.ft + target.mta)


def render() -> str:
    """Return the tables of docs/cost.md, in Markdown."""
    return "\n".join([*_small(), "", *_full(), "", *_storage(), "", *_larger()]) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _small() -> list[str]:
    rows = []
    for target in TARGETS:
        tokens, flops = of_target(target, 40)
        took = hours(flops * MODELS[0].parameters, cpu_flops())
        rows.append([target.name, target.grid, _number(tokens / 1e6), f"{flops * MODELS[0].parameters:.1e}", _number(took)])
    head = ["target, small form", "runs", "million tokens", "FLOPs", "hours on two cores"]
    return _table(head, rows)


def _full() -> list[str]:
    rows = []
    for target in TARGETS:
        flops = of_target(target, ONE_PASS)[1]
        rows.append([target.name, *(_number(hours(flops * model.parameters, UTILIZATION * H100_FLOPS)) for model in MODELS)])
    return _table(["target, one pass; GPU hours", *(model.name for model in MODELS)], rows)


def _storage() -> list[str]:
    rows = [[target.name, *(_number(storage(target, model) / 1e9) for model in MODELS)] for target in TARGETS]
    return _table(["target; GB", *(model.name for model in MODELS)], rows)


def _larger() -> list[str]:
    rows = []
    for name, tools, questions in (
        ("1,000 tools", 1_000, 60_000),
        ("100,000 tools", 100_000, 6_000_000),
        ("10 million questions", 1_000, 10_000_000),
    ):
        tokens, flops = training("mta", questions // (2 * QUESTIONS), 5)
        gpu = [_number(hours(flops * model.parameters, UTILIZATION * H100_FLOPS)) for model in (MODELS[0], MODELS[4])]
        rows.append([name, f"{questions:,}", _number(tokens / 1e9), *gpu, _number(8 * tools**2 / 1e9)])
    head = ["catalog", "questions", "billion tokens of one pass", "GPU hours, 135M", "GPU hours, ChatGLM3-6B", "GB of bm25 ranks"]
    return _table(head, rows)
