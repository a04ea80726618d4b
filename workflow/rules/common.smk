"""What the rules share, as functions: checked parameters, code as input, and which split a variant has."""

import glob
import json
from types import SimpleNamespace

from metatoolagent import params as checked
from metatoolagent.errors import UserError

MAIN_METRICS = "results/main/metrics.json"
METHODS_METRICS = "results/main/methods/metrics.json"
METHODS = list(checked.MAIN_JOB)
ALL_METHODS = list(checked.OF_METHOD)
TRAINED = "main|sd|hd-[a-z0-9_]+"
BENCHMARKS = ["toolalpaca", "apibench"]
EXTERNAL = f"(?:{'|'.join(BENCHMARKS)})-(?:cd|sd)"


wildcard_constraints:
    split="sd|cd|hd-[a-z0-9_]+",
    variant=TRAINED,
    benchmark="|".join(BENCHMARKS),
    method="|".join(ALL_METHODS),


def check_params():
    """Stop before any job if params.yaml, or what --config made of it, is wrong."""
    try:
        checked.load(Path("params.yaml"))
        checked.check(dict(config))
    except UserError as error:
        print(error, file=sys.stderr)
        # Snakemake would wrap an exception in a traceback of its own.
        os._exit(error.exit_code)


check_params()


def pick(*names):
    """Return these keys of params.yaml as one JSON text, which is all that a job gets and all that re-runs it."""
    return json.dumps({name: config[name] for name in names}, sort_keys=True)


def code(*rooms):
    """Return the package files that a rule uses, since no engine sees an edit inside an imported package."""
    found = []
    for room in rooms:
        found += glob.glob(f"src/metatoolagent/{room}.py") + glob.glob(
            f"src/metatoolagent/{room}/*.py"
        )
    return sorted(found)


def split_of(wildcards):
    """Return the split of a variant: `main` is cd, the others are named after theirs."""
    return "cd" if wildcards.variant == "main" else wildcards.variant


def catalog_files(wildcards):
    """Return the authored files of the catalog."""
    folders = [config["ingest"]["tools"], config["ingest"]["questions"]]
    return [
        file for folder in folders for file in sorted(glob.glob(f"{folder}/*.yaml"))
    ]


def tools_list(wildcards):
    """Return the committed list of parts, if params.yaml names one."""
    return [config["split"]["tools_list"]] if config["split"]["tools_list"] else []


def benchmark_of(wildcards):
    """Return the benchmark that a variant is evaluated on; nothing for a variant of our own data."""
    benchmark = wildcards.variant.split("-")[0]
    return benchmark if benchmark in BENCHMARKS else ""


def catalog_of(wildcards):
    """Return the catalog that a variant's tasks are drawn from: our own, or a benchmark's."""
    folder = os.path.join("data/interim", benchmark_of(wildcards)).rstrip("/")
    return [
        f"{folder}/{file}"
        for file in ["tools.parquet", "questions.parquet", "manifest.json"]
    ]


def adapter_files(wildcards):
    """Return the adapter that a method is evaluated with, if it trains one."""
    variant = "main" if benchmark_of(wildcards) else wildcards.variant
    folder = f"results/{variant}/{wildcards.method}/adapter"
    return (
        [f"{folder}/adapter_model.safetensors", f"{folder}/manifest.json"]
        if checked.OF_METHOD[wildcards.method]
        else []
    )


def backbone_files(wildcards):
    """Return the backbone's files for the methods that need it."""
    files = ["model.safetensors", "tokenizer.json", "manifest.json"]
    return (
        []
        if wildcards.method in checked.MODEL_FREE
        else [f"models/backbone/{file}" for file in files]
    )


def demonstration_files(wildcards):
    """Return the training tasks that icl is shown some of."""
    folder = f"results/{wildcards.variant}/tasks"
    return [f"{folder}/meta_tasks.parquet"] if wildcards.method == "icl" else []


def method_code(wildcards):
    """Return a method's own file, and the reasoning that cot and react share."""
    own = checked.MODULE.get(wildcards.method, "direct")
    shared = ["reasoning"] if own in ("cot", "react") else []
    return code(*(f"evaluation/methods/{name}" for name in [own, *shared]))


def given_to_evaluate(wildcards):
    """Return the params of an evaluation: what the method reads, and no more."""
    sections = list(checked.OF_METHOD[wildcards.method][:1])
    if wildcards.method not in checked.MODEL_FREE:
        sections.append("backbone")
    return pick("evaluate", "seed", *sections)


def fold_predictions(wildcards):
    """Return every method's predictions of all folds of split hd."""
    return expand(
        "results/hd-{domain}/{method}/predictions.parquet",
        domain=config["split"]["held_out"],
        method=METHODS,
    )


def methods_of(variant):
    """Return the methods that a variant's results are shown of: all, once they were measured on it."""
    everything = variant == "main" and os.path.exists(METHODS_METRICS)
    return ALL_METHODS if everything else METHODS


def predictions_of(wildcards):
    """Return the predictions of a variant's methods; of all folds for split hd."""
    if wildcards.variant == "hd":
        return fold_predictions(wildcards)
    return expand(
        "results/{variant}/{method}/predictions.parquet",
        variant=wildcards.variant,
        method=methods_of(wildcards.variant),
    )


def by_variant_and_method(predictions):
    """Return the options that tell `mta metrics-external` whose predictions each file has."""
    parts = [file.split("/") for file in predictions]
    return [f"--prediction {part[1]}:{part[2]}={'/'.join(part)}" for part in parts]
