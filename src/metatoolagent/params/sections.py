"""The sections of params.yaml that the stages read, a frozen model each; those of the sweeps are in `sweeps`."""

import os
import re
import shlex
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
MOST = 10**9
"""Of any number: more than is ever of use, and few enough for the tables' 32-bit columns."""
Count = Annotated[int, Field(ge=1, le=MOST)]
OrAll = Annotated[int, Field(ge=0, le=MOST)]
"""A number that 0 leaves as it is."""
OfPacks = Annotated[int, Field(ge=1, le=2**15 - 1)]
"""Packs, or the tasks of one, which the tables number with 16 bits."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
DistractorKind = Literal["random", "same_domain", "hard"]
Hypergradient = Literal["first_order", "exact", "reptile"]
LAYERS = {"embedded": 30, "tiny": 4}
"""The backbones that are no folder and of no hub, and how many layers they have."""
ON_HUB = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)@(?P<revision>.+)")
COMMIT = re.compile("[0-9a-f]{40}")
SOURCES = f"{', '.join(LAYERS)}, ORGANISATION/NAME@COMMIT (40 hexadecimal digits) or an existing folder"
"""What `is_source` takes, in words."""


def is_source(source: str) -> bool:
    """Say whether a source is one that a backbone can be made of; whether the hub or a folder has a model is not looked at."""
    found = ON_HUB.fullmatch(source)
    is_folder = os.path.isdir(source)  # noqa: PTH112, which would raise for a name that is too long
    return source in LAYERS or is_folder or bool(found and COMMIT.fullmatch(found["revision"]))


class UnfitError(ValueError):
    """A value that is of its type and still cannot be, or values that do not go together.

    Attributes:
        fix: what to set otherwise.
    """

    def __init__(self, what: str, fix: str) -> None:
        """Say what is wrong and how to mend it."""
        super().__init__(what)
        self.fix = fix


def pinned(source: str) -> str:
    """Return the source of a backbone, refusing a branch or a tag of the hub, which can come to name other weights.

    That a folder is not there is refused where it is read: what was made of it may outlast it.

    Raises:
        UnfitError: with how to find the commit.
    """
    found = ON_HUB.fullmatch(source)
    if found and not is_source(source):
        command = f"git ls-remote https://huggingface.co/{found['name']} {shlex.quote(found['revision'])}"
        raise UnfitError(
            "a backbone of the hub is pinned by its commit, 40 hexadecimal digits, since a branch or a tag can move",
            f"name the commit; of one this prints it: {command}",
        )
    return source


BackboneSource = Annotated[str, AfterValidator(pinned)]


class Section(BaseModel):
    """A section of params.yaml: frozen, strict types, no unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Ingest(Section):
    """Where the catalog lies and what becomes of rows that fail."""

    tools: str
    questions: str
    allow_rejected: bool


Benchmark = Literal["toolalpaca", "apibench"]
"""A published benchmark, of which each has the splits cd and sd."""


class Chains(Section):
    """The questions that need several tools: where our own lie, and the benchmarks whose chains are asked beside them."""

    folder: str
    benchmarks: list[Literal["toolalpaca"]]


class Split(Section):
    """How tools are parted into train, validation and test, and what counts as a leak."""

    tools_list: str
    validation: Share
    test: Share
    near_duplicate: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _leave_training_tools(self) -> Self:
        if self.validation + self.test >= 1:
            raise UnfitError(
                "validation and test together leave no tools for training", "lower one, so that they are under 1 together"
            )
        return self


class TrainedOn(Section):
    """How much of the training part is trained on."""

    tools: OrAll
    questions_per_tool: OrAll


class MetaTasks(TrainedOn):
    """The size and the making of training meta-tasks."""

    count: Count
    tasks_per_pack: OfPacks
    support_packs: OfPacks
    query_packs: OfPacks
    distractor_kind: DistractorKind
    documentation: Annotated[float, Field(ge=0, le=1)]
    abstention: Share
    query_tasks: OrAll

    @model_validator(mode="after")
    def _have_room_for_the_query_tasks(self) -> Self:
        if self.query_tasks > self.query_packs * self.tasks_per_pack:
            raise UnfitError(
                f"query_tasks is {self.query_tasks}, and the query packs have {self.query_packs * self.tasks_per_pack} tasks",
                "lower query_tasks, 0 for all of them, or raise query_packs or tasks_per_pack",
            )
        return self


class Evaluated(Section):
    """Which tools are evaluated, and beside how many others."""

    part: Literal["train", "validation", "test"]
    distractors: OrAll


class EvalTasks(Evaluated):
    """The size and the making of evaluation tasks."""

    count: Count
    tasks_per_set: Count
    distractor_kind: DistractorKind


class Backbone(Section):
    """Which frozen language model."""

    source: BackboneSource
    dtype: Literal["auto", "bfloat16", "float32"]
    layers: OrAll


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
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
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
            raise UnfitError(
                "reptile has no gradient to learn rates with", "set learn_inner_lr to false, or another hypergradient"
            )
        if self.support_share and self.hypergradient == "reptile":
            raise UnfitError(
                "reptile has no gradient that a share of the support loss could be added to",
                "set support_share to 0.0, or another hypergradient",
            )
        if self.learn_inner_lr and self.inner_lr == 0:
            raise UnfitError(
                "what learn_inner_lr learns is a factor of inner_lr, which is 0",
                "set inner_lr above 0, or learn_inner_lr to false",
            )
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

    bootstrap: Annotated[int, Field(ge=100, le=10**6)]


class ProbeSizes(Section):
    """How many questions are answered, and how many of each tool are adapted on."""

    count: Count
    shots: Count


class InnerSteps(Section):
    """Numbers of inner steps after which an adapted model answers."""

    steps: Annotated[list[OrAll], Field(min_length=2)]

    @model_validator(mode="after")
    def _begin_with_no_step(self) -> Self:
        if self.steps[0] != 0 or self.steps != sorted(set(self.steps)):
            raise UnfitError(f"steps are {self.steps}", "let them begin with 0, which the others are compared with, and rise")
        return self


class Probes(ProbeSizes, InnerSteps):
    """The sizes of the probes: abstention, rotation, injection and adaptation."""
