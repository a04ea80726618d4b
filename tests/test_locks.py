import subprocess
import sys

import pytest

from metatoolagent.locks import LOCKS, UNLOCK, explain, program


@pytest.fixture
def locked(tmp_path):
    (tmp_path / LOCKS).mkdir(parents=True)
    (tmp_path / LOCKS / "0.output.lock").write_text("results/main/metrics.json\n")
    return tmp_path


def named(folder, name, code="input()"):
    """The command line of a script of a name."""
    (folder / name).write_text(code)
    return [sys.executable, str(folder / name)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/usr/bin/python3.11", "/venv/bin/snakemake", "--cores", "8"], "snakemake"),
        (["python", "-m", "metatoolagent", "train", "ft"], "metatoolagent"),
        (["/venv/bin/python3", "-X", "dev", "-m", "snakemake"], "snakemake"),
        (["nvim", "/home/me/metatoolagent"], "nvim"),
        (["grep", "-r", "x", "snakemake"], "grep"),
        (["snakemake"], "snakemake"),
        (["python"], ""),
        ([], ""),
    ],
)
def test_a_program_is_what_runs_and_not_what_it_is_given(words, expected):
    assert program(words) == expected


def test_a_folder_without_a_lock_has_nothing_to_explain(tmp_path):
    assert explain(tmp_path) == ""


def test_a_lock_that_was_left_is_explained_with_the_command_that_clears_it(locked):
    said = explain(locked)
    assert "a killed run left its lock" in said and said.endswith(UNLOCK)


def test_a_lock_of_a_run_that_goes_on_names_its_process(locked):
    with subprocess.Popen(named(locked, "metatoolagent"), cwd=locked, stdin=subprocess.PIPE) as job:
        try:
            said = explain(locked)
        finally:
            job.kill()
    assert f"process {job.pid}" in said and "wait until it ends" in said


def test_processes_of_other_folders_and_other_programs_do_not_count(locked, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with (
        subprocess.Popen(named(elsewhere, "metatoolagent"), cwd=elsewhere, stdin=subprocess.PIPE) as other,
        subprocess.Popen([sys.executable, "-c", "input()", "metatoolagent"], cwd=locked, stdin=subprocess.PIPE) as editor,
    ):
        try:
            assert "nothing runs here" in explain(locked)
        finally:
            other.kill()
            editor.kill()


def test_a_process_below_the_run_that_holds_the_lock_says_nothing(locked):
    inner = (
        f"import sys; sys.path[:0] = {sys.path!r}; from pathlib import Path; from metatoolagent.locks import explain;"
        "print(repr(explain(Path('.').resolve())))"
    )
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    done = subprocess.run(named(locked, "snakemake", outer), cwd=locked, text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "''"
