"""What a command loads before it works: a stage without a model does not wait for torch."""

import subprocess
import sys

MODEL_FREE = [
    "catalog.ingest",
    "catalog.chain_stage",
    "tasks.splits",
    "tasks.meta_tasks",
    "tasks.chain_tasks",
    "tasks.external",
    "tasks.overlap",
    "tasks.probes.stage",
    "evaluation.predicting",
    "evaluation.chains",
    "evaluation.methods.random",
    "evaluation.methods.bm25",
    "evaluation.metrics",
    "evaluation.probes.measuring",
    "reporting.page",
    "reporting.rank",
    "reporting.show",
    "sweeps.stage",
    "stages",
]


def test_what_needs_no_model_loads_no_torch():
    code = (
        "import sys; from importlib import import_module\n"
        "for name in sys.argv[1:]:\n"
        "    import_module(f'metatoolagent.{name}')\n"
        "    assert not {'torch', 'transformers', 'peft'} & sys.modules.keys(), name"
    )
    done = subprocess.run([sys.executable, "-c", code, *MODEL_FREE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
