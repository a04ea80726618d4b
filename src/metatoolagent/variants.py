"""Variants: the same pipeline under other params, as folders of results named after what differs.

`main` is params.yaml itself, `sd` and `hd-<domain>` are it on another split, `<benchmark>-cd` and `<benchmark>-sd` are a
benchmark's tasks with what was trained on split cd, and
`sweep/<name>/<key>=<value>,...` overrides some of its keys, such as `sweep/distractors/distractors=10,seed=1`. Keys are
dotted (`mta.inner_lr=0.01`) and sorted; the key `split` stands for the split; characters that a path or this notation
cannot hold are percent-encoded.

An artifact is named by the overrides that it depends on and by no others, and an override that says what params.yaml says
is none. So runs that have an artifact in common find it in one folder, and a run without any override left is `main`.
"""

import copy
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from metatoolagent import params
from metatoolagent.errors import Exit, UserError, shown

PATTERN = "sweep/[a-z][a-z0-9_]*/[^/]+=[^/]+"
"""Of the name of a sweep's variant, for the wildcard of the rules."""
SPLITS = "sd|cd|hd-[a-z0-9_]+"
LONGEST = 240
"""Characters of a folder's name; file systems take 255 bytes, and temporary names need a few."""
SPLIT = "split"
IN_TRAINING, IN_EVALUATION = "distractors", "eval_tasks.distractors"
"""The keys of the numbers of distractors; 0 in evaluation stands for as many as in training."""
TOOLS, QUESTIONS = "meta_tasks.tools", "meta_tasks.questions_per_tool"
OF_POINT = {
    "train.learning_rate": "outer_lr",
    "mta.inner_lr": "inner_lr",
    "adapter.rank": "rank",
    "adapter.alpha": "rank",
    "meta_tasks.tasks_per_pack": "tasks",
    "mta.inner_steps": "inner_steps",
}
"""What a point of a space of params overrides, in `sensitivity` and in `search`."""
SWEPT = {
    ("distractors", IN_TRAINING): "sweeps.distractors",
    ("distractors", IN_EVALUATION): "sweeps.distractors",
    ("queries", TOOLS): "sweeps.queries.tools",
    ("queries", QUESTIONS): "sweeps.queries.questions",
    ("queries", "meta_tasks.query_packs"): "sweeps.queries.query_tasks",
    ("queries", "meta_tasks.query_tasks"): "sweeps.queries.query_tasks",
    ("queries", "mta.support_share"): "sweeps.queries.query_tasks",
    ("scale", "backbone.layers"): "sweeps.scale.layers",
    ("scale", "backbone.source"): "sweeps.scale.sources",
    ("compare", "mta.hypergradient"): "sweeps.compare.hypergradients",
    ("compare", "mta.support_share"): "sweeps.compare.hypergradients",
    **{(sweep, key): f"sweeps.{sweep}.{name}" for sweep in ("sensitivity", "search") for key, name in OF_POINT.items()},
    ("search", "meta_tasks.count"): "sweeps.search.meta_tasks",
    ("search", "mta.hypergradient"): "sweeps.search.hypergradient",
    ("search", "mta.support_share"): "sweeps.search.support_share",
}
"""Where params.yaml has what a sweep overrides a key with."""
SWEPT_BY_ALL = {
    "seed": "sweeps.seeds",
    "meta_tasks.count": "sweeps.caps.meta_tasks",
    "eval_tasks.count": "sweeps.caps.eval_tasks",
}
"""The same of what every sweep overrides."""
TRAINING_TASKS = (SPLIT, "seed", IN_TRAINING, "meta_tasks")
EVALUATION_TASKS = (SPLIT, IN_TRAINING, "eval_tasks")
"""Not the seed: all seeds answer the same tasks, so what differs between them is training alone."""

