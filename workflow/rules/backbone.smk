"""The frozen language model, in one form on disk.

REQUIRED INPUTS: data/sources.tsv, the files of backbone.source where it is a folder
OUTPUTS: models/backbone/; results/<variant>/backbone/ for a variant of a sweep that overrides it
PARAMS: backbone
"""


rule backbone:
    """Fetching the backbone: {params.given}"""
    input:
        sources="data/sources.tsv",
        folder=backbone_source,
        code=code(
            "models/attention",
            "models/backbone",
            "models/gpus",
            "models/precision",
            "models/sources",
            "tasks/packing",
        ),
    output:
        config="models/backbone/config.json",
        weights="models/backbone/model.safetensors",
        tokenizer="models/backbone/tokenizer.json",
        tokenizer_config="models/backbone/tokenizer_config.json",
        template="models/backbone/chat_template.jinja",
        manifest="models/backbone/manifest.json",
    log:
        "logs/backbone.log",
    resources:
        mem_mb=at_each_attempt(4000),
    params:
        given=pick("backbone"),
        folder=lambda wildcards, output: os.path.dirname(output.manifest),
    shell:
        "python -m metatoolagent backbone --out {params.folder:q} --params {params.given:q} --log {log:q}"


use rule backbone as backbone_of_variant with:
    output:
        config="results/{variant}/backbone/config.json",
        weights="results/{variant}/backbone/model.safetensors",
        tokenizer="results/{variant}/backbone/tokenizer.json",
        tokenizer_config="results/{variant}/backbone/tokenizer_config.json",
        template="results/{variant}/backbone/chat_template.jinja",
        manifest="results/{variant}/backbone/manifest.json",
    log:
        "logs/{variant}/backbone.log",
    wildcard_constraints:
        variant=variants.PATTERN,
