"""params.yaml as frozen, checked models: one section a stage, unknown and missing keys refused.

A stage receives only the keys that its rule names, as one JSON text (`--params`), so a stage cannot depend on a
parameter that neither engine knows of.
"""

import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from metatoolagent import strict_yaml
from metatoolagent.errors import Exit, Finding, UserError, raise_findings, shown

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
OrAll = Annotated[int, Field(ge=0)]
"""A number that 0 leaves as it is."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Range = Annotated[list[Positive], Field(min_length=2, max_length=2)]
"""The lowest and the highest value, between which the logarithm is uniform."""
Steps = Annotated[list[Count], Field(min_length=1)]
DistractorKind = Literal["random", "same_domain", "hard"]
Hypergradient = Literal["first_order", "exact", "reptile"]
Hypergradients = Annotated[list[Hypergradient], Field(min_length=1)]
Pool = Literal["all", "unseen"]

OF_METHOD: dict[str, tuple[str, ...]] = {
    "random": (),
    "bm25": (),
    "base": (),
    "icl": (),
    "cot": (),
    "react": (),
    "ft": ("adapter", "train"),
    "masking": ("adapter", "train", "masking"),
    "mta": ("adapter", "train", "mta"),
}
"""Every method, in the order of tables, and the sections that its training reads; evaluation reads the first of them."""
EVALUATED_WITH = {"icl": ("icl",), "cot": ("reasoning",), "react": ("reasoning",)}
"""The sections that the evaluation of some methods reads beside those of every method."""
MODEL_FREE = ("random", "bm25")
"""The methods that select without the backbone."""
MAIN_JOB = ("random", "bm25", "base", "ft", "mta")
"""The methods of `eval_cd`; `eval_methods` has all of them."""
PROBED = ("base", "ft", "mta")
"""The methods that the probes ask."""
PROBES = ("abstention", "rotation", "injection", "adaptation")
"""The probes; the last is evaluated by a rule of its own."""
MODULE = {"random": "random", "bm25": "bm25", "icl": "icl", "cot": "cot", "react": "react"}
"""The module of evaluation/methods that answers for a method; `direct` for all others."""


class Section(BaseModel):
    """A section of params.yaml: frozen, strict types, no unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Ingest(Section):
    """Where the catalog lies and what becomes of rows that fail."""

    tools: str
    questions: str
    allow_rejected: bool


class Chains(Section):
    """Where the questions lie that need several tools."""

    folder: str


