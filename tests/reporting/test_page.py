import json
import re
import shutil

import altair as alt
import polars as pl
import pytest
import vl_convert

from metatoolagent.artifacts import canonical_json, publishing, read_manifest, verify
from metatoolagent.errors import UserError
from metatoolagent.look import MARKS, shape
from metatoolagent.params import OF_METHOD
from metatoolagent.reporting import page
from metatoolagent.reporting.browser import content, shares
from report_fixtures import COMMITTED, HOSTILE, METHODS, ROOT, TASKS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def own(html):
    """The page's text without the library that draws, which has strings of HTML of its own."""
    return re.sub(r'<script type="module" id="vega">.*?</script>', "", verify(html).read_text(encoding="utf-8"), flags=re.S)


def test_hostile_text_stays_text(html):
    text = own(html)
    assert HOSTILE not in text and "<img src=x" not in text
    content = json.loads(re.search(r'id="data-tasks">(.*?)</script>', text, re.S)[1])
    assert HOSTILE in {tool[2] for tools in content["catalogs"].values() for tool in tools}
    assert HOSTILE in {task[2] for task in content["splits"]["cd"]["tasks"]}


def test_nothing_is_loaded_from_elsewhere_and_the_page_is_light(html):
    text = own(html)
    assert re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?!data:)', text) == []
    assert html.stat().st_size < 4 * 2**20


def test_every_row_of_the_tables_and_every_figure_has_its_text(html):
    text = html.read_text(encoding="utf-8")
    for name in re.findall(r'data-figure="(\w+)"', text):
        assert re.search(rf'data-figure="{name}" role="img" aria-label="[^"]{{40,}}"', text)
    assert "<b>75.0</b>" in text and "<b>50.0</b>" in text


def test_the_invalid_rate_has_its_interval_and_what_became_of_free_answers_stands_below(html, results):
    numbers, text = json.loads((results / "metrics.json").read_text(encoding="utf-8")), own(html)
    mean, low, high = (100 * numbers[f"cd.mta.invalid.unseen.{name}"] for name in ("rate", "low", "high"))
    assert f'<td class="num">{mean:.1f} <span>{low:.1f}–{high:.1f}</span></td>' in text
    table = re.search(r"<summary>What became of the free answers.*?</details>", text, re.S)[0]
    assert re.findall(r'<th scope="row">(\w+)</th>', table) == METHODS
    row = re.search(r'<th scope="row">mta</th>(.*?)</tr>', table, re.S)[1]
    shares = [f"{100 * numbers[f'cd.mta.outcome.{name}']:.1f}" for name in ("right", "wrong", "other_tool", "none", "cut")]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", row) == ["cd", *shares]


def test_tasks_on_real_and_on_simulated_apis_have_rows_and_are_explained(html, results, drawn, hostile_catalog, tmp_path):
    numbers = json.loads((results / "metrics.json").read_text(encoding="utf-8"))
    with publishing(tmp_path, ["metrics.json"], producer="metrics_external") as paths:
        kinds = {key.replace(".all.", f".{kind}."): numbers[key] for key in numbers for kind in ("real", "simulated")}
        kinds = {key: value for key, value in kinds.items() if "_vs_" not in key}
        paths["metrics.json"].write_text(canonical_json(numbers | kinds), encoding="utf-8")
    files = {"cd": {method: [results / method / "predictions.parquet"] for method in METHODS}}
    sources = page.Sources(drawn, ROOT / "workflow/report", [tmp_path / "metrics.json"], files, {"cd": hostile_catalog})
    text, before = page.render(sources, COMMITTED), own(html)
    for kind in ("real", "simulated"):
        assert text.count(f"<td>cd</td><td>all, {kind}</td>") == len(METHODS)
        assert f"<i>all, {kind}</i>" in text and f"all, {kind}" not in before


def test_the_page_says_whose_tools_were_asked_for(html, results, drawn, hostile_catalog):
    assert "tool selection on tools that were never trained on" in own(html)
    files = {"cd": {method: [results / method / "predictions.parquet"] for method in METHODS}}
    sources = page.Sources(drawn, ROOT / "workflow/report", [results / "metrics.json"], files, {"cd": hostile_catalog})
    text = page.render(sources, COMMITTED | {"eval_tasks": COMMITTED["eval_tasks"] | {"part": "train"}})
    assert "tool selection on tools that were trained on" in text and "tasks with tools that were trained on" in text


