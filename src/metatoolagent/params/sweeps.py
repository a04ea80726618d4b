"""The section of params.yaml that says what each sweep varies."""

from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from metatoolagent.params.methods import OF_METHOD
from metatoolagent.params.sections import (
    MOST,
    BackboneSource,
    Benchmark,
    Count,
    Hypergradient,
    OrAll,
    Positive,
    Section,
    Seed,
    Share,
    UnfitError,
)

Range = Annotated[list[Positive], Field(min_length=2, max_length=2)]
"""The lowest and the highest value, between which the logarithm is uniform."""
Points = Annotated[int, Field(ge=4, le=MOST)]
"""Of a space: a main effect compares two halves of them, and of one point in a half its interval would show no spread."""
Steps = Annotated[list[Count], Field(min_length=1)]
Hypergradients = Annotated[list[Hypergradient], Field(min_length=1)]
EXTERNAL = f"(?:{'|'.join(get_args(Benchmark))})-(?:cd|sd)"
"""Of the name of a benchmark's split, whose candidates are of all its domains or of the right tool's."""


def _known(methods: list[str]) -> list[str]:
    if unknown := sorted(set(methods) - set(OF_METHOD)):
        raise UnfitError(f"unknown methods {', '.join(unknown)}", f"name some of {', '.join(OF_METHOD)}")
    return methods


Methods = Annotated[list[str], Field(min_length=1), AfterValidator(_known)]


class Caps(Section):
    """How much smaller the runs of every sweep are than the main run; 0 leaves them as they are."""

    meta_tasks: OrAll
    eval_tasks: OrAll


class Table2(Section):
    """Which methods are compared on which splits."""

    methods: Methods
    splits: Annotated[list[Annotated[str, Field(pattern=f"^(?:sd|cd|hd|hd-[a-z0-9_]+|{EXTERNAL})$")]], Field(min_length=1)]


class Compare(Section):
    """Which hypergradients are compared with fine-tuning on which splits."""

    hypergradients: Hypergradients
    splits: Annotated[list[Literal["sd", "cd"]], Field(min_length=1)]


class Scale(Section):
    """The ladder of backbones: this one with fewer layers, then others."""

    layers: list[OrAll]
    sources: list[BackboneSource]

    @model_validator(mode="after")
    def _have_a_rung(self) -> Self:
        if not (self.layers or self.sources):
            raise UnfitError("the ladder has no rung", "name a number of layers or a source")
        return self


class Queries(Section):
    """Query tasks a meta-task, training tools, and questions of each; 0 is all of them."""

    query_tasks: Annotated[list[Count], Field(min_length=1)]
    tools: Annotated[list[OrAll], Field(min_length=1)]
    questions: Annotated[list[OrAll], Field(min_length=1)]


class Sensitivity(Section):
    """A range or a list of values for each param, and how many points are drawn."""

    points: Points
    outer_lr: Range
    inner_lr: Range
    rank: Steps
    tasks: Steps
    inner_steps: Steps


class Search(Section):
    """The same for what meta-learning alone has, and for the number of meta-tasks."""

    points: Points
    inner_lr: Range
    tasks: Steps
    inner_steps: Steps
    meta_tasks: Steps
    support_share: Annotated[list[Share], Field(min_length=1)]
    hypergradient: Hypergradients


class Overlap(Section):
    """Shares of the words of a description that all tools have, in per cent, and which methods read them."""

    shares: Annotated[list[Annotated[int, Field(ge=0, le=90)]], Field(min_length=1)]
    methods: Methods


class Sweeps(Section):
    """The programme: what each sweep varies. A sweep reads its own key, the seeds and the caps."""

    seeds: Annotated[list[Seed], Field(min_length=1)]
    caps: Caps
    table2: Table2
    compare: Compare
    distractors: Annotated[list[Count], Field(min_length=1)]
    scale: Scale
    queries: Queries
    sensitivity: Sensitivity
    search: Search
    overlap: Overlap
