"""What the two materializations share: the split that tasks are drawn on, and tasks on their way to a file, chunk by chunk."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import polars as pl
import pyarrow as pa
from pyarrow import parquet

from metatoolagent import artifacts, params
from metatoolagent.catalog import chunks, schemas
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.known import stale
from metatoolagent.tasks.choices import Choices
from metatoolagent.tasks.distractors import Sampling, similarity_ranks

BYTES_A_NAME = 32
"""Room on disk for one candidate of one task, generously."""


@dataclass(frozen=True)
class Source:
    """The tools and questions that tasks are drawn from."""

    split: str
    """`sd`, where the candidates of a task are of one domain, `cd` or `hd-<domain>`."""

    files: list[Path]
    choices: Choices
    documents: pl.DataFrame

    @classmethod
    def read(cls, split_folder: Path, catalog: Path, split: str) -> "Source":
        """Read the artifacts of a split and of ingestion.

        Raises:
            UserError: E-SPLIT-KIND (exit code 66) if the parts are those of another split, or an error of the inputs.
        """
        files = [split_folder / "tools.parquet", split_folder / "questions.parquet", catalog / "tools.parquet"]
        choices = Choices.of(schemas.read(files[0], schemas.TOOL_PARTS), chunks.read(files[1], schemas.QUESTION_PARTS))
        require_kind(split_folder, split)
        documents = schemas.read(files[2], schemas.TOOLS)
        if not documents["name"].equals(choices.names):
            different = sorted(set(documents["name"]) ^ set(choices.names))
            raise stale("the split and the catalog have different tools", ", ".join(different[:3]))
        return cls(split, files, choices, documents)

    def sampling(self, kind: params.DistractorKind, distractors: int, seed: int) -> Sampling:
        """Return how candidate sets of a kind are made."""
        ranks_TT = similarity_ranks(self.documents) if kind == "hard" else None
        return Sampling(distractors, self.split == "sd" or kind == "same_domain", ranks_TT, seed)


def require_kind(folder: Path, split: str) -> None:
    """Refuse the parts of another split; `sd` and `cd` have the same ones.

    Raises:
        UserError: E-SPLIT-KIND (exit code 66), or an error of the manifest. That of an earlier version does not have the kind.
    """
    made = artifacts.read_manifest(folder).get("kind", split)
    if made != split and {made, split} != {"sd", "cd"}:
        what, fix = f"the parts are not those of split {split}", f"name the folder that mta split {split} made"
        raise UserError("E-SPLIT-KIND", what, str(folder), shown(made), fix, artifacts.KEPT, exit_code=Exit.ARTIFACT)


def publish(
    frames: Iterator[pl.DataFrame], schema: schemas.Table, out: Path, file: str, producer: str, source: Source, names: int
) -> None:
    """Check tasks and publish them, holding one chunk at a time.

    Args:
        frames: the chunks.
        schema: what is checked.
        out: the folder of the artifact.
        file: the name of its file.
        producer: the rule that makes it.
        source: what the tasks are drawn from.
        names: names of tools that all tasks hold together, for the room that they need.

    Raises:
        UserError: E-DISK-FULL before anything is written.
    """
    artifacts.require_space(out, names * BYTES_A_NAME)
    with artifacts.publishing(out, [file], producer=producer, inputs=source.files) as paths:
        first = _arrow(next(frames), schema, file)
        with parquet.ParquetWriter(paths[file], first.schema, compression="zstd", compression_level=3) as writer:
            for table in chain([first], (_arrow(frame, schema, file) for frame in frames)):
                writer.write_table(table)


def _arrow(frame: pl.DataFrame, schema: schemas.Table, file: str) -> pa.Table:
    return schemas.checked(frame, schema, file).to_arrow(compat_level=pl.CompatLevel.oldest())
