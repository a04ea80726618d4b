from rich.console import Console

from metatoolagent.reporting import probes


def share(key, mean, low, high):
    return {f"{key}.rate": mean, f"{key}.low": low, f"{key}.high": high, f"{key}.n": 10}


def points(key, difference, low, high):
    return {f"{key}.difference": difference, f"{key}.low": low, f"{key}.high": high, f"{key}.n": 10}


def rows(table):
    """The rows of a table, as it prints them."""
    console = Console(width=250, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(table)
    console.file.close()
    lines = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in console.export_text().splitlines() if "│" in line]
    return [line for line in lines if len(line) > 1]


def test_abstention():
    metrics = {"abstention.mta.invalid": 1.0}
    for reading in ("free", "scored"):
        for number, measure in enumerate(("over_calling", "under_calling", "accuracy", "balanced")):
            metrics |= share(f"abstention.mta.{reading}.{measure}", number / 10, 0.0, 0.5)
    cells = ["0.0 [0.0, 50.0]", "10.0 [0.0, 50.0]", "20.0 [0.0, 50.0]", "30.0 [0.0, 50.0]"]
    # What names no candidate is no over-calling: without its share a method that says nothing would read as perfect.
    assert rows(probes.abstention(metrics)) == [["mta", "free", *cells, "100.0"], ["mta", "scored", *cells, "0.0"]]
    del metrics["abstention.mta.invalid"]
    assert [row[-1] for row in rows(probes.abstention(metrics))] == ["–", "0.0"]


def test_rotation():
    metrics = share("rotation.ft.free.consistency", 0.9, 0.8, 1.0) | share("rotation.ft.free.always_right", 0.5, 0.4, 0.6)
    metrics |= share("rotation.ft.free.position-0", 0.25, 0, 1) | share("rotation.ft.free.position-1", 0.75, 0, 1)
    assert rows(probes.rotation(metrics)) == [["ft", "free", "90.0 [80.0, 100.0]", "50.0 [40.0, 60.0]", "25.0", "75.0"]]
    # Keys count places from 0; people, here and in the figures, from 1.
    assert [column.header for column in probes.rotation(metrics).columns[-2:]] == ["place 1", "place 2"]


def test_injection():
    key = "injection.base.scored"
    metrics = share(f"{key}.clean.success", 0.1, 0, 0.2) | share(f"{key}.all.success", 0.3, 0.2, 0.4)
    metrics |= points(f"{key}.all.lift", 0.2, 0.1, 0.3) | points(f"{key}.always.lift", 0.4, 0.1, 0.7)
    metrics |= share(f"{key}.always.success", 0.5, 0.2, 0.8)
    cells = ["10.0 [0.0, 20.0]", "30.0 [20.0, 40.0]", "+20.0 [+10.0, +30.0]", "50.0"]
    assert rows(probes.injection(metrics)) == [["base", "scored", *cells]]


def test_adaptation_and_the_comparisons():
    metrics = share("adaptation.ft.scored.steps-0.accuracy", 0.5, 0.4, 0.6) | share(
        "adaptation.ft.scored.steps-8.accuracy", 0.6, 0.5, 0.7
    )
    metrics |= points("adaptation.ft.scored.steps-8.gain", 0.1, 0.05, 0.15)
    assert rows(probes.adaptation(metrics)) == [
        ["ft", "scored", "0", "50.0 [40.0, 60.0]", ""],
        ["ft", "scored", "8", "60.0 [50.0, 70.0]", "+10.0 [+5.0, +15.0]"],
    ]
    key = "adaptation.mta_vs_ft.scored.steps-8"
    metrics |= points(key, 0.1, -0.1, 0.3) | {f"{key}.p_holm": 0.4, f"{key}.p_tools_holm": 0.5}
    named = ["adaptation", "mta - ft", "scored"]
    expected = [*named, "steps-8", "+10.0 [-10.0, +30.0]  not resolved", "0.4000", "0.5000"]
    # Metrics of an earlier version compare no gains.
    assert rows(probes.comparisons(metrics)) == [expected, [*named, "steps-8, gain", "–", "–", "–"]]
    metrics |= points(f"{key}.gain", 0.05, 0.01, 0.09) | {f"{key}.gain.p_tools_holm": 0.2}
    gain = [*named, "steps-8, gain", "+5.0 [+1.0, +9.0]  not resolved", "–", "0.2000"]
    assert rows(probes.comparisons(metrics)) == [expected, gain]


def test_where_questions_are_repeated_the_test_is_over_tools():
    key = "abstention.mta_vs_ft.free.balanced"
    metrics = points(key, 0.1, 0.05, 0.15) | {f"{key}.p_holm": 0.03}
    cells = ["abstention", "mta - ft", "free", "balanced", "+10.0 [+5.0, +15.0]", "–", "0.0300"]
    assert rows(probes.comparisons(metrics)) == [cells]


def test_without_metrics_there_is_no_row():
    assert [table.row_count for table in probes.tables({})] == [0] * 5
