"""The language model of a job: backbone, LoRA tensors where the method has them, and the renderer of its catalog."""

from dataclasses import dataclass

import torch
from torch import nn

from metatoolagent.evaluation.job import Job
from metatoolagent.models import adapter, backbone
from metatoolagent.models.adapter import Tensors
from metatoolagent.tasks.prompts import read_template
from metatoolagent.tasks.rendering import Renderer


@dataclass(frozen=True)
class Language:
    """A model that is ready to answer."""

    model: nn.Module
    weights: Tensors | None
    renderer: Renderer
    max_new_tokens: int
    """Limit of a free answer."""


def load(job: Job) -> Language:
    """Load what a job names.

    Raises:
        UserError: E-CORRUPT or E-MISSING for inputs, and those of the adapter.
    """
    assert job.backbone and job.evaluate, f"{job.method} needs a backbone"
    model = backbone.load(job.model, job.backbone)
    context = int(model.config.max_position_embeddings)  # type: ignore[union-attr, arg-type]
    renderer = Renderer(job.catalog, read_template(backbone.load_tokenizer(job.model)), context)
    weights: Tensors | None = None
    if job.weights is not None and job.adapter is not None:
        model = adapter.attach(model, job.adapter)
        expected = adapter.initial(model, torch.Generator().manual_seed(0))
        weights = adapter.load(job.weights, expected)
        if job.backbone.dtype == "float32":
            # No LoRA layers to compute. In bfloat16 the sums would be rounded, and the answers would be others than trained for.
            model, weights = adapter.merged(model, weights), None
    return Language(model, weights, renderer, job.evaluate.max_new_tokens)
