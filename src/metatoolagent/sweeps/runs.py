"""The runs of a sweep: what each is called in the table, and which files of predictions it has.

Which files there are depends on params.yaml alone, so Snakemake asks for them before anything has run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

from metatoolagent import params, variants
from metatoolagent.variants import Scalar, Variant

NAMES = ("table2", "compare", "distractors", "scale", "queries", "sensitivity", "search", "overlap")
"""Every sweep; each is a module of this folder with `runs`, `figure` and `finding`, and `ALONG` where methods are
compared with themselves along that label."""

Labels = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Run:
    """A row's worth of predictions."""

    labels: Labels
    """What the run is at, in columns of the table."""
    method: str
    """As the table calls it."""
    seed: int | None
    """Of training; None for a method that does not train."""
    files: Sequence[str]
    """Its predictions, one file a fold."""


@dataclass(frozen=True)
class Plan:
    """Makes the runs of one sweep, under the caps."""

    sweep: str
    config: Mapping[str, Any]

    def runs(
        self, method: str, labels: Labels, overrides: Mapping[str, Scalar], *, name: str = "", splits: Sequence[str] = ("cd",)
    ) -> list[Run]:
        """Return the runs of a method at one point, one a seed; a method that does not train has one.

        Args:
            method: the method of the pipeline.
            labels: what the point is called.
            overrides: what it changes in params.yaml.
            name: what the method is called; its own name where left out.
            splits: the folds that are taken together.
        """
        caps = self.config["sweeps"]["caps"].items()
        capped = {f"{key}.count": min(count, self.config[key]["count"]) for key, count in caps if count}
        seeds = self.config["sweeps"]["seeds"] if params.OF_METHOD[method] else [None]
        found = []
        for seed in dict.fromkeys(seeds):
            of_seed: dict[str, Scalar] = {} if seed is None else {"seed": seed}
            files = []
            for split in splits:
                asked = Variant(self.sweep, {**capped, **overrides, **of_seed, variants.SPLIT: split})
                files.append(f"results/{variants.predictions(asked, method, self.config)}/{method}/predictions.parquet")
            found.append(Run(labels, name or method, seed, files))
        return found


def planned(sweep: str, config: Mapping[str, Any]) -> list[Run]:
    """Return the runs of a sweep.

    Raises:
        UserError: E-PARAMS (exit code 64) if params.yaml does not allow one of its points.
    """
    found: list[Run] = module(sweep).runs(Plan(sweep, config))
    return found


def module(sweep: str) -> Any:
    """Return the module of a sweep."""
    return import_module(f"metatoolagent.sweeps.{sweep}")


def to_json(runs: Sequence[Run]) -> str:
    """Return runs as one JSON text, as the stage is given them."""
    return json.dumps([asdict(run) for run in runs])


def from_json(text: str) -> list[Run]:
    """Return the runs of `to_json`."""
    return [Run(**content) for content in json.loads(text)]
