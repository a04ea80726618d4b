import random
import re
import shutil
from itertools import combinations
from pathlib import Path

import pytest

from metatoolagent.catalog.check import alike, check, kept, run, told
from metatoolagent.catalog.ingest import read_sources
from metatoolagent.catalog.limits import Limits
from metatoolagent.catalog.rejection import Rejection
from metatoolagent.errors import UserError

SMALL = Limits(frames=4, rows=(3, 60), description=(3, 55), chances={})
"""Limits that the small catalog keeps to, but for its parameters without descriptions."""


@pytest.fixture
def folder(tmp_path, fixture_catalog):
    shutil.copytree(fixture_catalog, tmp_path / "catalog")
    return tmp_path / "catalog"


def findings(folder, limits=SMALL):
    return check(read_sources(folder / "tools", folder / "questions"), limits)


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def places(folder, code, limits=SMALL):
    return [f"{found.file.removeprefix(str(folder))}:{found.line}" for found in findings(folder, limits) if found.code == code]


def frame(ask, tool="oven_preheat", kind="goal", fill="{n: [181, 201, 221]}"):
    return f'- {{tool: {tool}, kind: {kind}, ask: "{ask}", fill: {fill}, arguments: {{celsius: "{{n}}"}}}}\n'


def add(folder, *frames):
    """Append frames to the kitchen's 40 lines of questions."""
    with (folder / "questions/kitchen.yaml").open("a", encoding="utf-8") as file:
        file.writelines(frames)


def test_the_small_catalog_needs_no_mending(folder):
    assert {found.code for found in findings(folder)} <= {"W-PARAMETERS", "W-OVERLAP"}
    assert len(places(folder, "W-PARAMETERS")) == 20


def test_a_name_of_another_style_is_advice(folder):
    edit(folder / "tools/kitchen.yaml", "name: wine_match", "name: wineMatch")
    assert places(folder, "W-NAME-STYLE") == ["/tools/kitchen.yaml:10"]
    assert places(folder, "E-NAME") == []


def test_what_ingestion_refuses_is_found(folder):
    edit(folder / "tools/kitchen.yaml", "name: wine_match", "name: Wine!")
    edit(folder / "questions/travel.yaml", "kind: direct", "kind: drect")
    assert places(folder, "E-NAME") == ["/tools/kitchen.yaml:10"]
    assert places(folder, "E-QA-KIND") == ["/questions/travel.yaml:1"]


@pytest.mark.parametrize(
    ("code", "ask"),
    [
        ("D-NAMED", "Could an oven preheat to {n} help?"),
        ("D-FRAME-OPENING", "Get the stove ready, {n} please."),
        ("D-FRAME-SKELETON", "I would like rolls soft within, so have it {n} warm in there."),
        ("D-NEAR", "The sourdough loaf wants {n} of heat all round."),
        ("W-OVERLAP", "Oven temperature {n}, hot!"),
    ],
)
def test_a_wrong_question_is_found_at_its_line(folder, code, ask):
    fill = "{n: [230, 190, 175]}" if code == "D-NEAR" else "{n: [181, 201, 221]}"
    add(folder, frame(ask, fill=fill))
    assert "/questions/kitchen.yaml:41" in places(folder, code)


def test_openings_are_those_of_any_script(folder):
    add(folder, frame("Открой мне эту печь на {n}"), frame("Закрой мне эту печь на {n}"), frame("Открой мне эту печь, {n}"))
    assert places(folder, "D-FRAME-OPENING") == ["/questions/kitchen.yaml:43"]


def test_too_many_fillings_and_a_missing_kind_are_found(folder):
    long = frame("Warm it to {n}!", fill="{n: [60, 70, 80, 90, 100]}")
    add(folder, long, frame("Bake mine at {n}, chef").replace("kind: goal, ", ""))
    assert places(folder, "D-FRAME-ROWS") == ["/questions/kitchen.yaml:41"]
    assert places(folder, "D-FRAME-KIND") == ["/questions/kitchen.yaml:42"]


