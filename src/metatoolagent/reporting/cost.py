"""What the programme costs: tokens, FLOPs, hours of a GPU and storage, from what was measured and from what is assumed.

A token costs 2 N FLOPs in a forward pass of a model with N parameters, and 2 N in a backward pass to its inputs (Kaplan et
al., Scaling laws for neural language models, 2020, section 2.1, has 2 N and 4 N; the other 2 N are the gradients of the weights,
which a frozen backbone has none of). Attention over short prompts and LoRA's own products are left out.

How many trainings and evaluations a target has is what its runs in `sweeps/` ask for, a folder that several share counted once; a
target is priced as if nothing of the others were there.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from metatoolagent import params, variants
from metatoolagent.sweeps import runs
from metatoolagent.variants import Config, Variant

CANDIDATES, QUESTIONS = 6, 8
"""Of the packs that were measured."""
TRAINED, SCORED = (508, 321), (636, 337)
"""Measured: mean tokens of a pack of 8 questions, and of 1, over 6 candidates; our catalog, the embedded tokenizer. In training
the right name alone is read, in evaluation every candidate's."""

CPU_TOKENS_S = 80 * 2 * TRAINED[0] / 241
"""Measured: training tokens a second of ft on two cores, 80 meta-tasks of two packs in 4 min 1 s (docs/log.md)."""
H100_FLOPS = 989e12
"""A datasheet's: bfloat16, dense."""
UTILIZATION = 0.40
"""Assumed: the share of it that a training run reaches. Nothing was measured on a GPU."""

ONE_PASS = 5_564
"""Of our 9,377 questions, those of training tools, which one pass asks once."""
TOOLS = {"train": 92, "validation": 21, "test": 42}
"""Tools of each part (data/split.csv), which an evaluation spreads its tasks over."""
OF_DOMAIN = 22
"""Tools of a domain, which a fold of split hd tests: 155 of 7 domains."""
CHAINS = {"chains": (463, 955), "toolalpaca-chains": (60, 120)}
"""Steps of our 217 unseen chains and of ToolAlpaca's 30 (docs/results/turns/multi_tool.csv), and at most so many prompts: one at
the first step of a chain, and after it one for each of three histories."""
BENCHMARKS = {"toolalpaca-cd": (76, 146), "toolalpaca-sd": (33, 49), "apibench-cd": (300, 300), "apibench-sd": (300, 300)}
"""Candidate sets and tasks of the benchmarks' splits, whose documentation and names are taken to be as long as ours."""
READS_TRAINING, READS_SCORING = {"channel": 3.4}, {"likelihood": 2.7, "channel": 2.7}
"""Counted: how many times the tokens of a pack a method reads that asks each candidate apart (1,746 for 508, 1,620 for 609)."""
BACK = {"double_backward": 5, "finite_difference": 2}
"""Passes of a step back through the inner loop, by product: a gradient differentiated once more (2.2 and 2.6 times a gradient's
time by the two tables of docs/log.md), and one gradient."""
OF_LAYERS = 0.79
"""The share of the embedded model's parameters that are in its layers: all but 49,152 x 576 of embeddings."""


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


TARGETS = [
    "eval_cd",
    "table2",
    "compare",
    "search",
    *(f"sweep_{name}" for name in ("distractors", "scale", "queries", "sensitivity", "overlap")),
    "multi_tool",
]
"""The targets that are priced: the main job, every sweep, and chains."""


@dataclass(frozen=True)
class Work:
    """A training or an evaluation."""

    tokens: float
    """Read and generated."""
    flops: float
    """For each parameter of the model."""
    rank: int = 0
    """Of the adapter that it leaves; 0 for an evaluation."""
    size: float = 1.0
    """Parameters of its model, as a share of the one that is priced."""


def pack_tokens(measured: tuple[int, int], distractors: int, questions: float = QUESTIONS) -> float:
    """Return the tokens of a pack: what every question adds, and what every candidate adds to the shared prefix.

    From two measurements: of a training pack a question (with its answer) adds (508 - 321) / 7 tokens, and the rest is taken as
    six equal candidates. The names that an evaluation scores are counted with its questions, as if they did not grow with the
    candidates.

    Args:
        measured: tokens of a pack of 8 questions and of 1: `TRAINED` or `SCORED`.
        distractors: of the pack.
        questions: of the pack.
    """
    question = (measured[0] - measured[1]) / (QUESTIONS - 1)
    candidate = (measured[1] - question) / CANDIDATES
    return candidate * (distractors + 1) + question * questions


