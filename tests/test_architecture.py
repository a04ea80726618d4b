"""Imports run one way: a lower room never imports a higher one."""

import ast
import re
import subprocess
from pathlib import Path

from metatoolagent.artifacts import MADE
from metatoolagent.sweeps import runs

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "metatoolagent"
ROOMS = ["catalog", "tasks", "models", "meta", "evaluation", "sweeps", "reporting", "cli"]
"""From the lowest to the highest; what stands beside them (errors, artifacts, params and the like) is below all."""

GROUND = {"errors", "artifacts", "columns", "environment", "known", "orchestrators", "params", "sources", "variants", "__init__"}
"""What every stage may use without listing it; a hash decides what `sources` fetches, so an edit of it changes no output,
what `environment` says stands in manifests alone, and `columns`, `orchestrators` and `known` end a job or do nothing."""


def room(module: str) -> int:
    """Return the height of a module of the package; -1 for the ground."""
    parts = module.split(".")
    return ROOMS.index(parts[1]) if len(parts) > 1 and parts[1] in ROOMS else -1


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("metatoolagent"):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("metatoolagent")}
    return names


def closure(start: str) -> set[str]:
    """Return a module of the package and all that it imports, directly or through others, without the ground."""
    found, todo = set(), [start]
    while todo:
        name = todo.pop()
        if name in found or name.split("/")[0] in GROUND:
            continue
        found.add(name)
        for module in imported(PACKAGE / f"{name}.py"):
            path = module.removeprefix("metatoolagent.").replace(".", "/")
            if (PACKAGE / f"{path}.py").is_file():
                todo.append(path)
    return found


def test_imports_run_one_way():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        if path.name in {"__main__.py", "stages.py"}:
            continue
        own = room("metatoolagent." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts))
        wrong += [f"{path.relative_to(PACKAGE)} imports {name}" for name in imported(path) if room(name) > own]
    assert wrong == []


def test_rules_list_every_module_that_their_stage_imports():
    """A module that a stage imports, directly or through others of the package, re-runs the stage when it is edited."""
    stages = {
        "ingest": "catalog/ingest",
        "split": "tasks/splits",
        "materialize": "tasks/meta_tasks",
        "materialize_evaluation": "tasks/eval_tasks",
        "backbone": "models/backbone",
        "train": "meta/training",
        "evaluate": "evaluation/predicting",
        "metrics": "evaluation/metrics",
        "ingest_external": "catalog/external/stage",
        "materialize_external": "tasks/external",
        "metrics_external": "evaluation/external",
        "ingest_chains": "catalog/chain_stage",
        "materialize_chains": "tasks/chain_tasks",
        "evaluate_chains": "evaluation/chains",
        "report_chains": "reporting/chains",
        "materialize_overlap": "tasks/overlap",
        "sweep": "sweeps/stage",
        "materialize_probe": "tasks/probes/stage",
        "materialize_adaptation": "tasks/probes/stage",
        "adapt": "evaluation/adapting",
        "metrics_probe": "evaluation/probes/measuring",
        "breakdowns": "evaluation/breakdowns",
        "figures": "reporting/figures",
        "page": "reporting/page",
    }
    files = {"metrics": "report", "figures": "page"} | {rule: "external" for rule in stages if rule.endswith("_external")}
    files |= {"materialize_evaluation": "materialize", "materialize_overlap": "overlap"}
    files |= {rule: "chains" for rule in stages if rule.endswith("_chains")}
    files |= dict.fromkeys(("materialize_probe", "materialize_adaptation", "adapt", "metrics_probe"), "probes")
    for rule, start in stages.items():
        text = (ROOT / f"workflow/rules/{files.get(rule, rule)}.smk").read_text()
        listed = re.search(rf"rule {rule}:.*?code=code\((.*?)\)", text, re.S)
        patterns = re.findall(r'"([^"]+)"', listed[1])
        needed = closure(start)
        if rule == "sweep":
            # `sweeps/stage.py` loads a sweep by name, and the rule's `module` gives its file.
            for sweep in runs.NAMES:
                needed |= closure(f"sweeps/{sweep}") - {f"sweeps/{sweep}"}
        assert not any(pattern.startswith("cli") for pattern in patterns), f"rule {rule} would run again for other commands"
        missing = {name for name in needed if not any(name == p or name.startswith(p + "/") for p in patterns)}
        assert missing == set(), f"rule {rule} does not list {sorted(missing)}"


def test_the_rule_evaluate_lists_every_module_that_a_method_imports():
    """`evaluation/job.py` loads a method by name, and the rule's `method_code` gives its file."""
    text = (ROOT / "workflow/rules/evaluate.smk").read_text()
    patterns = [*re.findall(r'"([^"]+)"', re.search(r"rule evaluate:.*?code=code\((.*?)\)", text, re.S)[1]), "evaluation/methods"]
    for path in (PACKAGE / "evaluation/methods").glob("*.py"):
        for module in imported(path):
            name = module.removeprefix("metatoolagent.").replace(".", "/")
            if (PACKAGE / f"{name}.py").is_file() and name.split("/")[0] not in GROUND:
                assert any(name == p or name.startswith(p + "/") for p in patterns), f"{path.name} imports {name}"
    shared = (ROOT / "workflow/rules/common.smk").read_text()
    for path in (PACKAGE / "evaluation/methods").glob("*.py"):
        if any(".reasoning" in module for module in imported(path)):
            assert f'"{path.stem}"' in re.search(r'shared = \["reasoning"\] if (.*)', shared)[1]


def test_readme_and_ci_run_the_same_test_command():
    command = re.search(r"run the tests:\n\n```bash\n(.+?)\n```", (ROOT / "README.md").read_text(), re.S)[1]
    assert command in (ROOT / ".ci/run").read_text()


def test_the_contents_of_the_log_have_every_entry():
    text = (ROOT / "docs/log.md").read_text()
    contents, *entries = re.split(r"^## (?=\d)", text, flags=re.M)
    linked = re.findall(r"\]\(#([^)]+)\)", contents)
    anchors = [re.sub(r"[^\w\- ]", "", entry.splitlines()[0].lower()).replace(" ", "-") for entry in entries]
    assert sorted(linked) == sorted(anchors)


def test_nothing_stands_in_git_where_the_workflow_publishes():
    """A link there leads nowhere in another clone, and its first command would end with E-CREATE."""
    listed = subprocess.run(["git", "ls-files", "-s", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    entries = [(line.split()[0], Path(line.partition("\t")[2])) for line in listed.split("\0") if line]
    assert len(entries) > 500
    assert [str(path) for mode, path in entries if mode == "120000" or any(path.is_relative_to(made) for made in MADE)] == []
    tried = [f"{made}/x" for made in (*MADE, "logs", "work")] + list(MADE)
    ignored = subprocess.run(["git", "check-ignore", *tried], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert ignored.split() == tried
