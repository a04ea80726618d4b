"""The command line `mta`: one subcommand a rule, and those that people use by hand.

A subcommand imports its room when it runs, so that `mta ingest` does not wait for torch.
"""

import errno
import os
import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from metatoolagent import params
from metatoolagent.errors import Exit, UserError, shown

if TYPE_CHECKING:
    from metatoolagent.evaluation.job import Job

app = typer.Typer(name="mta", help="Meta-learned tool selection.", no_args_is_help=True, add_completion=False)


class DatasetFirst(TyperGroup):
    """A group whose first command may be left out: `mta export --out FOLDER` exports the dataset."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name the command where an option comes first."""
        named = args and (not args[0].startswith("-") or args[0] == "--help")
        return super().parse_args(ctx, args if named else ["dataset", *args])


exports = typer.Typer(name="export", help="Write the dataset or its tasks for other programs.", cls=DatasetFirst)
app.add_typer(exports)

Parameters = Annotated[str | None, typer.Option("--params", help="The params of the rule as JSON; params.yaml where left out.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the outputs.")]
Catalog = Annotated[Path, typer.Option("--catalog", help="Folder of the ingested catalog.")]
Parts = Annotated[Path, typer.Option("--parts", help="Folder of the tables of the split.")]
Model = Annotated[Path, typer.Option("--backbone", help="Folder of the backbone.")]
Tasks = Annotated[Path, typer.Option("--tasks", help="File of tasks.")]
Log = Annotated[Path | None, typer.Option("--log", help="File that errors are written to as well.")]
Predictions = Annotated[list[str], typer.Option("--prediction", help="METHOD=FILE, once for each fold of each method.")]


@app.command()
def ingest(out: Out = Path("data/interim"), parameters: Parameters = None, log: Log = None) -> None:
    """Read the tools and questions, check every row, and publish them as parquet."""
    del log
    from metatoolagent.catalog import ingest as stage

    stage.ingest(params.given(parameters).section(params.Ingest), out)


@app.command("ingest-chains")
def ingest_chains(out: Out, catalog: Catalog = Path("data/interim"), parameters: Parameters = None, log: Log = None) -> None:
    """Read the questions that need several tools, check every row, and publish them as parquet."""
    del log
    from metatoolagent.catalog import chain_stage as stage

    given = params.given(parameters)
    stage.ingest(given.section(params.Chains), catalog, allow_rejected=given.section(params.Ingest).allow_rejected, out=out)


@app.command()
def split(kind: str, catalog: Catalog, out: Out, parameters: Parameters = None, log: Log = None) -> None:
    """Part the tools, and with them the questions, into train, validation and test; KIND is sd, cd or hd-DOMAIN."""
    del log
    from metatoolagent.tasks import splits

    given = params.given(parameters)
    splits.split(catalog, kind, given.section(params.Split), given.seed, out)


@app.command("split-list")
def split_list(catalog: Catalog = Path("data/interim"), out: Path = Path("data/split.csv")) -> None:
    """Draw the parts from the seed and the shares in params.yaml, and write them as the list that `split` reads."""
    from metatoolagent.tasks import splits

    given = params.given(None)
    splits.write_list(catalog, given.section(params.Split), given.seed, out)


@app.command()
def materialize(kind: str, catalog: Catalog, parts: Parts, out: Out, parameters: Parameters = None, log: Log = None) -> None:
    """Draw the training meta-tasks and the evaluation tasks of a split."""
    del log
    from metatoolagent.tasks import meta_tasks

    given = params.given(parameters)
    meta, evaluation = given.section(params.MetaTasks), given.section(params.EvalTasks)
    meta_tasks.materialize(parts, catalog, kind, given.distractors, given.seed, meta, evaluation, out)


@app.command("ingest-external")
def ingest_external(benchmark: str, out: Out, log: Log = None) -> None:
    """Fetch the files of BENCHMARK (toolalpaca or apibench), and publish its tools and questions as parquet."""
    del log
    from metatoolagent.catalog.external import stage

    stage.ingest(benchmark, out)


@app.command("materialize-external")
def materialize_external(kind: str, catalog: Catalog, out: Out, parameters: Parameters = None, log: Log = None) -> None:
    """Draw the evaluation tasks of a benchmark; KIND is sd (distractors of the gold tool's domain) or cd (of all)."""
    del log
    from metatoolagent.tasks import external

    given = params.given(parameters)
    external.materialize(catalog, kind, given.distractors, given.seed, given.section(params.EvalTasks), out)


