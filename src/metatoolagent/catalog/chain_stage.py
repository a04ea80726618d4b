"""Ingestion of chains: a folder of YAML and the ingested catalog, to a checked table."""

from pathlib import Path

from metatoolagent import artifacts, params
from metatoolagent.catalog import schemas
from metatoolagent.catalog.chains import read_chains, reject_repeated_chains
from metatoolagent.catalog.ingest import (
    Sources,
    errors_of,
    frame_of,
    kept,
    read_folder,
    refuse_changed,
    rejected_frame,
    stop,
    warn,
)
from metatoolagent.catalog.questions import Tools
from metatoolagent.catalog.rejection import Tally
from metatoolagent.catalog.text import normalised
from metatoolagent.errors import UserError

OUTPUTS = ["chains.parquet", "rejected.parquet"]


def ingest(given: params.Chains, catalog: Path, *, allow_rejected: bool, out: Path) -> None:
    """Publish `chains.parquet` and `rejected.parquet`.

    They are an artifact of their own, so that an edit of a chain makes nothing of the single-tool experiments out of date.

    Args:
        given: the folder of the chains.
        catalog: the artifact of ingesting the tools and questions.
        allow_rejected: whether to go on without the rows that fail.
        out: the folder of the artifact.

    Raises:
        UserError: the first rejection, with all of them in `errors/rejected.parquet`, unless `allow_rejected`;
            E-EMPTY if nothing is left; E-CHANGED if a file changed meanwhile; E-CORRUPT or E-MISSING for the catalog.
    """
    inputs = [catalog / "tools.parquet", catalog / "questions.parquet"]
    tools = schemas.read(inputs[0], schemas.TOOLS)
    questions = schemas.read(inputs[1], schemas.QUESTIONS)
    answers: Tools = {name: (domain, True) for name, domain in tools.select("name", "domain").iter_rows()}
    sources = Sources()
    sources.chains = read_folder(Path(given.folder), sources, lambda document: read_chains(document, answers))
    asked = {normalised(text): f"question {name}" for name, text in questions.select("question_id", "question").iter_rows()}
    reject_repeated_chains(sources.chains, asked)
    chains = kept(sources.chains)
    if sources.rejections and not (chains and allow_rejected):
        stop(sources.rejections, out)
    if not chains:
        raise UserError("E-EMPTY", "no chain is left", given.folder, fix="add <domain>.yaml there", kept=artifacts.KEPT)
    tally = Tally(len(sources.chains), sum(bool(row.rejections) for row in sources.chains), {"chains": len(chains)})
    with artifacts.publishing(out, OUTPUTS, producer="ingest_chains", inputs=[*inputs, *sorted(sources.hashes)]) as paths:
        schemas.write(frame_of(chains, schemas.CHAINS), schemas.CHAINS, paths[OUTPUTS[0]])
        schemas.write(rejected_frame(sources.rejections), schemas.REJECTED, paths[OUTPUTS[1]])
        refuse_changed(sources.hashes)
    warn(sources.rejections, tally, len(sources.failed), out / OUTPUTS[1])
    errors_of(out).unlink(missing_ok=True)