Scalar = str | int | float | bool
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Variant:
    """A sweep's name, empty outside of sweeps, and the overrides, by key."""

    sweep: str
    overrides: Mapping[str, Scalar]

    @classmethod
    def parse(cls, name: str) -> "Variant":
        """Return the variant that a folder is named after.

        Raises:
            UserError: E-VARIANT (exit code 64) if the name cannot be read.
        """
        if not name.startswith("sweep/"):
            return cls("", {} if name == "main" else {SPLIT: name})
        _, sweep, items = name.split("/")
        overrides: dict[str, Scalar] = {}
        for item in items.split(","):
            key, equals, text = item.partition("=")
            if not (key and equals and text) or key in overrides:
                raise _error("an override is not key=value, or its key stands twice", name, item)
            overrides[key] = _value(name, unquote(text))
        if not re.fullmatch(f"{SPLITS}|{params.EXTERNAL}", str(overrides.get(SPLIT, "cd"))):
            raise _error("no such kind of split", name, str(overrides[SPLIT]))
        return cls(sweep, overrides)

    @classmethod
    def of(cls, folder: Path) -> "Variant":
        """Return the variant whose results lie in a folder; `main` for one that is no sweep's.

        Raises:
            UserError: E-VARIANT (exit code 64) if the name cannot be read.
        """
        found = re.search(f"(?:^|/)results/({PATTERN})$", folder.as_posix())
        return cls.parse(found[1] if found else "main")

    def named(self, key: str) -> str:
        """Return the key of params.yaml that has the value of a key under this variant: the sweep's, where it overrides that."""
        return SWEPT.get((self.sweep, key), SWEPT_BY_ALL.get(key, key)) if key in self.overrides else key

    def __str__(self) -> str:
        """Return the folder's name below results/.

        Raises:
            UserError: E-VARIANT if it is too long for a folder.
        """
        if not self.overrides.keys() - {SPLIT}:
            return str(self.overrides.get(SPLIT, "main"))
        items = ",".join(f"{key}={quote(_text(value), safe='@+')}" for key, value in sorted(self.overrides.items()))
        if len(items) > LONGEST:
            raise _error(f"the name has {len(items)} characters, at most {LONGEST} are possible", f"sweep/{self.sweep}", items)
        return f"sweep/{self.sweep}/{items}"

    @property
    def split(self) -> str:
        """The split: `cd` where none is named."""
        return str(self.overrides.get(SPLIT, "cd"))

    @property
    def is_external(self) -> bool:
        """Whether the tasks are a benchmark's, on whose tools nothing is trained."""
        return bool(re.fullmatch(params.EXTERNAL, self.split))

    def apply(self, config: Config) -> dict[str, Any]:
        """Return params.yaml under the overrides, checked.

        Raises:
            UserError: E-PARAMS or E-VARIANT (exit code 64), naming the variant.
        """
        changed = self._changed(config)
        try:
            params.check(changed)
        except UserError as error:
            error.where = f"variant {self}, {error.where}"
            wrong = [key for key in self.overrides if self.named(key) != key and self._is_allowed_without(key, config)]
            if named := ", ".join(dict.fromkeys(map(self.named, wrong))):
                error.where += f", from key {named}"
                error.got = shown(", ".join(f"{key}: {self.overrides[key]}" for key in wrong))
                error.fix = f"change {named}, or the key that does not go with it"
            raise
        return changed

    def _changed(self, config: Config) -> dict[str, Any]:
        """Return params.yaml under the overrides, not checked."""
        changed = copy.deepcopy(dict(config))
        for key, value in self.overrides.items():
            if key == SPLIT:
                continue
            *above, last = key.split(".")
            section = changed
            for name in above:
                section = section.setdefault(name, {})
                if not isinstance(section, dict):
                    raise _error(f"{name} is no section of params.yaml", str(self), key)
            section[last] = value
        return changed

    def _is_allowed_without(self, key: str, config: Config) -> bool:
        """Return whether it is this override alone that params.yaml does not allow."""
        rest = replace(self, overrides={other: value for other, value in self.overrides.items() if other != key})
        try:
            params.check(rest._changed(config))
        except UserError:
            return False
        return True

    def keep(self, config: Config, sections: Iterable[str]) -> "Variant":
        """Return the variant with the overrides of some sections that say something else than params.yaml."""
        kept = {key: value for key, value in self.overrides.items() if key.partition(".")[0] in sections}
        if self.is_external:
            kept.pop(SPLIT, None)
        return replace(self, overrides={key: value for key, value in kept.items() if not _says(config, key, value)})


