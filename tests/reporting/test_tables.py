import json
from pathlib import Path

import pytest
from rich.console import Console

from metatoolagent.artifacts import canonical_json, publishing
from metatoolagent.errors import UserError
from metatoolagent.reporting import probes, tables, terminal
from metatoolagent.reporting.numbers import resolved
from metatoolagent.reporting.tables import accuracies, differences, found, outcomes, show

ROOT = Path(__file__).parents[2]


def accuracy(key, mean, low, high, n):
    return {f"{key}.accuracy": mean, f"{key}.low": low, f"{key}.high": high, f"{key}.n": n}


def comparison(key, difference, low, high, p):
    return {
        f"{key}.difference": difference,
        f"{key}.low": low,
        f"{key}.high": high,
        f"{key}.p_holm": p,
        f"{key}.p_tools_holm": 2 * p,
    }


METRICS = {
    "cd.mta.invalid": 0.0333,
    "cd.base.invalid": 0.91,
    **accuracy("cd.mta.free.all", 0.7, 0.6512, 0.7481, 300),
    **accuracy("cd.mta.scored.all", 0.8, 0.75, 0.85, 300),
    **accuracy("cd.mta.free.unseen", 0.6, 0.5, 0.7, 250),
    **accuracy("cd.mta.scored.unseen", 0.65, 0.55, 0.75, 250),
    **accuracy("cd.base.free.all", 0.0, 0.0, 0.0, 300),
    **accuracy("cd.base.scored.all", 0.3, 0.25, 0.35, 300),
    **comparison("cd.mta_vs_base.free.all", 0.7, 0.65, 0.75, 0.00001),
    **comparison("cd.mta_vs_base.scored.all", 0.02, -0.01, 0.05, 0.2),
    **comparison("cd.mta_vs_base.scored.unseen", 0.5, 0.4, 0.6, 0.001),
    **comparison("cd.base_vs_other.free.all", -0.1, -0.2, -0.05, 0.02),
}


def printed(*tables, width=200):
    """The lines of some tables in a terminal of a width."""
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    for table in tables:
        terminal.show(console, table)
    console.file.close()
    return console.export_text().splitlines()


def cells(*tables):
    """The rows of some tables, as they are printed."""
    lines = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in printed(*tables) if "│" in line]
    return [line for line in lines if len(line) > 1]


def titles(tables):
    """How the titles begin, of those that have rows."""
    return [table.title.partition(":")[0] for table in tables if table.row_count]


def test_accuracies_in_percent_with_intervals_methods_in_their_order():
    assert titles(accuracies(METRICS)) == ["cd, pool all", "cd, pool unseen"]
    assert cells(*accuracies(METRICS)) == [
        ["base", "0.0 [0.0, 0.0]", "30.0 [25.0, 35.0]", "91.0", "300"],
        ["mta", "70.0 [65.1, 74.8]", "80.0 [75.0, 85.0]", "3.3", "300"],
        ["mta", "60.0 [50.0, 70.0]", "65.0 [55.0, 75.0]", "", "250"],
    ]


def test_splits_are_apart_and_so_are_those_whose_names_begin_alike():
    more = {key.replace("cd.", "cd-more."): value for key, value in METRICS.items()}
    assert titles(accuracies(METRICS | more)) == [
        f"{split}, pool {pool}" for split in ("cd", "cd-more") for pool in ("all", "unseen")
    ]
    assert titles(differences(METRICS | more)) == ["cd, pool all", "cd-more, pool all"]
    assert cells(*differences(METRICS | more)) == 2 * cells(*differences(METRICS))


def test_real_and_simulated_apis_have_a_table_of_their_own():
    kinds = accuracy("cd.mta.free.real", 0.9, 0.8, 1.0, 20) | accuracy("cd.mta.scored.real", 0.5, 0.4, 0.6, 20)
    *_, last = accuracies(METRICS | kinds)[:3]
    assert titles([last]) == ["cd, pool all, real"]
    assert cells(last) == [["mta", "90.0 [80.0, 100.0]", "50.0 [40.0, 60.0]", "", "20"]]


def test_the_invalid_rate_has_its_interval_in_every_pool_where_it_was_measured():
    rate = {"rate": 0.04, "low": 0.02, "high": 0.07, "n": 250}
    new = METRICS | {f"cd.mta.invalid.{pool}.{name}": value for pool in ("all", "unseen") for name, value in rate.items()}
    assert [row[3] for row in cells(*accuracies(new))] == ["91.0", "4.0 [2.0, 7.0]", "4.0 [2.0, 7.0]"]


