"""How Snakemake's jobs map onto DVC's stages.

The DAG is written once, as Snakemake rules. `python -m metatoolagent.stages` writes dvc.yaml from it, the stages of
`eval_cd`, and `--check` compares. After a direct `snakemake` run, `handover.commit` hands DVC the stages that are up to date.
The stages of the other splits and of the benchmarks get a file of their own, `splits/<split>/dvc.yaml`, those of the
other methods `methods/dvc.yaml`, those of the probes `probes/dvc.yaml`, and those of the page `report/dvc.yaml`, once they
have been run: a stage that never ran has nothing in any remote, and `dvc pull` would fail for it. A sweep is one stage of
`sweeps/dvc.yaml`, whose folder stays between runs, so that only what is new is computed;
`python -m metatoolagent.stages TARGET` writes the stages of a target that has not been run yet.
"""

import argparse
import difflib
import io
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from metatoolagent import params, strict_yaml
from metatoolagent.artifacts import atomic_path
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.params import MAIN_JOB

PARAMS = Path("params.yaml")
MAIN, TARGET = "dvc.yaml", "eval_cd"
"""The file that plain `dvc repro` runs, and the target that it covers."""
METHODS = "methods/dvc.yaml"
"""The file of what `eval_methods` needs beside them."""
SWEEPS = "sweeps/dvc.yaml"
"""The file of the sweeps: a stage for each table, with all the jobs that serve it alone."""
SWEEPING = {"backbone_of_variant", "evaluate", "materialize", "materialize_evaluation", "materialize_overlap", "split", "train"}
"""Rules that a sweep may need once its grid grows, though none of its jobs is of them yet."""
OF_RULE = {"metrics_hd": "hd", "ingest_chains": "chains", "report_chains": "chains"}
"""The variant of rules beyond the main job that have no wildcard to tell it."""
PROBES = "probes/dvc.yaml"
"""The file of what `eval_probes` needs beside them."""
OF_ADAPTATION = ("materialize_adaptation", "adapt")
"""The rules of a probe that have no wildcard that says so."""
REPORT, REPORT_RULES = "report/dvc.yaml", {"breakdowns", "figures", "page"}
"""The file of what `report` needs beside the results, and the rules of its stages."""
METRICS = "metrics.json"
TABLE, CURVES = "accuracies.csv", "train_log.csv"
HEADER = "# Written by `python -m metatoolagent.stages` from the Snakemake rules: edit those, then run it.\n"

Stage = dict[str, Any]


def record(path: str) -> str:
    """Return where Snakemake keeps the provenance of an output (workflow/rules/dvc.smk)."""
    return f".snakemake/metadata/{path}"


def stage_name(job: Any) -> str:
    """Return the name of a job's stage: the rule and its wildcards, `main` left out."""
    return "-".join([job.rule.name, *(value for value in job.wildcards_dict.values() if value != "main")])


def is_stage(job: Any) -> bool:
    """Say whether a job is a stage; one that serves a sweep alone belongs to the stage of the sweep's table."""
    return bool(job.output) and not job.wildcards_dict.get("variant", "").startswith("sweep/")


def jobs_of(dag: Any, job: Any) -> list[Any]:
    """Return the jobs of a job's stage: itself, and those of its sweep where it makes a sweep's table."""
    jobs = [job]
    for needed in jobs:
        jobs += [other for other in dag.dependencies[needed] if other.output and not is_stage(other) and other not in jobs]
    return jobs


def stage(dag: Any, job: Any) -> Stage:
    """Return the stage of a job."""
    jobs = jobs_of(dag, job)
    outs = sorted(map(str, job.output))
    made = {str(file) for one in jobs for file in one.output}
    metrics = [out for out in outs if Path(out).name == METRICS]
    rules = {one.rule.name for one in jobs} | (SWEEPING if file_of(job) == SWEEPS else set())
    content = {
        # Only these rules may run: upstream files are taken as they are, since DVC decides what runs.
        "cmd": f"snakemake --cores all --allowed-rules {' '.join(sorted(rules))} -- {' '.join(outs)}",
        "deps": sorted({str(file) for one in jobs for file in one.input} - made),
        "params": sorted({key for one in jobs for key in json.loads(one.params.given)}),
        "outs": [out for out in outs if out not in metrics] + [record(out) for out in outs],
        "metrics": metrics,
    }
    if file_of(job) == SWEEPS:
        folder = str(Path(outs[0]).parent)
        content["outs"] = [{path: {"persist": True}} for path in (folder, record(folder))]
    return {key: value for key, value in content.items() if value}


def stages(dag: Any) -> dict[str, Stage]:
    """Return the stages of a DAG, in running order."""
    jobs = [job for level in dag.toposorted() for job in sorted(level, key=stage_name)]
    return {stage_name(job): stage(dag, job) for job in jobs if is_stage(job)}


def plots(made: dict[str, Stage]) -> list[dict[str, Any]]:
    """Return what DVC plots: the table of methods, drawn as .dvc/plots/accuracies.json says, and the training curves."""
    outs = [out for content in made.values() for out in content["outs"] if out.startswith("results/")]
    tables, logs = ([out for out in outs if Path(out).name == name] for name in (TABLE, CURVES))
    methods = {"x": "accuracy", "y": dict.fromkeys(tables, "method"), "template": "accuracies"}
    curves = [{f"training {column}": {"x": "update", "y": dict.fromkeys(logs, column)}} for column in ("loss", "right")]
    return [{"accuracy of every method": methods}, *curves]