MAIN = Variant.parse("main")
"""params.yaml itself."""


def training_tasks(variant: Variant, config: Config) -> Variant:
    """Return the variant whose folder has the meta-tasks that a run trains on."""
    return variant.keep(config, TRAINING_TASKS)


def evaluation_tasks(variant: Variant, config: Config) -> Variant:
    """Return the variant whose folder has the tasks that a run is evaluated on.

    Tasks of training tools are drawn from what this run trains on, so they depend on its meta-tasks too.
    """
    changed = variant.apply(config)
    if variant.is_external:
        return replace(variant, overrides={SPLIT: variant.split})
    if value_of(changed, "eval_tasks.part") == "train":
        return variant.keep(config, {*TRAINING_TASKS, *EVALUATION_TASKS})
    kept = {key: value for key, value in variant.keep(config, EVALUATION_TASKS).overrides.items() if key != IN_TRAINING}
    return replace(variant, overrides=_with_number(kept, _in_evaluation(changed), _in_evaluation(config)))


def backbone(variant: Variant, config: Config) -> Variant:
    """Return the variant whose folder has the backbone."""
    return variant.keep(config, ("backbone",))


def adapter(variant: Variant, method: str, config: Config) -> Variant:
    """Return the variant whose folder has the adapter that a method is evaluated with."""
    return variant.keep(config, (*TRAINING_TASKS, "backbone", *params.OF_METHOD[method]))


def predictions(variant: Variant, method: str, config: Config) -> Variant:
    """Return the variant whose folder has a method's predictions; without training they are the same for every seed."""
    tasks = evaluation_tasks(variant, config)
    if not params.OF_METHOD[method]:
        own = ("evaluate",) if method in params.MODEL_FREE else ("evaluate", "backbone")
        return replace(tasks, overrides={**tasks.overrides, **variant.keep(config, own).overrides})
    trained = adapter(variant, method, config).overrides
    if variant.is_external:
        return replace(tasks, overrides={**tasks.overrides, **trained, **variant.keep(config, ("evaluate",)).overrides})
    told = {**trained, **variant.keep(config, ("eval_tasks", "evaluate")).overrides}
    changed = variant.apply(config)
    without = value_of(config, IN_EVALUATION) or value_of(changed, IN_TRAINING)
    return replace(variant, overrides=_with_number(told, _in_evaluation(changed), without))


def _in_evaluation(config: Config) -> int:
    """Return the number of distractors that a configuration asks for in evaluation."""
    return int(value_of(config, IN_EVALUATION) or value_of(config, IN_TRAINING))


def _with_number(overrides: Mapping[str, Scalar], number: int, without: int) -> dict[str, Scalar]:
    """Return overrides that name a number of distractors in evaluation, or do not where it holds without a name.

    So one number has one name, whichever key of a variant it comes from.
    """
    found = {key: value for key, value in overrides.items() if key != IN_EVALUATION}
    return found if number == without else {**found, IN_EVALUATION: number}


def _says(config: Config, key: str, value: Scalar) -> bool:
    if key == SPLIT:
        return value == "cd"
    there = value_of(config, key)
    return bool(there == value) and isinstance(there, bool) == isinstance(value, bool)


def value_of(config: Any, key: str) -> Any:
    """Return the value of a dotted key; None where there is none."""
    for name in key.split("."):
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


def _value(name: str, text: str) -> Scalar:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return text
    if not isinstance(value, str | int | float | bool):
        raise _error("only texts, numbers, true and false can be overridden", name, text)
    return value


def _text(value: Scalar) -> str:
    """Return how a name tells a value: a text as it is, or in quotes where it would be read as something else."""
    return value if isinstance(value, str) and not _is_json(value) else json.dumps(value)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _error(what: str, name: str, got: str) -> UserError:
    fix = "write sweep/<name>/<key>=<value>,<key>=<value>, such as sweep/distractors/distractors=10,seed=1"
    return UserError("E-VARIANT", what, f"variant {name}", shown(got), fix, exit_code=Exit.PARAMS)