def test_what_became_of_free_answers_a_row_for_each_method_that_says_it():
    shares = {"right": 0.7, "wrong": 0.2, "other_tool": 0.05, "none": 0.03, "cut": 0.02}
    new = METRICS | {f"cd.mta.outcome.{name}": value for name, value in shares.items()}
    assert cells(outcomes(new)) == [["mta", "cd", "70.0", "20.0", "5.0", "3.0", "2.0"]]
    assert cells(outcomes(METRICS)) == []
    ends = {"line": 0.5, "turn": 0.3, "cut": 0.2}
    reasoned = {key.replace(".mta.", ".cot."): value for key, value in new.items() if ".mta." in key}
    reasoned |= {f"cd.cot.reasoning.{name}": value for name, value in ends.items()}
    assert [row[-2:] for row in cells(outcomes(new | reasoned))] == [["30.0", "20.0"], ["", ""]]


def test_differences_in_points_say_where_they_are_not_resolved():
    assert cells(*differences(METRICS)) == [
        ["base - other", "free", "-10.0 [-20.0, -5.0]", "0.0200", "0.0400"],
        ["mta - base", "free", "+70.0 [+65.0, +75.0]", "<0.0001", "<0.0001"],
        ["mta - base", "scored", "+2.0 [-1.0, +5.0]  not resolved", "0.2000", "0.4000"],
    ]


@pytest.mark.parametrize(("over_tasks", "over_tools", "told"), [(0.001, 1.0, False), (0.3, 0.04, True), (0.001, 0.05, False)])
def test_what_is_resolved_over_tools_is_resolved(over_tasks, over_tools, told):
    found = comparison("cd.ft_vs_base.free.all", -0.292, -0.501, -0.083, over_tasks)
    found["cd.ft_vs_base.free.all.p_tools_holm"] = over_tools
    assert resolved(found, "cd.ft_vs_base.free.all") is told
    assert ("not resolved" in cells(*differences(found))[0][2]) is not told


def test_without_a_test_over_tools_that_over_tasks_decides_and_without_any_the_interval():
    found = comparison("cd.ft_vs_base.free.all", -0.292, -0.501, -0.083, 0.3)
    del found["cd.ft_vs_base.free.all.p_tools_holm"]
    assert not resolved(found, "cd.ft_vs_base.free.all")
    del found["cd.ft_vs_base.free.all.p_holm"]
    assert resolved(found, "cd.ft_vs_base.free.all")


def test_metrics_of_an_earlier_version_are_shown_without_what_they_lack():
    old = {name: value for name, value in METRICS.items() if not name.endswith("p_tools_holm")}
    assert [row[-2:] for row in cells(*differences(old))] == [["0.0200", "–"], ["<0.0001", "–"], ["0.2000", "–"]]


