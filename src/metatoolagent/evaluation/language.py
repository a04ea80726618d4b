"""The language model of a job: backbone, LoRA tensors where the method has them, and the renderer of its catalog."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from metatoolagent.artifacts import read_manifest, verify
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.evaluation.job import Job
from metatoolagent.models import adapter, backbone
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.prompts import Template, read_template
from metatoolagent.tasks.rendering import Renderer


@dataclass(frozen=True)
class Language:
    """A model that is ready to answer."""

    model: nn.Module
    weights: Tensors | None
    renderer: Renderer
    max_new_tokens: int
    """Limit of a free answer; 0 for the methods of `params.SELECTING`."""


def load(job: Job) -> Language:
    """Load what a job names.

    Raises:
        UserError: E-CORRUPT or E-MISSING for inputs, E-BASE-MISMATCH or E-ADAPTER if the adapter was trained with another
            backbone, method, form of prompts, rank, alpha or targets, and those of its tensors.
    """
    if job.weights is None:
        return _without_adapter(job)
    language, weights = adaptable(job)
    if next(language.model.parameters()).dtype == torch.float32:
        # No LoRA layers to compute. In bfloat16 the sums would be rounded, and the answers would be others than trained for.
        return replace(language, model=adapter.merged(language.model, weights), weights=None)
    return language


def adaptable(job: Job) -> tuple[Language, Tensors]:
    """Load what a job names with its LoRA tensors apart, so that they can be adapted; fresh ones where it names none.

    Raises:
        UserError: as `load`.
    """
    assert job.adapter is not None, f"{job.method} needs the params of its adapter"
    plain = _without_adapter(job)
    model = adapter.attach(plain.model, job.adapter)
    weights = adapter.initial(model, torch.Generator().manual_seed(job.seed))
    if job.weights is not None:
        _require_fit(job, job.weights, plain.renderer.template)
        weights = adapter.load(job.weights, weights)
    return replace(plain, model=model, weights=weights), weights


def _without_adapter(job: Job) -> Language:
    assert job.backbone, f"{job.method} needs a backbone"
    model = backbone.load(job.model, job.backbone)
    context = int(model.config.max_position_embeddings)  # type: ignore[union-attr, arg-type]
    renderer = Renderer(job.catalog, read_template(backbone.load_tokenizer(job.model)), context)
    return Language(model, None, renderer, job.evaluate.max_new_tokens if job.evaluate else 0)


def _require_fit(job: Job, weights: Path, template: Template) -> None:
    """Refuse an adapter that was trained otherwise than it is to be used: its tensors would load and mean something else."""
    manifest, config = read_manifest(weights), json.loads(verify(weights / adapter.CONFIG).read_text(encoding="utf-8"))
    assert job.adapter is not None
    trained = {
        "method": manifest.get("method"),
        "backbone": manifest.get("backbone"),
        "prompt": manifest.get("prompt", "of a version without lines of one form"),
        "rank": config["r"],
        "alpha": config["lora_alpha"],
        "targets": sorted(config["target_modules"]),
    }
    asked = {
        "method": job.method,
        "backbone": backbone.fingerprint(job.model),
        "prompt": template.form(turns=job.method == "channel"),
        "rank": job.adapter.rank,
        "alpha": job.adapter.alpha,
        "targets": sorted(job.adapter.targets),
    }
    wrong = [name for name in asked if trained[name] != asked[name]]
    if "prompt" in wrong and {"backbone", "method"} & set(wrong):
        wrong.remove("prompt")  # another backbone has other tokens, and `channel` has turns in place of lines
    if wrong:
        raise UserError(
            "E-BASE-MISMATCH" if wrong == ["backbone"] else "E-ADAPTER",
            f"the adapter was trained with another {', '.join(wrong)}",
            str(weights),
            "; ".join(f"{name} {shown(trained[name])}, asked for {shown(asked[name])}" for name in wrong),
            "train it anew" if "prompt" in wrong else "name the adapter, the backbone and the params that belong together",
            exit_code=Exit.ARTIFACT,
        )