def file_of(job: Any) -> str:
    """Return the file that a job's stage stands in."""
    if job.rule.name in REPORT_RULES:
        return REPORT
    wildcards = job.wildcards_dict
    if "sweep" in wildcards:
        return SWEEPS
    if "probe" in wildcards or wildcards.get("variant", "").startswith("probe-") or job.rule.name in OF_ADAPTATION:
        return PROBES
    variant = next(
        (wildcards[name] for name in ("variant", "split", "benchmark") if name in wildcards),
        OF_RULE.get(job.rule.name, "main"),
    )
    if variant not in {"main", "cd"}:
        return f"splits/{variant.partition('-')[0]}/dvc.yaml"
    beyond = job.rule.name == "metrics_methods" or wildcards.get("method", MAIN_JOB[0]) not in MAIN_JOB
    return METHODS if beyond else MAIN


def read(path: Path = Path(MAIN)) -> dict[str, Stage]:
    """Return the stages that stand in a file of DVC's.

    Raises:
        UserError: E-MISSING, E-STAGES, or what is no YAML in it, such as the marks of a conflict (exit code 66).
    """
    try:
        content = strict_yaml.load(path).content
        if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
            raise UserError("E-STAGES", "no stages are in a file of DVC's", str(path))
    except UserError as error:
        again = (
            "python -m metatoolagent.stages" if path == Path(MAIN) else f"delete {path}, python -m metatoolagent.stages TARGET"
        )
        error.fix, error.exit_code = f"{again} writes it; what was made meanwhile: dvc commit", Exit.ARTIFACT
        raise
    return dict(content["stages"])


def add(path: Path, made: dict[str, Stage]) -> bool:
    """Add stages to a file beyond dvc.yaml and say whether it had them otherwise; those that are not in this run stay."""
    above = {"wdir": "../" * str(path).count("/")}
    there = read(path) if path.exists() else {}
    stages = there | {name: above | content for name, content in made.items()}
    if stages == there:
        return False
    with atomic_path(path) as temporary:
        temporary.write_text(_dump({"stages": stages}), encoding="utf-8")
    return True


def _dump(content: dict[str, Any]) -> str:
    yaml = YAML()
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(content, buffer := io.StringIO())
    return HEADER + buffer.getvalue()


def render(target: str = TARGET) -> dict[str, dict[str, Stage]]:
    """Return the stages of a target by the file that they stand in."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings

    files: dict[str, dict[str, Stage]] = {}
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        flow = api.workflow(ResourceSettings(cores=1), snakefile=Path("Snakefile"))
        flow.dag(DAGSettings(targets={target}, forceall=True))
        flow._workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
        flow._workflow._build_dag()
        dag = flow._workflow.dag
        place = {stage_name(job): file_of(job) for job in dag.jobs if is_stage(job)}
        for name, content in stages(dag).items():
            files.setdefault(place[name], {})[name] = content
    return files


def require_checkout() -> None:
    """Refuse a folder that is no checkout, or is another one than the package that runs is of, such as a second clone's.

    Raises:
        UserError: E-MISSING or E-CHECKOUT (exit code 64).
    """
    if not Path("Snakefile").is_file():
        fix = "run the command in the repository's folder"
        raise UserError("E-MISSING", "no Snakefile is in this folder", str(Path.cwd()), fix=fix, exit_code=Exit.PARAMS)
    running, own = Path(__file__).resolve().parents[1], Path("src").resolve()
    if running != own:
        what = "the package that runs is not this checkout's, so it does not know this checkout's rules"
        fix = f"PYTHONPATH=src python -m metatoolagent.stages {shlex.join(sys.argv[1:])}".rstrip()
        raise UserError("E-CHECKOUT", what, str(own), shown(running), fix, "nothing was written", exit_code=Exit.PARAMS)


def require_target(target: str) -> None:
    """Refuse what is no target of the Snakefile.

    Raises:
        UserError: E-TARGET (exit code 64), with the nearest one.
    """
    known = re.findall(r"^rule (\w+):", Path("Snakefile").read_text(encoding="utf-8"), re.MULTILINE)
    if target not in known:
        near = difflib.get_close_matches(target, known, n=1, cutoff=0.5)
        fix = f"did you mean {near[0]}?" if near else f"name one of {', '.join(known)}"
        raise UserError("E-TARGET", "no such target in the Snakefile", got=shown(target), fix=fix, exit_code=Exit.PARAMS)


def main() -> None:
    """Write the current folder's dvc.yaml, or with `--check` end with exit code 1 if it is not what the rules say.

    For each target that is named, its stages are added to the other files, so that `dvc repro` can run it first. Where
    params.yaml is wrong, or names a folder of authored files that is not there, nothing is written.
    """
    parser = argparse.ArgumentParser(
        prog="python -m metatoolagent.stages", description="Write dvc.yaml from the Snakemake rules."
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="a target of the Snakefile, to let `dvc repro` run it first")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if dvc.yaml is not what the rules say")
    given = parser.parse_args()
    try:
        require_checkout()
        for target in given.targets:
            require_target(target)
        params.require_folders(params.load(PARAMS))
        write(given.targets, check=given.check)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def write(targets: Sequence[str], *, check: bool) -> None:
    """Write dvc.yaml, or hold it against the rules, and add the stages of targets to the other files."""
    made = render()[MAIN]
    path, text = Path(MAIN), _dump({"stages": made, "plots": plots(made)})
    if not check:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != text:
        sys.exit(f"{path} is out of date: run `python -m metatoolagent.stages`")
    for target in targets:
        for file, content in render(target).items():
            if file != MAIN:
                add(Path(file), content)


if __name__ == "__main__":
    main()
