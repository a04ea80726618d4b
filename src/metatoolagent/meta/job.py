"""What one training run is: its method, its params, and where everything lies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metatoolagent import params
from metatoolagent.meta import checkpoints
from metatoolagent.meta.objectives import Objective, fine_tuning, meta_learning
from metatoolagent.models.backbone import FILES
from metatoolagent.models.precision import name_of


@dataclass(frozen=True)
class Job:
    """What to train: the method, its params, and where everything lies."""

    method: str
    seed: int
    backbone: params.Backbone
    adapter: params.Adapter
    train: params.Train
    mta: params.Mta | None
    tasks: Path
    catalog: Path
    model: Path
    out: Path
    work: Path
    masking: params.Masking | None = None

    def run_id(self) -> str:
        """Return the name of the run, which changes with all that decides its result, and with nothing else."""
        # `auto` is not one format on all machines, and a run does not go on in another than it began in.
        parameters: dict[str, Any] = {"method": self.method, "seed": self.seed, "dtype": name_of(self.backbone)}
        for name in ("backbone", "adapter", "train", "masking", "mta"):
            section = getattr(self, name)
            parameters[name] = section.model_dump(exclude={"checkpoint_every"}) if section else None
        prompts = [self.model / name for name in FILES if name != "model.safetensors"]
        return checkpoints.run_id(parameters, [*self.inputs(), *prompts])

    def inputs(self) -> list[Path]:
        """Return the artifacts that the trainer reads."""
        return [self.tasks, self.catalog / "tools.parquet", self.catalog / "questions.parquet", self.model / "model.safetensors"]

    def objective(self) -> Objective:
        """Return what the method does with a meta-task."""
        return fine_tuning() if self.mta is None else meta_learning(self.mta)