@app.command("materialize-chains")
def materialize_chains(
    chains: Annotated[Path, typer.Option(help="File of the ingested chains.")],
    catalog: Catalog,
    out: Out,
    parts: Annotated[Path | None, typer.Option(help="Folder of the parts; none where every tool is unseen.")] = None,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Draw the candidate sets of the unseen chains."""
    del log
    from metatoolagent.tasks import chain_tasks

    given = params.given(parameters)
    near = given.section(params.Split).near_duplicate
    chain_tasks.materialize(chains, catalog, parts, given.distractors, given.seed, near, out)


@app.command("materialize-overlap")
def materialize_overlap(
    kind: str, catalog: Catalog, tasks: Tasks, out: Out, parameters: Parameters = None, log: Log = None
) -> None:
    """Make descriptions overlap; KIND is the share of shared words in per cent, or siblings."""
    del log
    from metatoolagent.tasks import overlap

    overlap.materialize(kind, catalog, tasks, params.given(parameters).seed, out)


@app.command("materialize-probe")
def materialize_probe(
    probe: str, catalog: Catalog, parts: Parts, out: Out, parameters: Parameters = None, log: Log = None
) -> None:
    """Draw the evaluation tasks of PROBE: abstention, rotation or injection."""
    del log
    _require_known("probe", probe, list(params.PROBES[:-1]))
    from metatoolagent.tasks.probes import stage

    given = params.given(parameters)
    evaluation, probes = given.section(params.EvalTasks), given.section(params.Probes)
    stage.materialize(probe, parts, catalog, given.distractors, given.seed, evaluation, probes, out)


@app.command("materialize-adaptation")
def materialize_adaptation(parts: Parts, out: Out, parameters: Parameters = None, log: Log = None) -> None:
    """Draw the tasks of the adaptation probe: those to adapt on, and those to answer afterwards."""
    del log
    from metatoolagent.tasks.probes import stage

    given = params.given(parameters)
    evaluation, probes = given.section(params.EvalTasks), given.section(params.Probes)
    stage.materialize_adaptation(parts, given.distractors, given.seed, evaluation, probes, out)


@app.command()
def backbone(out: Out = Path("models/backbone"), parameters: Parameters = None, log: Log = None) -> None:
    """Fetch the backbone and bring it to one form on disk."""
    del log
    from metatoolagent.models import backbone as stage

    given = params.given(parameters)
    stage.build(given.section(params.Backbone), out)


@app.command()
def train(
    method: str,
    tasks: Tasks,
    catalog: Catalog,
    model: Model,
    out: Out,
    work: Annotated[Path, typer.Option(help="Folder of the checkpoints.")] = Path("work"),
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Train an adapter: METHOD is ft, masking or mta. The same command goes on after a kill; torchrun starts several."""
    del log
    _require_known("method", method, [name for name, sections in params.OF_METHOD.items() if "train" in sections])
    from metatoolagent.meta import training
    from metatoolagent.meta.job import Job
    from metatoolagent.models.backbone import use_cores

    use_cores()
    given = params.given(parameters)
    training.train(
        Job(
            method,
            given.seed,
            given.section(params.Backbone),
            given.section(params.Adapter),
            given.section(params.Train),
            given.section(params.Mta) if method == "mta" else None,
            tasks,
            catalog,
            model,
            out,
            work,
            given.section(params.Masking) if method == "masking" else None,
        )
    )


@app.command()
def evaluate(
    method: str,
    tasks: Tasks,
    catalog: Catalog,
    out: Out,
    model: Model = Path("models/backbone"),
    adapter: Annotated[Path | None, typer.Option(help="Folder of the adapter; none for the backbone alone.")] = None,
    demonstrations: Annotated[Path | None, typer.Option(help="File of the training tasks that icl is shown some of.")] = None,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Let METHOD answer every evaluation task, by score and freely; random and bm25 need no backbone."""
    del log
    from metatoolagent.evaluation import predicting

    predicting.evaluate(_job(method, tasks, catalog, out, model, adapter, demonstrations, parameters))


@app.command("evaluate-chains")
def evaluate_chains(
    method: str,
    tasks: Tasks,
    catalog: Catalog,
    out: Out,
    model: Model = Path("models/backbone"),
    adapter: Annotated[Path | None, typer.Option(help="Folder of the adapter; none for the backbone alone.")] = None,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Apply METHOD step by step to every chain, after its own choices and after the gold ones."""
    del log
    from metatoolagent.evaluation import chains

    chains.evaluate(_job(method, tasks, catalog, out, model, adapter, None, parameters))


@app.command("report-chains")
def report_chains(
    prediction: Annotated[list[str], typer.Option(help="VARIANT:METHOD=FILE, once for each variant and method.")],
    out: Out,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Turn the choices on chains into metrics, a table, a figure and a paragraph."""
    del log
    from metatoolagent.reporting import chains

    given = params.given(parameters)
    chains.report(_by_variant(prediction), given.section(params.Metrics).bootstrap, given.seed, out)


@app.command()
def adapt(
    method: str,
    tasks: Tasks,
    support: Annotated[Path, typer.Option(help="File of the tasks to adapt on.")],
    catalog: Catalog,
    out: Out,
    model: Model = Path("models/backbone"),
    adapter: Annotated[Path | None, typer.Option(help="Folder of the adapter; none for a fresh one.")] = None,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Let METHOD answer every evaluation task after each number of inner steps on the support tasks."""
    del log
    _require_known("method", method, list(params.PROBED))
    from metatoolagent.evaluation import adapting
    from metatoolagent.evaluation.job import Job
    from metatoolagent.models.backbone import use_cores

    use_cores()
    given = params.given(parameters)
    lora, backbone, evaluation = given.section(params.Adapter), given.section(params.Backbone), given.section(params.Evaluate)
    job = Job(method, backbone, lora, evaluation, tasks, catalog, model, adapter, out, given.seed)
    train, mta, probes = given.section(params.Train), given.section(params.Mta), given.section(params.Probes)
    adapting.run(adapting.Adaptation(job, support, train, mta, probes.steps))


@app.command()
def metrics(
    split: str,
    prediction: Predictions,
    out: Out,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Turn predictions into metrics with intervals and paired tests; SPLIT begins their keys."""
    del log
    from metatoolagent.evaluation import metrics as stage

    given = params.given(parameters)
    stage.measure(split, _by_method(prediction), given.section(params.Metrics).bootstrap, given.seed, out)


@app.command("metrics-external")
def metrics_external(
    prediction: Annotated[list[str], typer.Option(help="VARIANT:METHOD=FILE, once for each variant and method.")],
    out: Out,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Turn predictions on a benchmark into metrics with intervals and paired tests."""
    del log
    from metatoolagent.evaluation import external

    given = params.given(parameters)
    external.measure(_by_variant(prediction), given.section(params.Metrics).bootstrap, given.seed, out)


@app.command()
def sweep(
    name: str,
    runs: Annotated[str, typer.Option(help="The runs as JSON, as rule sweep gives them.")],
    out: Out,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Turn the predictions of sweep NAME into its table, figure and paragraph."""
    del log
    from metatoolagent.sweeps import stage
    from metatoolagent.sweeps.runs import from_json

    given = params.given(parameters)
    caps = given.section(params.Caps, "sweeps.caps").model_dump()
    stage.collect(name, from_json(runs), caps, given.section(params.Metrics).bootstrap, given.seed, out)


@app.command("metrics-probe")
def metrics_probe(
    probe: str,
    prediction: Annotated[list[str], typer.Option(help="METHOD=FILE, once for each method.")],
    out: Out,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Turn predictions of PROBE into metrics: abstention, rotation, injection or adaptation."""
    del log
    _require_known("probe", probe, list(params.PROBES))
    from metatoolagent.evaluation.probes import measuring

    given = params.given(parameters)
    files = {method: Path(path) for method, _, path in (item.partition("=") for item in prediction)}
    measuring.measure(probe, files, given.section(params.Metrics).bootstrap, given.seed, out)


@app.command()
def breakdowns(
    split: str,
    prediction: Predictions,
    catalog: Catalog,
    out: Out,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Measure the accuracy by domain, kind of question, position and style of name."""
    del log
    from metatoolagent.evaluation import breakdowns as stage

    given = params.given(parameters)
    stage.measure(split, _by_method(prediction), catalog, given.section(params.Metrics).bootstrap, given.seed, out)


@app.command()
def results(
    files: Annotated[list[Path] | None, typer.Argument(help="Metrics files; all that there are where left out.")] = None,
    save: Annotated[bool, typer.Option("--save", help="Write docs/results/metrics.json as well.")] = False,
) -> None:
    """Print the table of methods, splits and pools."""
    from metatoolagent.reporting import tables

    tables.show(files or tables.found(), save=save)


@app.command()
def show(
    task_id: str,
    variant: Annotated[
        str, typer.Option(help="Folder in results/ of the split or benchmark, such as sd or toolalpaca-cd.")
    ] = "main",
    model: Model = Path("models/backbone"),
) -> None:
    """Print the prompt of TASK_ID, such as all-000017, and what every method answered."""
    from metatoolagent.reporting import show as room

    benchmark = variant.removesuffix("-cd").removesuffix("-sd")
    external = Path("data/interim") / benchmark
    room.show(task_id, Path("results") / variant, external if external.is_dir() else external.parent, model)


@app.command()
def figures(
    metrics: Annotated[list[Path], typer.Option("--metrics", help="Metrics file, once for each split.")],
    breakdown: Annotated[list[Path], typer.Option(help="Folder of breakdowns, once for each split.")],
    curve: Annotated[list[str], typer.Option(help="METHOD=FILE of a training log.")],
    out: Out,
    candidates: Annotated[Path | None, typer.Option(help="Table of the sweep over numbers of distractors.")] = None,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Draw the figures of the report."""
    del log
    from metatoolagent.reporting import figures as stage

    logs = {method: files[0] for method, files in _by_method(curve).items()}
    stage.publish(stage.Sources(metrics, breakdown, logs, candidates), params.given(parameters).distractors, out)


@app.command()
def page(
    figure: Annotated[Path, typer.Option("--figures", help="Folder of the figures.")],
    caption: Annotated[Path, typer.Option("--captions", help="Folder of their captions.")],
    metrics: Annotated[list[Path], typer.Option("--metrics", help="Metrics file, once for each split.")],
    prediction: Annotated[list[str], typer.Option(help="SPLIT:METHOD=FILE, once for each fold.")],
    catalog: Annotated[list[str], typer.Option(help="SPLIT=FOLDER of the catalog.")],
    out: Out,
    probe: Annotated[list[Path] | None, typer.Option(help="Metrics file, once for each probe that was measured.")] = None,
    programme: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of multi_tool or a sweep.")] = None,
    missing: Annotated[list[str] | None, typer.Option(help="Target whose results the page lacks.")] = None,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Make the page that shows every result, in one file."""
    del log
    from metatoolagent.reporting import page as stage

    files: dict[str, dict[str, list[Path]]] = {}
    for key, paths in _by_method(prediction).items():
        split, _, method = key.partition(":")
        files.setdefault(split, {})[method] = paths
    catalogs, folders = ({key: paths[0] for key, paths in _by_method(given).items()} for given in (catalog, programme or []))
    sources = stage.Sources(figure, caption, metrics, files, catalogs, probe or [], folders, missing or [])
    stage.publish(sources, params.given(parameters).values, out)


@app.command()
def cost() -> None:
    """Print what the programme costs in tokens, FLOPs, hours and storage, as Markdown."""
    from metatoolagent.reporting import cost as room

    print(room.render(), end="")


@app.command()
def check(folder: Annotated[Path, typer.Argument(help="Holds tools/ and questions/, and chains/.")] = Path("data")) -> None:
    """Check the sources of a dataset as a contributor needs it: every finding with its file and line."""
    from metatoolagent.catalog import check as room

    room.run(folder)


@app.command("measure-data")
def measure_data(folder: Annotated[Path, typer.Argument(help="Holds tools/ and questions/.")] = Path("data")) -> None:
    """Measure the dataset, print the figures, and write measures.json and croissant.json into its folder."""
    from metatoolagent.catalog import croissant, measures

    measures.write(folder)
    croissant.write(folder)


@exports.command("dataset")
def export_dataset(out: Out, catalog: Catalog = Path("data/interim"), folder: Path = Path("data")) -> None:
    """Write the dataset as parquet, with the part of every tool, its card, its licence and its metadata."""
    from metatoolagent.tasks import export as stage

    stage.export(catalog, folder, out)


@exports.command("lm-eval")
def export_lm_eval(
    out: Out,
    tasks: Annotated[list[str] | None, typer.Option(help="SPLIT=FILE, once for each split; that of eval_cd if left out.")] = None,
    catalog: Catalog = Path("data/interim"),
    model: Model = Path("models/backbone"),
    parameters: Parameters = None,
) -> None:
    """Write evaluation tasks as tasks of lm-evaluation-harness, with the prompt of the backbone's chat template."""
    from metatoolagent.evaluation import harness

    limit = params.given(parameters).section(params.Evaluate).max_new_tokens
    files = dict(_split_file(item) for item in tasks or ["cd=results/main/tasks/eval_tasks.parquet"])
    differing = harness.export(files, catalog, model, limit, out)
    for key, count in differing.items():
        print(f"{key}: lm-evaluation-harness reads {count} tasks as other tokens than mta evaluate")


@app.command()
def verify(paths: list[Path]) -> None:
    """Check artifacts against their manifests."""
    from metatoolagent import artifacts

    for path in paths:
        artifacts.verify(path)
        print(f"ok {path}")


def _split_file(item: str) -> tuple[str, Path]:
    """Return what SPLIT=FILE names.

    Raises:
        UserError: E-SPLIT-FILE (exit code 64).
    """
    split, _, path = item.partition("=")
    if not re.fullmatch(r"[a-z_-]+", split) or not path:
        fix = "write --tasks SPLIT=FILE, such as sd=results/sd/tasks/eval_tasks.parquet"
        raise UserError("E-SPLIT-FILE", "not a split and its file", "--tasks", shown(item), fix, exit_code=Exit.PARAMS)
    return split, Path(path)


def _by_method(predictions: list[str]) -> dict[str, list[Path]]:
    """Return the files that options METHOD=FILE name."""
    files: dict[str, list[Path]] = {}
    for item in predictions:
        method, _, path = item.partition("=")
        files.setdefault(method, []).append(Path(path))
    return files


def _by_variant(prediction: list[str]) -> dict[str, dict[str, Path]]:
    """Return the files that options VARIANT:METHOD=FILE name."""
    files: dict[str, dict[str, Path]] = {}
    for item in prediction:
        key, _, path = item.partition("=")
        variant, _, method = key.partition(":")
        files.setdefault(variant, {})[method] = Path(path)
    return files


def _job(
    method: str,
    tasks: Path,
    catalog: Path,
    out: Path,
    model: Path,
    adapter: Path | None,
    demonstrations: Path | None,
    parameters: str | None,
) -> "Job":
    """Return what to evaluate.

    Raises:
        UserError: E-METHOD or E-PARAMS (exit code 64).
    """
    _require_known("method", method, list(params.OF_METHOD))
    from metatoolagent.evaluation.job import Job
    from metatoolagent.models.backbone import use_cores

    use_cores()
    given = params.given(parameters)
    lora = given.section(params.Adapter) if adapter else None
    backbone = None if method in params.MODEL_FREE else given.section(params.Backbone)
    sections = params.EVALUATED_WITH.get(method, ())
    return Job(
        method,
        backbone,
        lora,
        given.section(params.Evaluate) if backbone else None,
        tasks,
        catalog,
        model,
        adapter,
        out,
        given.seed,
        demonstrations,
        given.section(params.Reasoning) if "reasoning" in sections else None,
        given.section(params.Icl) if "icl" in sections else None,
    )


def _require_known(what: str, name: str, known: list[str]) -> None:
    """Refuse a method or a probe that the stage does not know; without this a misspelt name would run as another one.

    Raises:
        UserError: E-METHOD or E-PROBE (exit code 64).
    """
    if name not in known:
        fix = f"name one of {', '.join(known)}"
        code, where = f"E-{what.upper()}", f"argument {what.upper()}"
        raise UserError(code, f"the stage knows no such {what}", where, shown(name), fix, exit_code=Exit.PARAMS)


def main() -> None:
    """Run the command line; every error that a user can act on ends with its exit code and without a traceback."""
    try:
        app(standalone_mode=True)
    except UserError as error:
        stop(error)
    except OSError as error:
        stop(of_system(error))
    except Exception as error:
        if (wrapped := of_library(error)) is not None:
            stop(of_system(wrapped))
        fail("error[E-BUG] this is our mistake; please report it with these lines\n" + traceback.format_exc(), Exit.BUG)


def stop(error: UserError) -> None:
    """End the program with a user's error."""
    fail(str(error), error.exit_code)


def of_library(error: Exception) -> OSError | None:
    """Return the file system's error that polars and safetensors wrap in one of their own, with its number in the text."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def of_system(error: OSError) -> UserError:
    """Return what to tell the user of an error of the file system."""
    where = str(error.filename or "")
    kept = "earlier artifacts are as they were"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        fix = "free space, then run the same command again"
        return UserError("E-DISK-FULL", "no space is left", where, fix=fix, kept=kept, exit_code=Exit.IO)
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        what, fix = "a file or folder is not accessible", "check its permissions"
        return UserError("E-READONLY", what, where, fix=fix, kept=kept, exit_code=Exit.CREATE)
    if error.errno in {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}:
        what, fix = f"cannot create a file or folder ({error.strerror})", "move away what stands there, then run it again"
        return UserError("E-CREATE", what, where, fix=fix, kept=kept, exit_code=Exit.CREATE)
    fix = "check the disk, then run it again"
    return UserError("E-IO", error.strerror or str(error), where, fix=fix, kept=kept, exit_code=Exit.IO)


def fail(message: str, code: Exit) -> None:
    """Print an error, to the log that the job was given too, and end the program."""
    print(message, file=sys.stderr)
    if "--log" in sys.argv[:-1]:
        path = Path(sys.argv[sys.argv.index("--log") + 1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(message + "\n", encoding="utf-8")
    sys.exit(code)
