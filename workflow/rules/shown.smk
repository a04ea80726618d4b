"""What the page shows, as functions: the main job, and what else is there and up to date when the workflow starts."""

import subprocess
import tempfile


def offered():
    """Return each result beyond the main job that the page can show, with the first target of the Snakefile that makes it."""
    found = {}
    for target in workflow.rules:
        if not target.output and target.name not in ("eval_cd", "report"):
            for file in target.input:
                found.setdefault(file, target.name)
    return found


@functools.cache
def measured():
    """Return those that exist and are up to date.

    Snakemake's own summary says which; another process asks it, since whether they are decides what this one's DAG is. What is
    out of date is left out instead of made again, so that the page never starts a training beyond the main job's.
    """
    there = [file for file in offered() if os.path.exists(file)]
    if not there:
        return []
    with tempfile.NamedTemporaryFile("w", suffix=".json") as given:
        json.dump(config, given)
        given.flush()
        command = [sys.executable, "-m", "snakemake", "--summary"]
        command += ["--snakefile", workflow.main_snakefile]
        command += ["--configfile", given.name, "--", *there]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode:
        print(asked.stderr, file=sys.stderr)
        os._exit(asked.returncode)
    lines = [line.split("\t") for line in asked.stdout.splitlines()]
    kept = {line[0] for line in lines if line[-1] == "no update"}
    return [file for file in offered() if file in kept]


def shown_targets():
    """Return the targets whose results the page has, all of them."""
    return [
        name for name in dict.fromkeys(offered().values()) if name not in not_shown()
    ]


def not_shown():
    """Return the targets whose results the page lacks."""
    lacking = {file: name for file, name in offered().items() if file not in measured()}
    return list(dict.fromkeys(lacking.values()))


def shown_variants():
    """Return the variants that the page shows: `main`, and those that were measured."""
    there = [
        name
        for name in ["sd", "hd", *BENCHMARKS]
        if f"results/{name}/metrics.json" in measured()
    ]
    of_benchmark = [
        f"{name}-{kind}"
        for name in there
        if name in BENCHMARKS
        for kind in ["cd", "sd"]
    ]
    return ["main", *(name for name in there if name not in BENCHMARKS), *of_benchmark]


def shown_metrics(wildcards):
    """Return their metrics files; where every method was measured on `main`, the file that has them all."""
    names = [
        benchmark_of(SimpleNamespace(variant=variant)) or variant
        for variant in shown_variants()
        if variant != "main"
    ]
    main = METHODS_METRICS if METHODS_METRICS in measured() else MAIN_METRICS
    return [main, *(f"results/{name}/metrics.json" for name in dict.fromkeys(names))]


def shown_predictions(wildcards):
    """Return the predictions of all methods on the variants."""
    return [
        path
        for variant in shown_variants()
        for path in predictions_of(SimpleNamespace(variant=variant))
    ]


def shown_logs(wildcards):
    """Return the training logs of the methods that train, as far as they are shown."""
    return [
        f"results/main/{method}/adapter/train_log.csv"
        for method in methods_of("main")
        if checked.OF_METHOD[method]
    ]


def shown_probes(wildcards):
    """Return the metrics of the probes that were measured."""
    return [file for file in measured() if file.startswith("results/probes/")]


def shown_tables(wildcards):
    """Return the tables of the chains and of the sweeps that have run."""
    return [file for file in measured() if os.path.basename(file) == "table.csv"]


def shown_programme(wildcards):
    """Return all that the page has of them: their paragraphs, figures and tables."""
    return [
        f"{os.path.dirname(table)}/{file}"
        for table in shown_tables(wildcards)
        for file in ["finding.md", "figure.json", "table.csv"]
    ]


def candidates_table(wildcards):
    """Return the table that has accuracy against the number of candidates, if its sweep has run."""
    table = "results/sweep/distractors/table.csv"
    return [table] if table in measured() else []


def options_of_predictions(wildcards, input):
    """Return the options that tell `mta page` whose predictions each file has, and which catalog a split has."""
    options = []
    for variant in shown_variants():
        known = SimpleNamespace(variant=variant)
        split = split_of(known)
        options.append(f"--catalog {split}={os.path.dirname(catalog_of(known)[0])}")
        options += [
            f"--prediction {split}:{path.split('/')[2]}={path}"
            for path in predictions_of(known)
        ]
    return options


def options_beyond(wildcards, input):
    """Return the options that tell `mta page` of probes, chains and sweeps, and of the targets that are missing."""
    return [
        *(f"--probe {path}" for path in input.probes),
        *(
            f"--programme {os.path.basename(folder)}={folder}"
            for folder in map(os.path.dirname, shown_tables(wildcards))
        ),
        *(f"--target {target}" for target in shown_targets()),
        *(f"--missing {target}" for target in not_shown()),
    ]