def training(method: str, chosen: params.Params) -> Work:
    """Return a training: its meta-tasks, each read forward and backward.

    ft goes forward and back on all packs: 4 passes of a meta-task of two packs. mta, first order, one inner step: forward and
    back on the support, the queries forward at both iterates, back at one: 5. Every further inner step is a support pack forward
    and back and the queries forward; where the hypergradient is exact, each step back through it costs `BACK` passes more. Loops
    that stop early take less.
    """
    meta, mta = chosen.meta_tasks, chosen.mta
    pack = pack_tokens(TRAINED, chosen.distractors, meta.tasks_per_pack)
    asked = meta.query_tasks or meta.query_packs * meta.tasks_per_pack
    query_pack = pack_tokens(TRAINED, chosen.distractors, asked / meta.query_packs)
    support, query = meta.support_packs * pack, meta.query_packs * query_pack
    passed = 2 * (support + query)
    if method == "mta":
        looks = mta.inner_steps + 1 if mta.optimistic or mta.early_stop else 1
        of_step = 2 + (BACK[mta.product] if mta.hypergradient == "exact" else 0)
        passed = mta.inner_steps * of_step * pack + (looks + 1) * query
    read = meta.count * READS_TRAINING.get(method, 1)
    return Work(read * (support + query), 2 * read * passed, chosen.adapter.rank, size(chosen.backbone))


def evaluation(method: str, chosen: params.Params, name: str = "main") -> Work:
    """Return an evaluation: every candidate set once, with the questions that share it, and what is generated.

    Args:
        method: that is evaluated.
        chosen: the params of the run.
        name: the folder of its results, below results/.
    """
    sets, tasks, distractors = _asked(chosen, name)
    read = READS_SCORING.get(method, 1) * sets * pack_tokens(SCORED, distractors, tasks / sets)
    reasoned = chosen.reasoning.tokens if "reasoning" in params.EVALUATED_WITH.get(method, ()) else 0
    generated = 0 if method in params.SELECTING else tasks * (chosen.evaluate.max_new_tokens + reasoned)
    tokens = read + generated
    return Work(tokens, 2 * tokens, size=size(chosen.backbone))


def _asked(chosen: params.Params, name: str) -> tuple[int, int, int]:
    """Return the candidate sets of an evaluation, its tasks and its distractors."""
    if name in CHAINS:  # all the gold tools of a chain are candidates, two or three
        return *CHAINS[name], chosen.distractors + 1
    split = Variant.parse(name).split
    if split in BENCHMARKS:
        return *BENCHMARKS[split], chosen.distractors
    asked = chosen.eval_tasks
    tools = OF_DOMAIN if split.startswith("hd-") else TOOLS[asked.part]
    if asked.part == "train":
        tools = chosen.meta_tasks.tools or tools
    tools = min(tools, asked.count)
    sets = tools * math.ceil(asked.count / tools / asked.tasks_per_set)
    pools = 1 if asked.part == "train" or name.startswith("overlap-") else 2
    return pools * sets, pools * asked.count, asked.distractors or chosen.distractors


def size(backbone: params.Backbone) -> float:
    """Return the parameters of a rung of sweep_scale as a share of the embedded model's; `tiny` has next to none."""
    if backbone.source == "tiny":
        return 0.0
    return 1 - OF_LAYERS * (1 - backbone.layers / MODELS[0].layers) if backbone.layers else 1.0


def predictions(target: str, config: Config) -> list[str]:
    """Return the files of predictions that a target asks for."""
    if target in ("eval_cd", "multi_tool"):
        chains = ["chains", *(f"{name}-chains" for name in dict.fromkeys(config["chains"]["benchmarks"]))]
        names = ["main"] if target == "eval_cd" else chains
        return [f"results/{name}/{method}/predictions.parquet" for name in names for method in params.MAIN_JOB]
    return [file for run in runs.planned(target.removeprefix("sweep_"), config) for file in run.files]


def works(target: str, config: Config) -> list[Work]:
    """Return the trainings and the evaluations by a model that a target asks for, each once.

    Raises:
        UserError: E-PARAMS or E-VARIANT (exit code 64) if the config does not allow one of them.
    """
    found: dict[str, Work] = {}
    for file in predictions(target, config):
        name, method, _ = file.removeprefix("results/").rsplit("/", 2)
        # What nothing is trained for has the adapters of the main job.
        variant = Variant.parse("main" if name in CHAINS or name.startswith("overlap-") else name)
        if method in params.MODEL_FREE:
            continue
        found[file] = evaluation(method, params.check(variant.apply(config)), name)
        if params.OF_METHOD[method]:
            adapter = variants.adapter(variant, method, config)
            found[f"{adapter}/{method}"] = training(method, params.check(adapter.apply(config)))
    return list(found.values())


def counts(works: Sequence[Work]) -> list[int]:
    """Return how many trainings there are, and how many evaluations."""
    trained = sum(work.rank > 0 for work in works)
    return [trained, len(works) - trained]


def flops(works: Iterable[Work], model: Model) -> float:
    """Return the FLOPs of work on a model."""
    return sum(work.flops * work.size for work in works) * model.parameters


def cpu_flops() -> float:
    """Return the FLOPs a second that the measured training reached: 4 N a token."""
    return 4 * MODELS[0].parameters * CPU_TOKENS_S


def hours(flops: float, rate: float = UTILIZATION * H100_FLOPS) -> float:
    """Return the hours that so many FLOPs take at a rate a second."""
    return flops / rate / 3600


def storage(works: Iterable[Work], model: Model) -> float:
    """Return the bytes that a target leaves: the backbone in bfloat16, and each adapter in float32."""
    return 2 * model.parameters + 4 * sum(model.adapter(work.rank) for work in works)
