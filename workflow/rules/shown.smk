"""What the page shows, as functions: the main job, and what else has been measured when the workflow starts."""


def shown_variants():
    """Return the variants that the page shows: `main`, and those whose metrics exist when the workflow starts."""
    there = [
        name
        for name in ["sd", "hd", *BENCHMARKS]
        if os.path.exists(f"results/{name}/metrics.json")
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
    main = METHODS_METRICS if os.path.exists(METHODS_METRICS) else MAIN_METRICS
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