def test_without_comparisons_the_table_is_empty():
    assert differences({}) == accuracies({}) == []


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A checkout with the metrics of one split."""
    monkeypatch.chdir(tmp_path)
    path = tables.MAIN["cd"]
    with publishing(path.parent, [path.name], producer="metrics") as paths:
        paths[path.name].write_text(canonical_json(METRICS), encoding="utf-8")
    return path


def test_the_metrics_of_the_main_splits_are_found_shown_and_saved(published, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert found() == [published]
    show([published])
    assert not tables.SNAPSHOT.exists()
    show([published], save=True)
    assert json.loads(tables.SNAPSHOT.read_text(encoding="utf-8")) == METRICS
    show([published], notes=["sd: held_out [app], now [os]"])
    printed = capsys.readouterr().out
    assert "70.0 [65.1, 74.8]" in printed and "sd: held_out [app], now [os]" in printed
    assert f"written to {tables.SNAPSHOT}" in printed


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("split,n\n", "not JSON"),
        (b"PAR1\xff", "not JSON"),
        ('{"r": 8, "target_modules": ["q_proj"]}', "no metrics"),
        ('{"r": 8}', "no metrics"),
        ("[1]", "no metrics"),
        ("{}", "no metrics"),
        ('{"chains.test.2.base.forced.step.value": 0.5}', "no metrics"),
        ('{"cd.mta.free.all.accuracy": "high"}', "no metrics"),
    ],
)
def test_a_file_without_a_row_is_told_and_not_passed_over(published, content, told):
    with publishing(published.parent, [published.name], producer="metrics") as paths:
        paths[published.name].write_bytes(content if isinstance(content, bytes) else content.encode())
    for save in (False, True):
        with pytest.raises(UserError, match="E-METRICS") as raised:
            show([published], save=save)
        assert told in raised.value.what and raised.value.where == str(published) and "metrics-probe" in raised.value.fix
    assert not tables.SNAPSHOT.exists()


@pytest.mark.parametrize(("content", "told"), [("seed: 0\n", "not JSON"), ('{"r": 8}', "no metrics")])
def test_a_file_that_nothing_published_and_that_is_no_metrics_is_told_so(tmp_path, content, told):
    path = tmp_path / "params.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="E-METRICS") as raised:
        show([path])
    assert told in raised.value.what and raised.value.where == str(path)


def test_two_files_with_the_same_numbers_are_not_shown_as_one(published):
    with pytest.raises(UserError, match="measure the same"):
        show([published, published])


def test_a_number_that_no_file_has_is_one_error(published):
    with pytest.raises(UserError, match="E-METRICS") as raised:
        tables.read([published])["sd.mta.invalid"]
    assert raised.value.got == '"sd.mta.invalid"'


def test_only_the_metrics_of_the_main_splits_are_saved(published, capsys):
    other = tables.EXTERNAL[0]
    with publishing(other.parent, [other.name], producer="metrics_external") as paths:
        paths[other.name].write_text(json.dumps({"web-cd.mta.invalid": 0.5, **accuracy("web-cd.mta.free.all", 0, 0, 0, 1)}))
    assert found() == [published, other] and found(main=True) == [published]
    with pytest.raises(UserError, match="E-OPTION") as raised:
        show([published, other], save=True)
    assert (raised.value.exit_code, raised.value.got) == (64, f'"{other}"')
    assert not tables.SNAPSHOT.exists() and capsys.readouterr().out == ""


def test_committed_records_are_shown_and_need_no_manifest(published, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    show([published], save=True)
    capsys.readouterr()
    show([tables.SNAPSHOT])
    assert "70.0 [65.1, 74.8]" in capsys.readouterr().out
    tables.SNAPSHOT.rename("elsewhere.json")
    with pytest.raises(UserError, match="E-MISSING"):
        show([Path("elsewhere.json")])


@pytest.mark.parametrize("record", sorted((ROOT / "docs/results").rglob("*.json")), ids=lambda path: path.stem)
def test_every_committed_record_has_rows(record, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    show([record])
    assert "┃" in capsys.readouterr().out


@pytest.mark.parametrize("record", ["metrics", "toolalpaca", "hd"])
@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_line_has_all_figures_of_a_method_however_narrow_the_terminal(record, width):
    metrics = tables.read([ROOT / f"docs/results/{record}.json"])
    shown = accuracies(metrics)
    lines = printed(*shown, width=width)
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if "│" in line]
    assert len(rows) == sum(table.row_count for table in shown) and all(row.count("[") == row.count("]") == 3 for row in rows)
    compared = [line for line in printed(*differences(metrics), width=width) if "│" in line]
    assert all(line.count("[") == line.count("]") == 1 for line in compared if " - " in line)
    assert all("not resolved" in line for line in compared if " - " not in line)


@pytest.mark.parametrize(("probe", "width"), [("abstention", 80), ("injection", 40), ("adaptation", 40)])
def test_no_interval_is_broken_or_cut_where_there_is_room_for_nothing_else(probe, width):
    shown = [table for table in probes.tables(tables.read([ROOT / f"docs/results/{probe}.json"])) if table.row_count]
    lines = printed(*shown, width=width)
    assert not any("…" in line for line in lines) and all(line.count("[") == line.count("]") for line in lines)
    for table in shown:
        for text in (text for column in table.columns for text in column.cells):
            assert all(any(part in line for line in lines) for part in terminal.PART.findall(text))
    assert width < 80 or max(map(len, lines)) <= width


def test_damaged_metrics_are_not_shown(published):
    published.write_text(published.read_text(encoding="utf-8").replace("0.7", "0.9"), encoding="utf-8")
    with pytest.raises(UserError, match="E-CORRUPT"):
        show([published], save=True)
    assert not tables.SNAPSHOT.exists()


def test_without_results_the_message_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="E-MISSING") as raised:
        found()
    assert raised.value.exit_code == 66
    assert "snakemake" in raised.value.fix