def test_a_pool_without_tasks_is_not_offered(html, results, drawn, hostile_catalog, tmp_path):
    assert re.findall(r"<option>(\w+)</option>", own(html))[1:3] == ["all", "unseen"]
    numbers = json.loads((results / "metrics.json").read_text(encoding="utf-8"))
    with publishing(tmp_path, ["metrics.json"], producer="metrics") as paths:
        of_all = {key: value for key, value in numbers.items() if ".unseen." not in key}
        paths["metrics.json"].write_text(canonical_json(of_all), encoding="utf-8")
    files = {"cd": {method: [results / method / "predictions.parquet"] for method in METHODS}}
    sources = page.Sources(drawn, ROOT / "workflow/report", [tmp_path / "metrics.json"], files, {"cd": hostile_catalog})
    text = page.render(sources, COMMITTED | {"eval_tasks": COMMITTED["eval_tasks"] | {"part": "train"}})
    controls = re.findall(r'<select data-choice="pool">(.*?)</select>', text)
    assert len(controls) > 1 and set(controls) == {"<option>all</option>"}
    assert "<i>unseen</i>" not in text and "<i>unseen</i>" in own(html)


@pytest.mark.parametrize("lacking", ["cd.ft", "cd.base", "cd.mta", "cd"])
def test_a_page_without_what_it_tells_of_is_refused(results, drawn, hostile_catalog, tmp_path, lacking):
    numbers = json.loads((results / "metrics.json").read_text(encoding="utf-8"))
    kept = {key: value for key, value in numbers.items() if not key.startswith(f"{lacking}.")}
    kept |= {key.replace("cd.", "sd.", 1): value for key, value in numbers.items()}
    with publishing(tmp_path, ["metrics.json"], producer="metrics") as paths:
        paths["metrics.json"].write_text(canonical_json(kept), encoding="utf-8")
    files = {"cd": {"ft": [results / "ft/predictions.parquet"]}}
    sources = page.Sources(drawn, ROOT / "workflow/report", [tmp_path / "metrics.json"], files, {"cd": hostile_catalog})
    with pytest.raises(UserError, match="E-SPLITS") as raised:
        page.render(sources, COMMITTED)
    assert lacking.replace(".", " ") in raised.value.got


def test_answers_to_different_tasks_and_of_another_catalog_are_not_shown(results, catalog, hostile_catalog, tmp_path):
    frame = pl.read_parquet(results / "mta/predictions.parquet")
    for name, changed in {
        "turned": frame.with_columns(candidates=pl.col("candidates").list.reverse()),
        "foreign": frame.with_columns(question_id=pl.lit("x-") + pl.col("question_id")),
    }.items():
        with publishing(tmp_path / name, ["predictions.parquet"], producer="evaluate") as paths:
            changed.write_parquet(paths["predictions.parquet"])
    pair = {"ft": [results / "ft/predictions.parquet"], "mta": [tmp_path / "turned/predictions.parquet"]}
    with pytest.raises(UserError, match="E-UNPAIRED") as raised:
        content({"cd": pair}, {"cd": hostile_catalog})
    assert "turned" in raised.value.where and "task all-000000: candidates" in raised.value.got
    with pytest.raises(UserError, match="E-STALE") as raised:
        content({"cd": {"mta": [tmp_path / "foreign/predictions.parquet"]}}, {"cd": catalog})
    assert raised.value.where == str(catalog)


def test_the_licence_of_our_dataset_is_told_of_our_dataset_alone(html, results, drawn, hostile_catalog, monkeypatch):
    monkeypatch.chdir(ROOT)
    files = {"cd": {method: [results / method / "predictions.parquet"] for method in METHODS}}
    sources = page.Sources(drawn, ROOT / "workflow/report", [results / "metrics.json"], files, {"cd": hostile_catalog})
    own_tools = COMMITTED["ingest"] | {"tools": "my/tools", "questions": "my/questions"}
    assert "dataset CC-BY-4.0" in page.render(sources, COMMITTED)
    assert "CC-BY" not in page.render(sources, COMMITTED | {"ingest": own_tools})


def test_provenance_has_params_versions_and_hashes(html, results):
    text = html.read_text(encoding="utf-8")
    assert "&#34;distractors&#34;: 5" in text and "torch 2." in text
    assert read_manifest(results)["files"]["metrics.json"]["sha256"] in text
    assert '<code class="long">snakemake --cores all sweep_distractors report</code>' in text


