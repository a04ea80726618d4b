"""What the rules share, as functions: checked parameters, code as input, and which split a variant has."""

import functools
import glob
import json
import re
import typing
from types import SimpleNamespace

import yaml

from metatoolagent import strict_yaml, variants
from metatoolagent.sweeps import runs

MAIN_METRICS = "results/main/metrics.json"
METHODS_METRICS = "results/main/methods/metrics.json"
METHODS = list(checked.MAIN_JOB)
ALL_METHODS = list(checked.OF_METHOD)
TRAINED = f"main|sd|hd-[a-z0-9_]+|{variants.PATTERN}"
BENCHMARKS = list(typing.get_args(checked.Benchmark))
CHAINS = "chains|toolalpaca-chains"
OVERLAP = "overlap-(?:[0-9]+|siblings)"
EXTERNAL = checked.EXTERNAL
# Of a backbone's folder: weights, tokenizer and configuration, not what a training left beside them.
READ_OF_BACKBONE = (".safetensors", ".json", ".jinja", ".model", ".txt")
PROBED = f"probe-(?:{'|'.join(checked.PROBES[:-1])})"


wildcard_constraints:
    split=variants.SPLITS,
    variant=TRAINED,
    benchmark="|".join(BENCHMARKS),
    sweep="|".join(runs.NAMES),
    probe="|".join(checked.PROBES),
    method="|".join(ALL_METHODS),


def check_params():
    """Stop before any job if what --config made of params.yaml is wrong."""
    config.update(with_numbers(as_written(dict(config), WRITTEN)))
    try:
        checked.check(dict(config))
    except UserError as error:
        stop(error)


def as_written(value, written):
    """Return values as params.yaml has them where Snakemake's YAML 1.1 took a text for something else, such as a domain `no`."""
    if isinstance(value, dict) and isinstance(written, dict):
        return {key: as_written(item, written.get(key)) for key, item in value.items()}
    if (
        isinstance(value, list)
        and isinstance(written, list)
        and len(value) == len(written)
    ):
        return [as_written(*pair) for pair in zip(value, written)]
    is_text = isinstance(written, str) and not isinstance(value, str)
    return written if is_text and yaml.safe_load(written) == value else value


def with_numbers(value):
    """Return values with `1e-3` as the number that it is: Snakemake's YAML 1.1 takes it for text."""
    if isinstance(value, dict):
        return {key: with_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_numbers(item) for item in value]
    is_number = isinstance(value, str) and strict_yaml.NUMBER.fullmatch(value)
    return float(value) if is_number and "e" in value.lower() else value


check_params()


@functools.cache
def params_of(variant):
    """Return params.yaml under the overrides of a variant."""
    try:
        return variants.Variant.parse(variant).apply(config)
    except UserError as error:
        stop(error)


def pick(*names):
    """Return a function of the wildcards that gives these keys of params.yaml, under the overrides of the variant.

    They are one JSON text, which is all that a job gets and all that re-runs it.
    """

    def given(wildcards):
        values = params_of(wildcards.get("variant", "main"))
        picked = {name: variants.value_of(values, name) for name in names}
        return json.dumps(picked, sort_keys=True)

    return given


def folder_of(which, variant, *method):
    """Return the folder, by a function of `variants`, of the variant whose artifact another variant uses."""
    try:
        return f"results/{which(variants.Variant.parse(variant), *method, config)}"
    except UserError as error:
        stop(error)


def code(*rooms):
    """Return the package files that a rule uses, since no engine sees an edit inside an imported package."""
    found = []
    for room in rooms:
        found += glob.glob(f"src/metatoolagent/{room}.py") + glob.glob(
            f"src/metatoolagent/{room}/*.py"
        )
    return sorted(found)


def at_each_attempt(mb):
    """Return a rule's memory in MB, as much again at each retry: a job that was killed for memory would be killed again."""
    return lambda wildcards, attempt: attempt * mb


def gpus(wildcards):
    """Return the GPUs of an evaluation: none for a method without a model."""
    return 0 if wildcards.method in checked.MODEL_FREE else 1


