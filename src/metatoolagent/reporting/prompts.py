"""The prompt of a task as each method is given it, decoded from the very tokens that the model reads.

torch takes seconds to load, so only the methods whose prompts are packs load it.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from metatoolagent import params
from metatoolagent.artifacts import read_manifest, recorded_sha256, verify
from metatoolagent.errors import Exit, UserError
from metatoolagent.reporting.outdated import PARAMS, given
from metatoolagent.tasks.prompts import read_template
from metatoolagent.tasks.rendering import Renderer

Task = Mapping[str, Any]
DEMONSTRATIONS = "meta_tasks.parquet"
"""The name of the file, among the inputs of icl, that its demonstrations are from."""


def prompt(task: Task, method: str, predictions: Path, catalog: Path, model: Path) -> str:
    """Return the text of a method's prompt of a task.

    That of cot and react ends with the model's own reasoning, where there is one, and the marker of the answer. likelihood
    and channel have one for each candidate, up to the end of the question.

    Args:
        task: a row of its predictions.
        method: one that asks a model.
        predictions: the file that the row is from, whose artifact says what icl was shown.
        catalog: the folder of the catalog.
        model: the folder of the backbone, of which the tokenizer alone is read.

    Raises:
        UserError: E-CORRUPT or E-MISSING for the catalog, the backbone or the demonstrations; E-STALE if icl was shown others.
    """
    verify(model / "tokenizer.json")
    template = read_template(AutoTokenizer.from_pretrained(model))
    # A task that was answered fitted in the context.
    renderer = Renderer(catalog, template, context=sys.maxsize)
    return "\n\n".join(template.tokenizer.decode(tokens) for tokens in _prompts(renderer, task, method, predictions))


def _prompts(renderer: Renderer, task: Task, method: str, predictions: Path) -> Sequence[Sequence[int]]:
    module = params.MODULE.get(method)
    if module == "likelihood":
        return [_below(renderer, name, task) for name in task["candidates"]]
    if module in {"cot", "react"}:
        return [_reasoned(renderer, module, task)]
    if module == "icl":
        renderer = _shown(renderer, predictions)
    return [[*renderer.injected(task).prefix(task["candidates"]), *renderer.asked(task)]]


def _below(renderer: Renderer, name: str, task: Task) -> list[int]:
    """Return a candidate's documentation and the question, whose last token is a target alone."""
    from metatoolagent.tasks.channel import below

    pack = below(renderer, name, [{**task, "position": 0}])
    return [*pack.input_ids_T.tolist(), int(pack.target_A[-1])]


def _reasoned(renderer: Renderer, module: str, task: Task) -> list[int]:
    """Return what the answer follows; choices on chains keep no reasoning, so there it is what the reasoning follows."""
    from metatoolagent.evaluation.methods import cot, react
    from metatoolagent.evaluation.methods.reasoning import after, turn

    style, said = {"cot": cot.STYLE, "react": react.STYLE}[module], task.get("reasoning")
    begun = style.opening if said is None else turn(style, said)
    tokens: list[int] = after(renderer, style, [task], [begun], generated=0, branch=False).input_ids_T.tolist()
    return tokens


def _shown(renderer: Renderer, predictions: Path) -> Renderer:
    """Return the renderer with icl's demonstrations; their number is that of then, where Snakemake's record has it.

    Raises:
        UserError: E-MISSING, E-CORRUPT; E-STALE if their file is another one now; those of `params.load`.
    """
    from metatoolagent.evaluation.methods.icl import opened

    inputs, fix = read_manifest(predictions.parent)["inputs"], f"run: snakemake --cores all {predictions}"
    file = next((Path(path) for path in inputs if Path(path).name == DEMONSTRATIONS), None)
    if file is None:
        what = f"what icl answered was made from no {DEMONSTRATIONS}, so its demonstrations are not known"
        raise UserError("E-MISSING", what, str(predictions), fix=fix, exit_code=Exit.ARTIFACT)
    if recorded_sha256(verify(file)) != inputs[file.as_posix()]:
        what = "the training tasks that icl was shown some of have changed since"
        raise UserError("E-STALE", what, str(file), fix=fix, exit_code=Exit.ARTIFACT)
    recorded = given(predictions).get("icl")
    return opened(renderer, file, recorded["demonstrations"] if recorded else params.load(PARAMS).icl.demonstrations)