class Split(Section):
    """How tools are parted into train, validation and test, and what counts as a leak."""

    tools_list: str
    validation: Share
    test: Share
    near_duplicate: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _leave_training_tools(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must be under 1, so that tools are left for training")
        return self


class MetaTasks(Section):
    """The size and the making of training meta-tasks."""

    count: Count
    tasks_per_pack: Count
    support_packs: Count
    query_packs: Count
    distractor_kind: DistractorKind
    documentation: Annotated[float, Field(ge=0, le=1)]
    abstention: Share
    query_tasks: OrAll
    tools: OrAll
    questions_per_tool: OrAll

    @model_validator(mode="after")
    def _have_room_for_the_query_tasks(self) -> Self:
        if self.query_tasks > self.query_packs * self.tasks_per_pack:
            raise ValueError("query_tasks must be at most query_packs times tasks_per_pack")
        return self


class EvalTasks(Section):
    """The size and the making of evaluation tasks."""

    part: Literal["train", "validation", "test"]
    count: Count
    distractors: OrAll
    tasks_per_set: Count
    distractor_kind: DistractorKind


class Backbone(Section):
    """Which frozen language model."""

    source: str
    dtype: Literal["bfloat16", "float32"]
    layers: OrAll
    trust_remote_code: bool


class Adapter(Section):
    """LoRA."""

    rank: Count
    alpha: Positive
    targets: Annotated[list[str], Field(min_length=1)]


class Train(Section):
    """The outer loop, for every method."""

    loss: Literal["answer", "selection"]
    answer_share: Annotated[float, Field(ge=0, le=1)]
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    warmup: Share
    clip_norm: Positive
    meta_batch: Count
    activation_checkpointing: bool
    checkpoint_every: Count


class Masking(Section):
    """Training on names that say nothing."""

    share: Annotated[float, Field(ge=0, le=1)]


class Mta(Section):
    """The inner loop and the hypergradient."""

    hypergradient: Hypergradient
    product: Literal["double_backward", "finite_difference"]
    inner_steps: Count
    inner_lr: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    support_share: Share
    learn_inner_lr: bool
    optimistic: bool
    early_stop: bool

    @model_validator(mode="after")
    def _have_a_gradient_for_learned_rates(self) -> Self:
        if self.learn_inner_lr and self.hypergradient == "reptile":
            raise ValueError("reptile has no gradient for learn_inner_lr: true")
        if self.support_share and self.hypergradient == "reptile":
            raise ValueError("support_share must be 0 with reptile, whose direction is no gradient that a loss could be added to")
        if self.learn_inner_lr and self.inner_lr == 0:
            raise ValueError("learn_inner_lr: true needs an inner_lr above 0, since what is learned is a factor of it")
        return self


class Evaluate(Section):
    """Generation, for every method with a model."""

    max_new_tokens: Count


class Reasoning(Section):
    """What cot and react may say before they answer."""

    tokens: Count


class Icl(Section):
    """What in-context learning is shown."""

    demonstrations: Count


class Metrics(Section):
    """The statistics of the metrics."""

    bootstrap: Annotated[int, Field(ge=100)]


class Caps(Section):
    """How much smaller the runs of every sweep are than the main run; 0 leaves them as they are."""

    meta_tasks: OrAll
    eval_tasks: OrAll


class Table2(Section):
    """Which methods are compared on which splits."""

    methods: Annotated[list[str], Field(min_length=1)]
    splits: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _know_the_methods(self) -> Self:
        if unknown := sorted(set(self.methods) - set(OF_METHOD)):
            raise ValueError(f"unknown methods {', '.join(unknown)}; some of {', '.join(OF_METHOD)}")
        return self


class Scale(Section):
    """The ladder of backbones: this one with fewer layers, then others."""

    layers: list[OrAll]
    sources: list[str]


class Queries(Section):
    """Query tasks a meta-task, and training tools; 0 is all of them."""

    query_tasks: Annotated[list[Count], Field(min_length=1)]
    tools: Annotated[list[OrAll], Field(min_length=1)]


class Sensitivity(Section):
    """A range or a list of values for each param, and how many points are drawn."""

    points: Count
    outer_lr: Range
    inner_lr: Range
    rank: Steps
    tasks: Steps
    inner_steps: Steps


class Search(Section):
    """The same for what meta-learning alone has, and for the number of meta-tasks."""

    points: Count
    inner_lr: Range
    tasks: Steps
    inner_steps: Steps
    meta_tasks: Steps
    hypergradient: Hypergradients


class Sweeps(Section):
    """The programme: what each sweep varies. A sweep reads its own key, the seeds and the caps."""

    seeds: Annotated[list[Seed], Field(min_length=1)]
    caps: Caps
    table2: Table2
    compare: Hypergradients
    distractors: Annotated[list[Count], Field(min_length=1)]
    scale: Scale
    queries: Queries
    sensitivity: Sensitivity
    search: Search
    overlap: Annotated[list[Annotated[int, Field(ge=0, le=90)]], Field(min_length=1)]


class Probes(Section):
    """The sizes of the probes: abstention, rotation, injection and adaptation."""

    count: Count
    shots: Count
    steps: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2)]

    @model_validator(mode="after")
    def _begin_with_no_step(self) -> Self:
        if self.steps[0] != 0 or self.steps != sorted(set(self.steps)):
            raise ValueError("steps must begin with 0, which the others are compared with, and rise")
        return self


class Params(Section):
    """The whole of params.yaml."""

    seed: Seed
    distractors: Count
    held_out: list[str]
    ingest: Ingest
    chains: Chains
    split: Split
    meta_tasks: MetaTasks
    eval_tasks: EvalTasks
    backbone: Backbone
    adapter: Adapter
    train: Train
    masking: Masking
    mta: Mta
    evaluate: Evaluate
    sweeps: Sweeps
    probes: Probes
    reasoning: Reasoning
    icl: Icl
    metrics: Metrics