def split_of(wildcards):
    """Return the split of a variant: cd where none is named."""
    return variants.Variant.parse(wildcards.variant).split


def tools_of_catalog(wildcards):
    """Return the tools that tasks are drawn from, and their manifest."""
    return ["data/interim/tools.parquet", "data/interim/manifest.json"]


def parts_of_split(wildcards):
    """Return the parts of a variant's split, and their manifest."""
    files = ["tools.parquet", "questions.parquet", "manifest.json"]
    return [f"data/processed/{split_of(wildcards)}/{file}" for file in files]


def catalog_files(wildcards):
    """Return the authored files of the catalog."""
    folders = [config["ingest"]["tools"], config["ingest"]["questions"]]
    return [file for folder in folders for file in files_in(folder)]


def chain_files(wildcards):
    """Return the authored files of the chains."""
    return files_in(config["chains"]["folder"])


def chain_variants():
    """Return the variants of multi_tool: our own chains, and those of the benchmarks that params.yaml names."""
    benchmarks = dict.fromkeys(config["chains"]["benchmarks"])
    return ["chains", *(f"{name}-chains" for name in benchmarks)]


def files_in(folder):
    """Return what stands in a folder and is not hidden, as the readers take it: they refuse a file of another kind."""
    return sorted(glob.glob(os.path.join(glob.escape(folder), "*")))


def tools_list(wildcards):
    """Return the committed list of parts, if params.yaml names one."""
    try:
        checked.require_list(checked.check(dict(config)))
    except UserError as error:
        stop(error)
    return [config["split"]["tools_list"]] if config["split"]["tools_list"] else []


def trained_variant(wildcards):
    """Return the variant whose backbone and adapters are evaluated: `main` where nothing is trained for a variant."""
    variant = wildcards.get("variant", "main")
    return variant if re.fullmatch(TRAINED, variant) else "main"


def benchmark_of(wildcards):
    """Return the benchmark that a variant is evaluated on; nothing for a variant of our own data."""
    variant = wildcards.variant
    own = re.fullmatch(TRAINED, variant)
    name = variants.Variant.parse(variant).split if own else variant
    benchmark = name.split("-")[0]
    return benchmark if benchmark in BENCHMARKS else ""


def catalog_of(wildcards):
    """Return the catalog that a variant's tasks are drawn from: our own, or a benchmark's."""
    folder = os.path.join("data/interim", benchmark_of(wildcards)).rstrip("/")
    if re.fullmatch(OVERLAP, wildcards.variant):
        folder = f"results/{wildcards.variant}/catalog"
    return [
        f"{folder}/{file}"
        for file in ["tools.parquet", "questions.parquet", "manifest.json"]
    ]


def adapter_files(wildcards):
    """Return the adapter that a method is evaluated with, if it trains one."""
    folder = f"{folder_of(variants.adapter, trained_variant(wildcards), wildcards.method)}/{wildcards.method}/adapter"
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
        else [f"{backbone_of(wildcards)}/{file}" for file in files]
    )


def backbone_source(wildcards):
    """Return the files of the folder that a backbone is made from; none where params.yaml names another kind of source."""
    source = params_of(wildcards.get("variant", "main"))["backbone"]["source"]
    if source in ("", "embedded", "tiny"):
        return []
    return [file for file in files_in(source) if file.endswith(READ_OF_BACKBONE)]


def backbone_of(wildcards):
    """Return the folder of a variant's backbone: one that a sweep changes has its own."""
    folder = folder_of(variants.backbone, trained_variant(wildcards))
    return "models/backbone" if folder == "results/main" else f"{folder}/backbone"


def training_tasks(wildcards):
    """Return the meta-tasks that a variant trains on, and their manifest."""
    folder = (
        f"{folder_of(variants.training_tasks, trained_variant(wildcards))}/meta_tasks"
    )
    return [f"{folder}/meta_tasks.parquet", f"{folder}/manifest.json"]


def evaluation_tasks(wildcards):
    """Return the tasks that a variant is evaluated on, and their manifest."""
    variant = wildcards.variant
    folder = (
        folder_of(variants.evaluation_tasks, variant)
        if re.fullmatch(TRAINED, variant)
        else f"results/{variant}"
    )
    return [f"{folder}/tasks/eval_tasks.parquet", f"{folder}/tasks/manifest.json"]


