"""What a command loads before it works: a stage without a model does not wait for torch."""

import os
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


def test_an_interruption_while_the_command_line_loads_ends_without_a_traceback(tmp_path):
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-m", "metatoolagent"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
