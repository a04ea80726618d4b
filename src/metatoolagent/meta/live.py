"""Training curves while they grow, through dvclive: asked for with an environment variable, since no result depends on it.

`METATOOLAGENT_LIVE=FOLDER` writes FOLDER/<method>/, which `dvc plots show` and DVC's editor extension read. It comes with
the extra `live`. The log that is published, `train_log.csv`, is written all the same.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from metatoolagent.errors import Exit, UserError

FOLDER = "METATOOLAGENT_LIVE"


class Curves(Protocol):
    """What a run draws on."""

    def draw(self, update: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve; `update` counts from 1."""

    def close(self) -> None:
        """End the curves."""


class NoCurves:
    """Nobody asked."""

    def draw(self, update: int, values: Mapping[str, float]) -> None:
        """Draw nothing."""

    def close(self) -> None:
        """End nothing."""


class Live:
    """Curves of dvclive."""

    def __init__(self, folder: Path) -> None:
        """Begin anew: a run that goes on draws its log up to there once more, since dvclive only adds points.

        Raises:
            UserError: E-LIVE (exit code 64) if dvclive is not installed.
        """
        try:
            from dvclive import Live as Logger
        except ImportError:
            what, fix = "live curves are asked for, and dvclive is not installed", "pip install -c constraints.txt -e '.[live]'"
            raise UserError("E-LIVE", what, f"environment variable {FOLDER}", fix=fix, exit_code=Exit.PARAMS) from None
        # Neither an experiment nor a dvc.yaml of its own: the stage is DVC's already.
        self.logger = Logger(str(folder), save_dvc_exp=False, dvcyaml=None)

    def draw(self, update: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        self.logger.step = update
        for name, value in values.items():
            self.logger.log_metric(name, value)
        self.logger.make_summary()

    def close(self) -> None:
        """Flush what was drawn."""
        self.logger.end()


def curves(method: str, *, leads: bool) -> Curves:
    """Return what a run draws on: dvclive where it is asked for, by the leading process alone."""
    folder = os.environ.get(FOLDER)
    return Live(Path(folder) / method) if folder and leads else NoCurves()
