import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.exceptions import ComputeError

from metatoolagent import __version__, artifacts, cli, params
from metatoolagent.artifacts import publishing

ROOT = Path(__file__).parents[1]
COMMITTED = params.load(ROOT / "params.yaml").model_dump()


@pytest.fixture
def mta(monkeypatch, capsys):
    """Run the command line; returns the exit code and what was printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mta", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            cli.main()
        printed = capsys.readouterr()
        return raised.value.code, printed.out, printed.err

    return run


def given(*keys, **changes):
    """The `--params` of a rule: some keys of params.yaml."""
    return json.dumps({key: COMMITTED[key] for key in keys} | changes)


def ingest_params(folder):
    return given(
        "ingest", ingest={"tools": str(folder / "tools"), "questions": str(folder / "questions"), "allow_rejected": False}
    )


def test_a_stage_takes_its_params_and_ends_with_zero(mta, fixture_catalog, tmp_path):
    code, _, err = mta("ingest", "--out", tmp_path, "--params", ingest_params(fixture_catalog))
    assert (code, err) == (0, "")
    assert (tmp_path / "tools.parquet").is_file()


def test_without_params_a_stage_reads_params_yaml(mta, fixture_catalog, tmp_path, monkeypatch):
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("data/tools ", f"{fixture_catalog}/tools ").replace("data/questions ", f"{fixture_catalog}/questions ")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, _, err = mta("ingest", "--out", "out")
    assert (code, err) == (0, "")
    assert len(pl.read_parquet("out/tools.parquet")) == 20


def test_bad_params_yaml_is_64_with_the_line(mta, tmp_path, monkeypatch):
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("distractors: 5", "distractors: ten")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, _, err = mta("ingest", "--out", "out")
    assert code == 64
    assert "error[E-PARAMS]" in err
    assert "params.yaml:3" in err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "--params is not JSON"),
        pytest.param("[" * 100_000, "--params is not JSON", id="nested too deep"),
        ("[1]", "--params is not a mapping"),
        ("{}", "missing key ingest"),
        (given("ingest", ingest={"tools": "a"}), "missing key ingest.questions"),
        (
            given("ingest", ingest={**COMMITTED["ingest"], "allow_rejected": "yes"}),
            "ingest.allow_rejected: input should be a valid boolean",
        ),
        (given("ingest", ingest={**COMMITTED["ingest"], "tool": "a"}), "unknown key ingest.tool"),
    ],
)
def test_bad_keys_of_params_are_64(mta, tmp_path, text, said):
    code, _, err = mta("ingest", "--out", tmp_path / "out", "--params", text)
    assert code == 64
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_a_missing_seed_is_64(mta, catalog, tmp_path):
    code, _, err = mta("split", "cd", "--catalog", catalog, "--out", tmp_path, "--params", given("split"))
    assert code == 64
    assert "missing key seed" in err


@pytest.mark.parametrize("key", [key for key in COMMITTED if isinstance(COMMITTED[key], dict)])
def test_every_section_can_be_given_as_the_rules_give_it(key):
    model = getattr(params, "".join(word.capitalize() for word in key.split("_")))
    assert params.given(given(key)).section(model).model_dump() == COMMITTED[key]


def test_a_missing_artifact_is_66_and_says_what_to_run(mta, tmp_path):
    code, _, err = mta(
        "split", "cd", "--catalog", tmp_path / "absent", "--out", tmp_path / "out", "--params", given("split", "seed")
    )
    assert code == 66
    assert "error[E-MISSING]" in err
    assert "snakemake" in err
    assert "Traceback" not in err


def test_verify_tells_good_from_damaged(mta, tmp_path):
    with publishing(tmp_path, ["a.txt"], producer="test") as paths:
        paths["a.txt"].write_text("content", encoding="utf-8")
    assert mta("verify", tmp_path / "a.txt")[:2] == (0, f"ok {tmp_path / 'a.txt'}\n")
    (tmp_path / "a.txt").write_text("c0ntent", encoding="utf-8")
    code, _, err = mta("verify", tmp_path / "a.txt")
    assert code == 66
    assert "error[E-CORRUPT]" in err


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "said", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/scratch/out"), "E-DISK-FULL", 74),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "E-DISK-FULL", 74),
        (OSError("No space left on device (os error 28)"), "E-DISK-FULL", 74),  # polars, from where it writes Arrow files
        (ComputeError("parquet: underlying IO error: No space left on device (os error 28)"), "E-DISK-FULL", 74),
        (PermissionError(errno.EACCES, "Permission denied", "/scratch/out"), "E-READONLY", 73),
        (PermissionError(errno.EPERM, "Operation not permitted", "/scratch/out"), "E-READONLY", 73),
        (OSError(errno.EROFS, "Read-only file system", "/scratch/out"), "E-READONLY", 73),
        (ComputeError("Read-only file system (os error 30)"), "E-READONLY", 73),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/scratch/out"), "E-CREATE", 73),
        (FileExistsError(errno.EEXIST, "File exists", "/scratch/out"), "E-CREATE", 73),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/scratch/out"), "E-MISSING", 66),
        (OSError(errno.ENAMETOOLONG, "File name too long", "/scratch/out"), "E-PATH", 64),
        (OSError(errno.EIO, "Input/output error", "/scratch/out"), "E-IO", 74),
    ],
)
def test_errors_of_the_file_system_end_with_their_code_and_without_a_traceback(mta, monkeypatch, error, said, expected):
    monkeypatch.setattr(artifacts, "verify", raising(error))
    code, _, err = mta("verify", "a.txt")
    assert code == expected
    assert f"error[{said}]" in err
    assert "fix:" in err
    assert ("check the disk" in err) == (said == "E-IO")
    assert "Traceback" not in err
    if getattr(error, "filename", None):
        assert "/scratch/out" in err


def test_a_disk_that_fills_up_in_the_middle_leaves_the_old_artifact(mta, fixture_catalog, tmp_path):
    """A real limit of the operating system on the size of files stands for the full disk; polars meets it in Rust."""
    assert mta("ingest", "--out", tmp_path, "--params", ingest_params(fixture_catalog))[0] == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)); from metatoolagent import cli; cli.main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", code, "ingest", "--out", str(tmp_path), "--params", ingest_params(fixture_catalog)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 74, result.stderr
    assert "error[E-IO]" in result.stderr
    assert "Traceback" not in result.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_output_folder_below_a_file_is_73(mta, fixture_catalog, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = mta("ingest", "--out", tmp_path / "file" / "out", "--params", ingest_params(fixture_catalog))
    assert code == 73
    assert "error[E-CREATE]" in err and "file/out" in err
    assert (tmp_path / "file").read_text() == "in the way"


def test_our_own_mistake_is_70_and_asks_for_a_report(mta, monkeypatch):
    monkeypatch.setattr(artifacts, "verify", raising(ZeroDivisionError("oops")))
    code, _, err = mta("verify", "a.txt")
    assert code == 70
    assert "error[E-BUG]" in err
    assert "ZeroDivisionError: oops" in err


def test_an_error_goes_to_the_log_of_the_job_too(mta, tmp_path):
    log = tmp_path / "logs" / "ingest.log"
    code, _, err = mta("ingest", "--out", tmp_path / "out", "--params", "{}", "--log", log)
    assert code == 64
    assert log.read_text(encoding="utf-8") == err


@pytest.mark.parametrize("way", ["option", "environment"])
def test_an_error_is_one_line_of_json_where_that_is_asked_for_and_text_in_the_log(mta, tmp_path, monkeypatch, way):
    monkeypatch.setenv("METATOOLAGENT_LOG_JSON", "0" if way == "option" else "1")
    log = tmp_path / "ingest.log"
    arguments = ["ingest", "--out", tmp_path / "out", "--params", given("ingest", ingest={"tool\u202e": "a"}), "--log", log]
    code, _, err = mta(*(["--log-json"] if way == "option" else []), *arguments)
    (line,) = err.splitlines()
    told = json.loads(line)
    assert line.isascii() and (code, told["exit_code"], told["code"]) == (64, 64, "E-PARAMS")
    assert told["what"] == "unknown key ingest.tool\u202e" and told["kept"] == "nothing was run"
    assert told["more"].startswith("2 further") and "got" not in told
    assert log.read_text(encoding="utf-8").startswith("error[E-PARAMS] unknown key ingest.tool\\u{202e}\n")


def test_our_own_mistake_is_one_line_of_json_too(mta, monkeypatch):
    monkeypatch.setenv("METATOOLAGENT_LOG_JSON", "1")
    monkeypatch.setattr(artifacts, "verify", raising(ZeroDivisionError("oops")))
    code, _, err = mta("verify", "a.txt")
    told = json.loads(err)
    assert (code, told["exit_code"], told["code"]) == (70, 70, "E-BUG") and "ZeroDivisionError: oops" in told["more"]


def test_the_version_is_told_without_a_command(mta):
    assert mta("--version") == (0, f"metatoolagent {__version__}\n", "")


def test_a_command_without_arguments_shows_the_subcommands():
    result = subprocess.run(
        [sys.executable, "-m", "metatoolagent"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    for name in ("ingest", "split", "materialize", "backbone", "train", "evaluate", "metrics", "results", "verify"):
        assert name in result.stdout + result.stderr


def test_a_subcommand_that_needs_no_model_does_not_import_torch():
    code = "import sys; from metatoolagent import cli\ntry: cli.main()\nfinally: print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code, "verify", "/absent"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout.strip()) == (66, "False")


@pytest.mark.parametrize(("stage", "method"), [("train", "mtaa"), ("train", "base"), ("evaluate", "fft")])
def test_an_unknown_method_is_refused_instead_of_run_as_another(stage, method, mta, tmp_path):
    places = [text for name in ("tasks", "catalog", "backbone", "out") for text in (f"--{name}", tmp_path / name)]
    code, _, err = mta(stage, method, *places)
    assert code == 64
    assert err.startswith("error[E-METHOD] the stage knows no such method")
    assert "where: argument METHOD" in err
    assert f'"{method}"' in err
    assert "name one of " in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("method", "named", "code", "told"),
    [
        ("mta", [], "E-ADAPTER", "is trained and needs"),
        ("base", ["--adapter", "a"], "E-ADAPTER", "has no adapter"),
        ("icl", [], "E-DEMONSTRATIONS", "is shown training tasks"),
        ("base", ["--demonstrations", "d"], "E-DEMONSTRATIONS", "is shown no"),
    ],
)
def test_adapter_and_demonstrations_are_named_for_the_methods_that_have_them_alone(method, named, code, told, mta, tmp_path):
    places = [text for name in ("tasks", "catalog", "out") for text in (f"--{name}", tmp_path / name)]
    exit_code, _, err = mta("evaluate", method, *places, *named, "--params", given("backbone", "adapter", "evaluate", "icl"))
    assert exit_code == 64
    assert err.startswith(f"error[{code}] {method} {told}")
    assert not (tmp_path / "out").exists()


def test_export_without_a_command_exports_the_dataset(mta, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for named in ([], ["dataset"]):
        code, _, err = mta("export", *named, "--out", "out", "--params", given("split", "seed"))
        assert code == 66
        assert "error[E-MISSING]" in err
        assert "snakemake --cores all data/interim/tools.parquet" in err


def test_a_users_catalog_is_exported_with_parts_that_are_drawn(mta, catalog, own_params):
    own_params('""')
    code, _, err = mta("export", "--out", "out", "--catalog", catalog)
    assert (code, err) == (0, "")
    assert "license" not in json.loads(Path("out/croissant.json").read_text())


def test_a_log_that_cannot_be_written_does_not_hide_the_error(mta, tmp_path):
    arguments = ["split", "cd", "--catalog", str(tmp_path), "--out", str(tmp_path / "out"), "--params", given("split", "seed")]
    arguments += ["--log", str(tmp_path / "file" / "job.log")]
    (tmp_path / "file").write_text("no folder")
    code, _, err = mta(*arguments)
    assert code == 66
    assert "error[E-MISSING]" in err and "Traceback" not in err


@pytest.mark.parametrize(
    "command", [["materialize", "--parts", "."], ["materialize-evaluation", "--parts", "."], ["materialize-external"]]
)
def test_a_misspelt_kind_of_split_does_not_run_as_another_one(mta, tmp_path, command):
    name, *more = command
    code, _, err = mta(name, "SD", *more, "--catalog", tmp_path, "--out", tmp_path / "out")
    assert code == 64
    assert "error[E-KIND]" in err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("tasks", ["results/main/tasks/eval_tasks.parquet", "cd=", "=a.parquet", "../cd=a.parquet"])
def test_tasks_to_export_must_name_their_split(mta, tmp_path, tasks):
    code, _, err = mta("export", "lm-eval", "--tasks", tasks, "--out", tmp_path / "out", "--params", given("evaluate"))
    assert code == 64
    assert "error[E-OPTION]" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--prediction", "cd=a.parquet"], "E-OPTION"),
        (["--prediction", "cd:fft=a.parquet"], "E-METHOD"),
        (["--prediction", "sd:ft=a.parquet"], "E-SPLIT"),
        (["--prediction", "cd:ft=a.parquet", "--programme", "swep=folder"], "E-PROGRAMME"),
    ],
)
def test_a_page_of_what_has_no_catalog_or_is_misspelt_is_refused(mta, tmp_path, options, code):
    common = ["--figures", tmp_path, "--captions", tmp_path, "--metrics", tmp_path / "m.json", "--catalog", f"cd={tmp_path}"]
    exit_code, _, err = mta("page", *common, *options, "--out", tmp_path / "out", "--params", given("seed"))
    assert exit_code == 64
    assert f"error[{code}]" in err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["check", "measure-data"])
def test_a_folder_without_a_dataset_is_told_as_the_command_line_named_it(mta, tmp_path, command):
    for folder, what in ((tmp_path / "nosuch", "no such folder"), (tmp_path, "no tools/ and no questions/")):
        code, out, err = mta(command, folder)
        assert (code, out) == (65, "")
        assert "error[E-MISSING]" in err and what in err and f"{folder} (argument FOLDER)" in err
        assert "tools/ and questions/" in err and "params.yaml" not in err


def test_a_dataset_without_a_table_of_parts_is_measured(mta, fixture_catalog, tmp_path):
    folder = shutil.copytree(fixture_catalog, tmp_path / "data")
    code, _, err = mta("measure-data", folder)
    assert code == 0, err
    described = json.loads((folder / "croissant.json").read_text())
    assert described["recordSet"] == [] and len(described["distribution"]) == len(list(folder.glob("*/*.yaml")))


@pytest.fixture
def own_params(tmp_path, monkeypatch):
    """Write params.yaml with another list of parts into a folder that becomes the current one."""
    monkeypatch.chdir(tmp_path)

    def write(tools_list):
        text = (ROOT / "params.yaml").read_text(encoding="utf-8")
        assert "tools_list: data/split.csv" in text
        text = text.replace("tools_list: data/split.csv", f"tools_list: {tools_list}")
        (tmp_path / "params.yaml").write_text(text, encoding="utf-8")

    return write


def test_the_list_of_parts_is_written_where_params_yaml_names_it(mta, catalog, own_params):
    own_params("my/split.csv")
    code, _, err = mta("split-list", "--catalog", catalog)
    assert (code, err) == (0, "")
    assert Path("my/split.csv").is_file() and not Path("data").exists()
    assert mta("split-list", "--catalog", catalog, "--out", "other.csv")[0] == 0
    assert Path("other.csv").read_bytes() == Path("my/split.csv").read_bytes()


def test_a_list_of_parts_that_nothing_names_is_asked_for(mta, catalog, own_params):
    own_params('""')
    code, _, err = mta("split-list", "--catalog", catalog)
    assert code == 64
    assert "error[E-OPTION]" in err and "--out" in err


def test_a_stage_that_is_run_elsewhere_says_where_to_run_it(mta, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = mta("ingest-external", "toolalpaca", "--out", "out")
    assert code == 66
    assert "error[E-MISSING]" in err and "data/sources.tsv" in err and "the repository's folder" in err


def test_a_path_that_is_too_long_is_told(mta, tmp_path):
    ingest = {**COMMITTED["ingest"], "tools": "x" * 300}
    code, _, err = mta("ingest", "--out", tmp_path / "out", "--params", given("ingest", ingest=ingest))
    assert code == 64
    assert "error[E-PATH]" in err and "shorter" in err


def test_a_file_of_the_users_own_is_not_to_be_deleted(mta, tmp_path):
    (tmp_path / "split.csv").write_text("tool,part\n", encoding="utf-8")
    code, _, err = mta("verify", tmp_path / "split.csv")
    assert code == 66
    assert "no published artifact" in err
    assert "delete" not in err and "--force" not in err


def test_a_folder_is_no_file_to_verify(mta, tmp_path):
    code, _, err = mta("verify", tmp_path)
    assert code == 66
    assert "error[E-NOT-A-FILE]" in err and "not there" not in err


@pytest.mark.parametrize("path", ["nosuch/tools.parquet", "data/interim/tools.parquet"])
def test_what_no_rule_makes_is_not_asked_of_snakemake(mta, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    code, _, err = mta("verify", path)
    assert code == 66
    assert (f"snakemake --cores all {path}" in err) == (not path.startswith("nosuch"))


def test_what_the_stage_of_a_folder_does_not_make_is_not_asked_of_snakemake(mta, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with publishing(Path("data/interim"), ["tools.parquet"], producer="ingest") as paths:
        paths["tools.parquet"].write_text("content", encoding="utf-8")
    _, _, err = mta("verify", "data/interim/tokenizer.json")
    assert "fix:   correct the path; what is published in data/interim is tools.parquet" in err
    Path("data/interim/tools.parquet").unlink()
    assert "fix:   run: snakemake --cores all data/interim/tools.parquet" in mta("verify", "data/interim/tools.parquet")[2]


@pytest.mark.parametrize(("folder", "told"), [("results/main", True), ("docs", False)])
def test_dvc_is_asked_for_what_it_keeps_alone(mta, tmp_path, monkeypatch, folder, told):
    monkeypatch.chdir(tmp_path)
    Path(folder).mkdir(parents=True)
    Path(folder, "a.json").write_text("{}", encoding="utf-8")
    _, _, err = mta("verify", f"{folder}/a.json")
    assert "no published artifact" in err and (f"dvc checkout {folder}/manifest.json" in err) == told


def test_the_domain_of_a_split_to_export_may_have_a_digit(mta, tmp_path):
    tasks = tmp_path / "nosuch.parquet"
    code, _, err = mta(
        "export", "lm-eval", "--tasks", f"hd-web2={tasks}", "--out", tmp_path / "out", "--params", given("evaluate")
    )
    assert code == 66
    assert "E-OPTION" not in err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["metrics", "my.split", "--prediction", "ft=a"], "E-SPLIT"),
        (["metrics", "cd", "--prediction", "foo=a"], "E-METHOD"),
        (["breakdowns", "my.split", "--prediction", "ft=a", "--catalog", "c"], "E-SPLIT"),
        (["metrics-probe", "rotation", "--prediction", "foo=a"], "E-METHOD"),
        (["metrics-external", "--catalog", "c", "--prediction", "a.b:ft=a"], "E-VARIANT"),
        (["metrics-external", "--catalog", "c", "--prediction", "toolalpaca-cd:foo=a"], "E-METHOD"),
    ],
)
def test_metrics_that_could_not_be_read_again_are_not_made(mta, tmp_path, arguments, code):
    exit_code, _, err = mta(*arguments, "--out", tmp_path / "out", "--params", given("metrics", "seed"))
    assert exit_code == 64
    assert err.startswith(f"error[{code}]")
    assert not (tmp_path / "out").exists()


PAGE = ["page", "--figures", "f", "--captions", "c", "--metrics", "m", "--prediction", "cd:ft=p"]


@pytest.mark.parametrize(
    ("command", "option", "item"),
    [
        (["metrics-probe", "rotation"], "--prediction", "ft={}"),
        (["metrics-external", "--catalog", "c"], "--prediction", "toolalpaca-cd:ft={}"),
        (["report-chains"], "--prediction", "chains:ft={}"),
        (["figures", "--metrics", "m", "--breakdown", "b"], "--curve", "ft={}"),
        (["export", "lm-eval"], "--tasks", "cd={}"),
        (PAGE, "--catalog", "cd={}"),
        ([*PAGE, "--catalog", "cd=i"], "--programme", "overlap={}"),
    ],
)
def test_a_name_that_is_given_twice_is_refused_and_neither_file_dropped(mta, tmp_path, command, option, item):
    twice = [option, item.format("a"), option, item.format("b")]
    code, _, err = mta(*command, *twice, "--out", tmp_path / "out", "--params", json.dumps(COMMITTED))
    assert code == 64
    assert err.startswith("error[E-OPTION] ") and f'"{item.format("b")}"' in err and "named twice" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"notjson", b"[]", b"{}", b"5", b"[5]", b'[{"labels": {}}]', b"\xff"])
def test_runs_of_a_sweep_that_cannot_be_read_are_one_error(mta, tmp_path, content):
    (tmp_path / "runs.json").write_bytes(content)
    sections = given("metrics", "seed", "sweeps")
    code, _, err = mta("sweep", "table2", "--runs", tmp_path / "runs.json", "--out", tmp_path / "out", "--params", sections)
    assert code == 64
    assert err.startswith("error[E-RUNS]") and "runs.json" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["show", "all-000001", "--method", "nope"], "--method"),
        (["metrics", "cd", "--prediction", "nope=x.parquet", "--out", "out"], "--prediction"),
        (["figures", "--metrics", "x", "--breakdown", "x", "--curve", "nope=x.csv", "--out", "out"], "--curve"),
    ],
)
def test_a_method_that_an_option_names_is_looked_for_in_that_option(mta, command, option):
    code, _, err = mta(*command)
    assert code == 64
    assert err.startswith("error[E-METHOD]") and f"where: option {option}" in err