def test_probes_and_sweeps_that_were_run_are_shown_and_the_others_named(html):
    text = own(html)
    assert re.findall(r"<h3>(Abstention|Rotation|Injection|Adaptation)</h3>", text) == ["Abstention"]
    assert text.count("12.3 [0.0, 45.6]") == 4
    assert re.findall(r'<article id="programme-(\w+)">', text) == ["distractors"]
    assert "2 in training 20.0 % [10.0, 30.0]" in text  # ft with 5 distractors in evaluation: 0.7 - 0.5
    missing = re.search(r'id="missing">(.*?)</p>', text, re.S)[1]
    assert re.findall(r"<code>(\w+)</code>", missing) == ["eval_sd", "multi_tool"]


def test_without_other_results_the_page_has_no_section_for_them(results, drawn, hostile_catalog):
    files = {"cd": {method: [results / method / "predictions.parquet"] for method in METHODS}}
    captions, metrics = ROOT / "workflow/report", [results / "metrics.json"]
    text = page.render(page.Sources(drawn, captions, metrics, files, {"cd": hostile_catalog}), COMMITTED)
    assert not re.findall(r'id="(?:probes|programme|missing)"|href="#(?:probes|programme)"', text)


def test_shares_of_the_probability_among_the_candidates():
    assert shares(None) is None
    assert shares([-1000.0, -1000.0 - 1.0986123]) == [75, 25]


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with api.sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(html, browser):
    """The page in a browser that has no network, and what went wrong while it was open."""
    context = browser.new_context(viewport={"width": 390, "height": 800}, offline=True)
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
    page.goto(html.as_uri())
    yield page, wrong
    context.close()


def test_it_opens_without_network_or_errors_and_draws_every_figure(opened):
    page, wrong = opened
    for place in page.locator(".plot").all():
        place.scroll_into_view_if_needed()
        place.locator("svg").first.wait_for()
    assert wrong == []
    assert page.locator(".plot svg").count() == page.locator(".plot").count()
    assert page.evaluate("window.broken") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


OUTSIDE = """() => [...document.querySelectorAll(".plot svg")].flatMap((svg) => {
  const whole = svg.getBoundingClientRect();
  const ends = (text) => text.getBoundingClientRect();
  const beyond = (box) => box.left < whole.left - 1 || box.right > whole.right + 1 || box.top < whole.top - 1;
  return [...svg.querySelectorAll("text")].filter((text) => beyond(ends(text))).map((text) => text.textContent);
})"""


def changed(html, folder, data, change):
    """Write the page with its data, `figures` or `tasks`, as `change` leaves it."""
    text = html.read_text(encoding="utf-8")
    found = re.search(rf'id="data-{data}">(.*?)</script>', text, re.S)
    content = json.loads(found[1])
    change(content)
    written = json.dumps(content).replace("<", "\\u003c")
    (folder / "index.html").write_text(text[: found.start(1)] + written + text[found.end(1) :], encoding="utf-8")
    return folder / "index.html"


def long_labels(figures):
    """Give kinds of questions and domains long names."""
    for name in ("kind", "domain"):
        for row in figures[name]["rows"]:
            row["value"] = f"software_development_and_testing_{row['value']}"


@pytest.mark.parametrize("width", [390, 1280])
def test_no_text_of_a_figure_ends_outside_it(html, browser, tmp_path, width):
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    page = context.new_page()
    for path in (html, changed(html, tmp_path, "figures", long_labels)):
        page.goto(path.as_uri())
        for place in page.locator(".plot").all():
            place.scroll_into_view_if_needed()
            place.locator("svg").first.wait_for()
        assert page.evaluate(OUTSIDE) == []
    context.close()


def test_confused_siblings_are_drawn_a_row_each_and_where_there_are_none_it_is_said(opened):
    page, wrong = opened
    place = page.locator("#figure-confusions")
    place.scroll_into_view_if_needed()
    place.locator("svg").wait_for()
    rows = page.evaluate("JSON.parse(document.getElementById('data-figures').textContent).confusions.rows")
    shown = [row for row in rows if (row["pool"], row["reading"]) == ("all", "scored")]
    assert {row["method"] for row in shown if row["selected"]} == {"ft", "mta"}
    drawn = place.locator("svg text").all_text_contents()
    # On two lines, between which a browser puts no space.
    assert {text for text in drawn if "→ " in text} == {row["pair"].replace(" → ", "→ ") for row in shown}
    # One mark a pair and method; the others of that role are those of the legend.
    assert place.locator("svg [aria-roledescription=point]").count() == len(shown)

    page.locator("#siblings [data-choice=reading]").select_option("free")
    place.get_by_text("There is nothing to show of this choice.").wait_for()
    assert place.locator(".plot svg").count() == 0
    assert wrong == []