def test_amounts_are_told_at_the_tool(folder):
    add(folder, frame("Warm mine to {n}!"), frame("My bread craves {n}", kind="goal"))
    assert places(folder, "W-FRAMES", Limits(frames=6, rows=(3, 60), chances={})) == [
        f"/tools/{domain}.yaml:{line}"
        for domain in ("kitchen", "travel")
        for line in range(1, 11)
        if (domain, line) != ("kitchen", 1)
    ]
    assert places(folder, "W-KINDS") == ["/tools/kitchen.yaml:1"]
    assert places(folder, "W-ROWS", Limits(frames=4, rows=(3, 17), chances={})) == ["/tools/kitchen.yaml:1"]


def test_documentation_is_checked(folder):
    twin = "Suggest which bottle goes with a meal."
    edit(folder / "tools/kitchen.yaml", "Run the dishwasher with a chosen programme.", "Suggests which bottles go with meals.")
    edit(folder / "tools/travel.yaml", "Draw a walk through hills with its climbs and huts.", "Draws.")
    assert twin in (folder / "tools/kitchen.yaml").read_text(encoding="utf-8")
    assert places(folder, "W-SIBLINGS") == ["/tools/kitchen.yaml:10"]
    assert places(folder, "W-DESCRIPTION") == ["/tools/travel.yaml:10"]