def demonstration_files(wildcards):
    """Return the training tasks that icl is shown some of."""
    return training_tasks(wildcards)[:1] if wildcards.method == "icl" else []


def method_code(wildcards):
    """Return a method's own file, and the reasoning that cot and react share."""
    own = checked.MODULE.get(wildcards.method, "direct")
    shared = ["reasoning"] if own in ("cot", "react") else []
    return code(*(f"evaluation/methods/{name}" for name in [own, *shared]))


def given_to_evaluate(wildcards):
    """Return the params of an evaluation: what the method reads, and no more."""
    sections = list(checked.OF_METHOD[wildcards.method][:1])
    if wildcards.method not in checked.MODEL_FREE:
        sections += ["backbone"]
    if wildcards.method not in checked.SELECTING:
        sections += ["evaluate"]
    reading = checked.EVALUATED_WITH.get(wildcards.method, ())
    return pick("seed", *sections, *reading)(wildcards)


@functools.cache
def held_out():
    """Return the domains of the folds of split hd, once they are known to be domains."""
    try:
        checked.require_domains(checked.check(dict(config)))
    except UserError as error:
        stop(error)
    return config["held_out"]


def fold_predictions(wildcards):
    """Return every method's predictions of all folds of split hd."""
    return expand(
        "results/hd-{domain}/{method}/predictions.parquet",
        domain=held_out(),
        method=METHODS,
    )


def methods_of(variant):
    """Return the methods that a variant's results are shown of: all, once they were measured on it."""
    everything = variant == "main" and METHODS_METRICS in measured()
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
    """Return the options that tell `mta metrics-external` and `mta report-chains` whose predictions each file has."""
    parts = [file.split("/") for file in predictions]
    return [f"--prediction {part[-3]}:{part[-2]}={'/'.join(part)}" for part in parts]


def chains_of(wildcards):
    """Return the chains of a variant, our own or a benchmark's, and their manifest."""
    folder = os.path.join("data/interim", benchmark_of(wildcards) or "chains")
    return [f"{folder}/chains.parquet", f"{folder}/manifest.json"]


def parts_of_chains(wildcards):
    """Return the parts of our own tools and questions; a benchmark has none."""
    files = ["tools.parquet", "questions.parquet", "manifest.json"]
    return (
        []
        if benchmark_of(wildcards)
        else [f"data/processed/cd/{file}" for file in files]
    )


def by_method(predictions):
    """Return the options that tell `mta metrics` which method each file of predictions is of."""
    return [f"--prediction {path.split('/')[-2]}={path}" for path in predictions]


@functools.cache
def runs_of(sweep):
    """Return the runs of a sweep."""
    try:
        if sweep == "table2":
            checked.require_domains(
                checked.check(dict(config)), config["sweeps"]["table2"]["splits"]
            )
        return runs.planned(sweep, config)
    except UserError as error:
        stop(error)


def sweep_files(wildcards):
    """Return the predictions of a sweep, and their manifests."""
    files = dict.fromkeys(
        file for run in runs_of(wildcards.sweep) for file in run.files
    )
    return [
        name
        for file in files
        for name in [file, f"{os.path.dirname(file)}/manifest.json"]
    ]


def parts_of_sweep(wildcards):
    """Return the parts of the questions, whose training tools sweep queries counts."""
    files = ["questions.parquet", "manifest.json"]
    return (
        [f"data/processed/cd/{file}" for file in files]
        if wildcards.sweep == "queries"
        else []
    )


def given_to_sweep(wildcards):
    """Return the params of a sweep: its own, the caps, the seeds if it trains, those of the statistics, for table2 the folds."""
    own = ["sweeps.caps", f"sweeps.{wildcards.sweep}"]
    own += [] if wildcards.sweep == "overlap" else ["sweeps.seeds"]
    own += ["held_out"] if wildcards.sweep == "table2" else []
    return pick("metrics", "seed", *own)(wildcards)
