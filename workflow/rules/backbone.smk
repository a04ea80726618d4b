"""The frozen language model, in one form on disk.

REQUIRED INPUTS: data/sources.tsv
OUTPUTS: models/backbone/
PARAMS: backbone
"""


rule backbone:
    """Fetching the backbone: {params.given}"""
    input:
        sources="data/sources.tsv",
        code=code(
            "models/attention", "models/backbone", "models/sources", "tasks/packing"
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
    shell:
        "python -m metatoolagent backbone --out models/backbone --params {params.given:q} --log {log:q}"
