"""From params.yaml, or the JSON text that a stage is given, to checked sections."""

import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from metatoolagent import strict_yaml
from metatoolagent.errors import Exit, Finding, UserError, raise_findings, shown
from metatoolagent.params import sections
from metatoolagent.params.sweeps import Sweeps

S = TypeVar("S", bound=sections.Section)


def require_fine_numbers(backbone: sections.Backbone, mta: sections.Mta) -> None:
    """Refuse differences of losses in a format that rounds them away.

    `auto` is refused on machines too where it would be float32, so that params.yaml is right on all of them or on none.

    Raises:
        UnfitError: if the product is of differences and the backbone's numbers are not float32 by name.
    """
    if backbone.dtype != "float32" and (mta.hypergradient, mta.product) == ("exact", "finite_difference"):
        told = "auto, which is bfloat16 on some machines" if backbone.dtype == "auto" else backbone.dtype
        raise sections.UnfitError(
            f"product finite_difference takes differences that bfloat16 rounds away, and backbone.dtype is {told}",
            "set backbone.dtype to float32 (not auto), or mta.product to double_backward",
        )


class Params(sections.Section):
    """The whole of params.yaml."""

    seed: sections.Seed
    distractors: sections.Count
    held_out: Annotated[list[str], Field(min_length=1)]
    ingest: sections.Ingest
    chains: sections.Chains
    split: sections.Split
    meta_tasks: sections.MetaTasks
    eval_tasks: sections.EvalTasks
    backbone: sections.Backbone
    adapter: sections.Adapter
    train: sections.Train
    masking: sections.Masking
    mta: sections.Mta
    evaluate: sections.Evaluate
    sweeps: Sweeps
    probes: sections.Probes
    reasoning: sections.Reasoning
    icl: sections.Icl
    metrics: sections.Metrics

    @field_validator("held_out", mode="after")
    @classmethod
    def _hold_each_domain_out_once(cls, held_out: list[str]) -> list[str]:
        if repeated := sorted({name for name in held_out if held_out.count(name) > 1}):
            what = f"named more than once: {', '.join(repeated)}; each task of such a fold would count as often"
            raise sections.UnfitError(what, "name each domain once")
        return held_out

    @field_validator("mta", mode="after")
    @classmethod
    def _have_numbers_fine_enough_for_differences(cls, mta: sections.Mta, info: ValidationInfo) -> sections.Mta:
        if backbone := info.data.get("backbone"):
            require_fine_numbers(backbone, mta)
        return mta


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
        return self._validated(model, name, self._value(name))

    def part(self, model: type[S], name: str, **fixed: Any) -> S:
        """Return what `model` describes of a section that has other keys beside; errors as `section`.

        A rule that names the keys of the part alone is not run again for the others.

        Args:
            model: of the part.
            name: of the section.
            fixed: values that params.yaml has no say in.
        """
        found = {key: self._value(f"{name}.{key}") for key in model.model_fields if key not in fixed}
        return self._validated(model, name, found | fixed)

    def _validated(self, model: type[S], name: str, value: Any) -> S:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            findings = _findings([{**item, "loc": (name, *item["loc"])} for item in error.errors()], None)
            raise_findings(findings, kept="nothing was run", exit_code=Exit.PARAMS)
            raise AssertionError("a validation error without findings") from error

    @property
    def seed(self) -> int:
        """The seed that every generator is derived from; errors as `section`."""
        return self.number("seed", sections.Seed)

    @property
    def distractors(self) -> int:
        """How many wrong tools a candidate set holds; errors as `section`."""
        return self.number("distractors", sections.Count)

    def number(self, key: str, kind: Any) -> int:
        """Return the number of a dotted key; errors as `section`.

        Args:
            key: as it stands in params.yaml.
            kind: its type among those of `sections`, such as `Count`.
        """
        value = self._value(key)
        try:
            return int(TypeAdapter(kind).validate_python(value, strict=True))
        except ValidationError as error:
            findings = [_finding({**item, "loc": (key,)}, None) for item in error.errors()]
            raise_findings(findings, kept="nothing was run", exit_code=Exit.PARAMS)
            raise AssertionError("a validation error without findings") from error

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
        if error.code == "E-MISSING":
            error.fix = f"run the command in the repository's folder, which has it; if that lacks it: git checkout {path}"
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
    if not isinstance(content, dict):
        where = document.where() if document else "the parameters"
        what, fix = "not a mapping of keys to values", "write `key: value` lines, as the committed params.yaml has"
        raise UserError("E-PARAMS", what, where, shown(content), fix, "nothing was run", exit_code=Exit.PARAMS)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise_findings(_findings(error.errors(), document), kept="nothing was run", exit_code=Exit.PARAMS)
        raise AssertionError("a validation error without findings") from error


def _findings(items: list[ErrorDetails], document: strict_yaml.Document | None) -> list[Finding]:
    """Return what is wrong, missing keys last, without those that a misspelt key was meant to be: it is told with that hint."""
    unknown = [item["loc"] for item in items if item["type"] == "extra_forbidden"]
    meant = {(*pointer[:-1], near) for pointer in unknown for near in _near(pointer)}
    told = [item for item in items if item["type"] != "missing" or item["loc"] not in meant]
    return [_finding(item, document) for item in sorted(told, key=lambda item: item["type"] == "missing")]


def _finding(item: ErrorDetails, document: strict_yaml.Document | None) -> Finding:
    pointer = item["loc"]
    key = ".".join(map(str, pointer))
    named = f"missing key {key}" if item["type"] == "missing" else f"key {key}"  # the places of further findings stand alone
    where = f"{document.where(*pointer)}, {named}" if document else named
    fix = "correct the value"
    if item["type"] == "extra_forbidden":
        near = _near(pointer)
        fix = f"did you mean {near[0]}?" if near else "delete the key"
        return Finding("E-PARAMS", f"unknown key {key}", where, fix=fix)
    if item["type"] == "missing":
        return Finding("E-PARAMS", f"missing key {key}", where, fix="add it; the committed params.yaml says what it means")
    if isinstance(unfit := item.get("ctx", {}).get("error"), sections.UnfitError):
        # Where values of a section do not go together, they are told of by name, and the section would be all of its keys.
        got = "" if isinstance(item["input"], dict) else shown(item["input"])
        return Finding("E-PARAMS", f"{key}: {unfit}", where, got, unfit.fix)
    return Finding("E-PARAMS", f"{key}: {item['msg'][0].lower()}{item['msg'][1:]}", where, shown(item["input"]), fix)


def _near(pointer: tuple[int | str, ...]) -> list[str]:
    """Return the key that an unknown one is likely to be meant for, or none."""
    return difflib.get_close_matches(str(pointer[-1]), _keys(pointer[:-1]), n=1)


def _keys(pointer: tuple[int | str, ...]) -> list[str]:
    model: Any = Params
    for name in ".".join(map(str, pointer)).split(".") if pointer else ():  # a section may be named with a dot
        model = model.model_fields[name].annotation
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
    except (ValueError, RecursionError) as error:
        raise UserError("E-PARAMS", f"--params is not JSON ({error})", "--params", shown(text), exit_code=Exit.PARAMS) from None
    if not isinstance(values, dict):
        raise UserError("E-PARAMS", "--params is not a mapping of keys", "--params", shown(text), exit_code=Exit.PARAMS)
    return Given(values)