def test_a_tool_that_word_matching_finds_is_told(folder):
    chances = {"bm25_cd": 1.0, "bm25_sd": 1.0, "names_cd": 1.0, "names_sd": 0.9}
    add(folder, *(frame(f"{word} {{n}} oven preheat", tool="oven_preheat") for word in ("Do", "Make")))
    edited = (folder / "questions/kitchen.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "questions/kitchen.yaml").write_text("".join(edited[4:]), encoding="utf-8")
    assert places(folder, "W-EASY", Limits(chances=chances)) == ["/tools/kitchen.yaml:1"]


def test_findings_stand_in_the_order_of_files_and_lines_each_once_those_of_tools_first(folder):
    add(folder, frame("Could an oven preheat to {n} help?"))
    found = findings(folder)
    assert found == sorted(set(found), key=lambda finding: ("/tools/" not in finding.file, finding))
    assert {Path(finding.file).parent.name for finding in found} == {"tools", "questions"}


def test_a_file_of_tools_that_cannot_be_read_is_told_first_and_what_follows_in_one_line(folder, capsys):
    (folder / "tools/kitchen.yaml").write_text("- name: [\n", encoding="utf-8")
    edit(folder / "questions/travel.yaml", "tool: trail_map", "tool: trial_map")
    with pytest.raises(UserError, match="E-CHECK"):
        run(folder, SMALL)
    lines = capsys.readouterr().out.splitlines()
    assert "tools/kitchen.yaml:2: E-PARSE" in lines[0]
    faults = [line for line in lines[:-1] if " E-" in line]
    assert len(faults) == 2 and "questions/travel.yaml:37: E-QA-ANSWER-UNKNOWN" in faults[1]
    answers = int(re.fullmatch(r"(\d+) answers are, or may be, tools that must be mended first; .*", lines[-2])[1])
    assert answers > 40  # those of the 40 frames of the kitchen, and of chains
    assert ": 2 to mend, " in lines[-1]


def test_a_rejected_tool_is_told_and_what_follows_in_one_line(folder, capsys):
    edit(folder / "tools/kitchen.yaml", "Suggest which bottle goes with a meal.", "a\u200bb")
    with pytest.raises(UserError, match="E-CHECK"):
        run(folder, SMALL)
    lines = capsys.readouterr().out.splitlines()  # four frames and two chains ask for that tool
    assert [line.split()[1] for line in lines[:-1] if " E-" in line] == ["E-INVISIBLE"]
    assert lines[-2].startswith("6 answers are, or may be, tools that must be mended first")


def test_what_often_follows_from_another_finding_is_told_last(folder):
    text = (folder / "tools/kitchen.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "tools/kitchen.yaml").write_text(text[0] + text[1].replace("name: ", "name: A+"), encoding="utf-8")
    edit(folder / "questions/travel.yaml", "kind: direct", "kind: drect")
    codes = [finding.code for finding in findings(folder) if finding.code.startswith("E")]
    assert codes.index("E-QA-KIND") < codes.index("E-DOMAIN-SIZE")


def test_rejected_rows_are_looked_at_no_further(folder):
    add(folder, frame("Could an oven preheat to {n} help?", fill="{n: [181, 2000]}"))
    sources = read_sources(folder / "tools", folder / "questions")
    assert len(kept(sources).questions) == len(sources.questions) - 1
    assert [found.code for found in check(sources, SMALL) if found.line == 41 and found.code.startswith(("E", "D"))] == [
        "E-QA-ARGUMENTS",
        "D-NAMED",
    ]


def test_rules_of_this_dataset_are_advice_for_another_but_when_asked_for(folder, capsys):
    """Each finding is told with file, line and code, as often as each code was found, and what must be mended ends with 65."""
    add(folder, frame("Could an oven preheat to {n} help?"))
    run(folder, SMALL)
    counts = "20 tools, 243 questions, 11 chains"
    assert f"{counts}: 0 to mend, " in (before := capsys.readouterr().out) and "3 D-NAMED" in before.splitlines()[-1]
    with pytest.raises(UserError) as raised:
        run(folder, SMALL, strict=True)
    assert (raised.value.code, raised.value.exit_code) == ("E-CHECK", 65)
    told = capsys.readouterr().out
    assert (
        f"{folder}/questions/kitchen.yaml:41: D-NAMED the question holds its tool's name, oven_preheat: \"Could an oven" in told
    )
    assert f"{counts}: 3 to mend, " in told and told.splitlines()[:-1] == before.splitlines()[:-1]


def test_advice_alone_is_no_error(folder, capsys):
    run(folder, SMALL)
    assert "20 tools, 240 questions, 11 chains: 0 to mend, " in capsys.readouterr().out


def test_a_folder_that_is_not_there_or_holds_no_dataset_is_told(folder, capsys):
    shutil.rmtree(folder / "questions")
    for wrong, what in ((folder / "nosuch", "there is no such folder"), (folder, "the folder has no questions/")):
        with pytest.raises(UserError, match="E-MISSING") as raised:
            run(wrong)
        assert raised.value.what == what and raised.value.where == f"{wrong} (argument FOLDER)"
        assert "holds tools/ and questions/" in raised.value.fix and "params.yaml" not in str(raised.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["tools", "chains"])
def test_a_file_in_the_place_of_a_folder_is_told(folder, name):
    shutil.rmtree(folder / name)
    (folder / name).write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="E-NOT-A-FOLDER"):
        run(folder)


def test_a_dataset_whose_first_questions_have_no_kind_is_checked(folder):
    path = folder / "questions/kitchen.yaml"  # 120 questions: more than polars looks at to tell the types
    path.write_text(re.sub(r" kind: \w+,", "", path.read_text(encoding="utf-8")), encoding="utf-8")
    assert len(places(folder, "D-FRAME-KIND")) == 40


def test_a_finding_in_a_file_of_any_name_moves_no_cursor():
    finding = Rejection("tools/a\x1b[2J.yaml", 1, "", "E-NAME", "not a tool's name\u202e")
    assert told(finding) == "tools/a\\u{1b}[2J.yaml:1: E-NAME not a tool's name\\u{202e}"


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.6, 1.0])
def test_documentations_that_are_alike_are_found_as_if_all_were_compared(threshold):
    drawn = random.Random(0)
    sets = [set(drawn.choices("abcdefgh", k=drawn.randint(0, 6))) for _ in range(60)]
    near = [(x, y) for x, y in combinations(range(60), 2) if len(sets[x] & sets[y]) > threshold * len(sets[x] | sets[y])]
    assert sorted(alike(sets, threshold)) == near
    assert near or threshold == 1


def test_documentations_without_a_rare_word_in_common_are_not_compared():
    compared = []

    class Words(set):
        def __and__(self, other):
            compared.append(other)
            return set(self) & set(other)

    sets = [Words({"tool", "user", *(f"{place}-{word}" for word in "abcde")}) for place in range(200)]
    sets.append(Words(sets[7]))
    assert list(alike(sets, 0.6)) == [(7, 200)]
    assert len(compared) == 1