def test_the_main_split_is_first_and_the_one_that_is_shown(two_splits, browser):
    text = own(two_splits)
    assert set(re.findall(r'<select data-choice="split">(.*?)</select>', text)) == {
        "<option>cd</option><option>apibench-cd</option>"
    }
    listed = re.findall(r"<td>([\w-]+)</td><td>[\w, ]+</td><th", text)
    assert list(dict.fromkeys(listed)) == ["cd", "apibench-cd"]
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(two_splits.as_uri())
    assert page.locator("#tasks #split option").all_inner_texts() == ["cd", "apibench-cd"]
    page.locator(".task").first.wait_for()
    for chosen in page.locator("#tasks #split, [data-choice=split]").all():
        assert chosen.input_value() == "cd"
    context.close()


def test_siblings_confused_on_a_benchmark_are_drawn_with_both_names_however_long(two_splits, browser, tmp_path):
    context = browser.new_context(offline=True, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(changed(two_splits, tmp_path, "figures", long_pairs).as_uri())
    page.locator("#siblings [data-choice=split]").select_option("apibench-cd")
    place = page.locator("#figure-confusions")
    place.scroll_into_view_if_needed()
    place.locator("svg text", has_text="→ cross_encoder").first.wait_for()
    assert place.locator("svg text", has_text="speechbrain").count()
    context.close()


def long_pairs(figures):
    """Give siblings names as long as those of API-Bench."""
    for number, row in enumerate(figures["confusions"]["rows"]):
        row["pair"] = f"speechbrain_lang_id_voxlingua107_ecapa_{number} → cross_encoder_ms_marco_minilm_l_6_v2_{number}"


def test_a_phone_shows_what_a_stage_ran_on_over_the_whole_width(opened):
    page, _ = opened
    widths = [place.bounding_box()["width"] for place in page.locator("#provenance dd").all()]
    assert widths and min(widths) > 300


def count(page):
    return page.locator("#count").inner_text()


def test_filters_and_search_find_the_tasks(opened):
    page, wrong = opened
    assert count(page) == f"{TASKS} of {TASKS} tasks"
    # mta is wrong on every fourth task, ft right on every second.
    page.get_by_role("button", name="mta right, ft wrong").click()
    assert count(page) == f"{TASKS // 2} of {TASKS} tasks"
    page.get_by_role("button", name="ft right, mta wrong").click()
    assert count(page) == f"{TASKS // 4} of {TASKS} tasks"
    page.get_by_role("button", name="both wrong").click()
    assert count(page) == f"0 of {TASKS} tasks"
    page.get_by_role("button", name="All", exact=True).click()
    page.locator("#search").fill("all-000007")
    assert count(page) == f"1 of {TASKS} tasks"
    page.locator("#search").fill("")
    page.locator("select[data-method=bm25]").select_option("right")
    assert count(page) == f"{TASKS // 6} of {TASKS} tasks"
    page.locator("#pool").select_option("unseen")
    assert page.locator(".task .meta").first.inner_text().startswith("unseen-")
    assert wrong == []


def test_a_task_opens_with_every_methods_choice_and_hostile_text_as_text(opened):
    page, wrong = opened
    page.locator("#search").fill("onerror")
    page.locator(".task").first.locator("summary").click()
    inside = page.locator(".task .inside").first
    inside.wait_for()  # a task is filled when the browser says that it opened, which it does a turn later
    assert inside.locator("tr.gold").count() == 1
    assert inside.locator("thead th").all_inner_texts() == ["candidate", *METHODS]
    assert inside.locator("dt").all_inner_texts() == METHODS
    assert HOSTILE in inside.inner_text()
    assert page.evaluate("window.broken") is None
    assert wrong == []


def every_method(tasks):
    """Give the tasks the answers of all methods, each a copy of one that is there."""
    tasks["splits"]["cd"]["methods"] = list(OF_METHOD)
    for task in tasks["splits"]["cd"]["tasks"]:
        task[6] = [task[6][number % len(METHODS)] for number in range(len(OF_METHOD))]


def test_an_open_task_shows_documentation_and_free_answers_beside_every_method(html, browser, tmp_path):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    page.goto(changed(html, tmp_path, "tasks", every_method).as_uri())
    page.locator(".task").first.locator("summary").click()
    inside = page.locator(".task .inside").first
    inside.wait_for()
    assert inside.locator(".doc").count() == 3
    for part in (*inside.locator(".doc").all(), *inside.locator("dd").all()):
        box = part.bounding_box()
        assert box["x"] + box["width"] <= 1280 and box["width"] >= 200
    context.close()


def test_every_mark_can_be_seen(browser):
    rows = [{"method": method} for method in MARKS]
    points = alt.Chart(alt.Data(values=rows)).mark_point(size=80, filled=True).encode(shape=shape(list(MARKS)), x="method:N")
    context = browser.new_context()
    page = context.new_page()
    page.set_content(vl_convert.vegalite_to_svg(points.to_json()))
    filled = """path => {
      const {x, y, width, height} = path.getBBox();
      let inside = 0;
      for (let i = 0.5; i < 40; i++) for (let j = 0.5; j < 40; j++)
        inside += path.isPointInFill(new DOMPoint(x + width * i / 40, y + height * j / 40));
      return width * height * inside / 1600;
    }"""
    marks = page.locator(".mark-symbol.role-mark [aria-roledescription=point]").all()
    areas = dict(zip(MARKS, [mark.evaluate(filled) for mark in marks], strict=True))
    assert {name: area for name, area in areas.items() if area < 25} == {}
    context.close()


def test_what_a_reader_chooses_changes_the_figures_and_their_numbers(opened):
    page, wrong = opened
    page.locator("#figure-accuracy svg").wait_for()
    page.locator("#found [data-choice=reading]").select_option("free")
    page.locator("#figure-accuracy .numbers summary").click()
    cells = page.locator("#figure-accuracy .numbers tbody tr")
    cells.first.wait_for()
    page.wait_for_function(
        "[...document.querySelectorAll('#figure-accuracy .numbers tbody tr')].every(row => row.innerText.includes('free'))"
    )
    assert cells.count() == len(METHODS)
    heads = page.locator("#figure-accuracy .numbers th").all_inner_texts()
    assert heads[:7] == ["split", "pool", "reading", "method", "accuracy", "low", "high"]
    assert all(len(text) <= 6 for text in cells.first.locator("td").all_inner_texts()[4:7])
    assert wrong == []


def long_names(tasks):
    """Give tools names as long as those of API-Bench."""
    for tools in tasks["catalogs"].values():
        for number, tool in enumerate(tools):
            tool[0] = f"universal_sentence_encoder_cmlm_multilingual_preprocess_bert_large_cased_whole_word_masking_{number}"


def test_long_names_of_tools_do_not_make_a_phone_scroll_sideways(html, browser, tmp_path):
    context = browser.new_context(offline=True, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(changed(html, tmp_path, "tasks", long_names).as_uri())
    page.locator(".task").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def another_split(tasks):
    """Add a second split, a benchmark's, whose tasks are those of pool `all` alone."""
    cd = tasks["splits"]["cd"]
    tasks["splits"]["web"] = cd | {"tasks": [task for task in cd["tasks"] if task[1] == "all"][:5]}


def test_another_split_lists_its_own_tasks_whatever_was_filtered(html, browser, tmp_path):
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(changed(html, tmp_path, "tasks", another_split).as_uri())
    page.locator("#pool").select_option("unseen")
    page.locator("#tasks #split").select_option("web")
    assert count(page) == "5 of 5 tasks"
    assert page.locator("#pool").input_value() == "all"
    context.close()


def test_more_tasks_leave_those_that_are_open_as_they_are(opened):
    page, wrong = opened
    first = page.locator(".task").first
    first.locator("summary").click()
    listed = page.locator(".task").count()
    page.locator("#more").click()
    assert page.locator(".task").count() == TASKS > listed
    assert first.get_attribute("open") is not None and page.locator("#more").is_hidden()
    assert wrong == []


def test_what_a_figure_says_of_itself_goes_with_what_it_shows(opened):
    page, wrong = opened
    plot = page.locator("#figure-accuracy .plot")
    said = "part => document.querySelector('#figure-accuracy .plot').ariaLabel.includes(part)"
    alt = page.evaluate("JSON.parse(document.getElementById('data-figures').textContent).accuracy.alt")
    page.locator("#figure-accuracy svg").wait_for()
    page.wait_for_function(said, arg=alt)
    page.locator("#found [data-choice=reading]").select_option("free")
    page.wait_for_function(said, arg="reading free")
    page.locator("#found [data-choice=reading]").select_option("scored")
    page.wait_for_function(said, arg=alt)
    assert plot.get_attribute("role") == "img"
    assert wrong == []