S = TypeVar("S", bound=Section)


class Given:
    """The part of params.yaml that one stage was given."""

    def __init__(self, values: dict[str, Any]) -> None:
        """Take checked values by key."""
        self.values = values

    def section(self, model: type[S], name: str = "") -> S:
        """Return the section that `model` describes, such as `MetaTasks` for `meta_tasks`, or the one of a dotted name.

        Raises:
            UserError: E-PARAMS (exit code 64) if it was not given, or has a wrong, missing or unknown key.
        """
        name = name or re.sub(r"(?<!^)(?=[A-Z])", "_", model.__name__).lower()
        try:
            return model.model_validate(self._value(name))
        except ValidationError as error:
            findings = [_finding({**item, "loc": (name, *item["loc"])}, None) for item in error.errors()]
            raise_findings(findings, kept="nothing was run", exit_code=Exit.PARAMS)
            raise AssertionError("a validation error without findings") from error

    @property
    def seed(self) -> int:
        """The seed that every generator is derived from."""
        return int(self._value("seed"))

    @property
    def distractors(self) -> int:
        """How many wrong tools a candidate set holds."""
        return int(self._value("distractors"))

    def _value(self, key: str) -> Any:
        if key in self.values:
            return self.values[key]
        value: Any = self.values
        for name in key.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is None:
            fix = "add it, or leave --params out"
            raise UserError("E-PARAMS", f"missing key {key}", "--params", fix=fix, exit_code=Exit.PARAMS)
        return value


def load(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        UserError: E-PARAMS (exit code 64) with the line of each wrong key, or an error of `strict_yaml.load`.
    """
    try:
        document = strict_yaml.load(path)
    except UserError as error:
        error.exit_code = Exit.PARAMS
        raise
    return check(document.content, document)


def check(content: Any, document: strict_yaml.Document | None = None) -> Params:
    """Return the checked parameters.

    Args:
        content: the parameters as read from YAML or JSON.
        document: where they were read from, for the lines of the errors.

    Raises:
        UserError: E-PARAMS with every wrong, missing and unknown key.
    """
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        # A misspelt key is unknown and missing at once; the unknown one has the hint.
        findings = [_finding(item, document) for item in sorted(error.errors(), key=lambda item: item["type"] == "missing")]
        raise_findings(findings, kept="nothing was run", exit_code=Exit.PARAMS)
        raise AssertionError("a validation error without findings") from error


def _finding(item: ErrorDetails, document: strict_yaml.Document | None) -> Finding:
    pointer = item["loc"]
    key = ".".join(map(str, pointer))
    where = f"{document.where(*pointer)}, key {key}" if document else f"key {key}"
    fix = "correct the value"
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(pointer[-1]), _keys(pointer[:-1]), n=1)
        fix = f"did you mean {near[0]}?" if near else "delete the key"
        return Finding("E-PARAMS", f"unknown key {key}", where, fix=fix)
    if item["type"] == "missing":
        return Finding("E-PARAMS", f"missing key {key}", where, fix="add it; the committed params.yaml says what it means")
    return Finding("E-PARAMS", f"{key}: {item['msg'][0].lower()}{item['msg'][1:]}", where, shown(item["input"]), fix)


def _keys(pointer: tuple[int | str, ...]) -> list[str]:
    model: Any = Params
    for name in pointer:
        model = model.model_fields[str(name)].annotation
    return list(model.model_fields)


def given(text: str | None, path: Path = Path("params.yaml")) -> Given:
    """Return the parameters of a stage.

    Args:
        text: the keys that its rule names, as JSON; None for all of params.yaml, as when run by hand.
        path: the file that None stands for.

    Raises:
        UserError: E-PARAMS (exit code 64) if `text` is not a JSON mapping, and those of `load`.
    """
    if text is None:
        return Given(load(path).model_dump())
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError("E-PARAMS", f"--params is not JSON ({error})", "--params", shown(text), exit_code=Exit.PARAMS) from None
    if not isinstance(values, dict):
        raise UserError("E-PARAMS", "--params is not a mapping of keys", "--params", shown(text), exit_code=Exit.PARAMS)
    return Given(values)
