"""ToolAlpaca's files as published: what is kept, what is left out, and why."""

import json
from collections import Counter

import pytest

from metatoolagent.catalog.external import toolalpaca

REAL, SIMULATED = toolalpaca.FILES


@pytest.fixture(scope="module")
def benchmark(published):
    return toolalpaca.read({name: published[name] for name in toolalpaca.FILES})


def test_every_row_is_kept_or_excluded_with_its_reason(benchmark):
    assert benchmark.read == {"tool": 94 + 21, "question": 100 + 114, "chain": 20 + 43}
    assert (len(benchmark.tools), len(benchmark.questions), len(benchmark.chains)) == (94, 146, 30)
    assert Counter((row["file"], row["code"]) for row in benchmark.excluded) == {
        (REAL, "E-PSEUDO-FUNCTION"): 11,
        (SIMULATED, "E-PSEUDO-FUNCTION"): 10,
        (REAL, "E-MULTI-TOOL"): 114 - 94,
        (SIMULATED, "E-MULTI-TOOL"): 100 - 57,
        (REAL, "E-ANSWER-UNKNOWN"): 5 + 1,
        (SIMULATED, "E-ANSWER-UNKNOWN"): 9,
        (REAL, "E-CHAIN-REPEAT"): 16,
        (SIMULATED, "E-CHAIN-REPEAT"): 7,
    }
    assert all(row["reason"] for row in benchmark.excluded)


def test_an_excluded_row_is_found_again_by_its_place(benchmark, published):
    unknown = [row for row in benchmark.excluded if row["code"] == "E-ANSWER-UNKNOWN"]
    content = {file: json.loads(published[file].read_text(encoding="utf-8")) for file in (REAL, SIMULATED)}
    for row in unknown:
        entry, _, index = row["row"].split(".")
        api = content[row["file"]][int(entry)]
        unknowns = [
            step["Action"] for step in api["Golden_Answers"][int(index)] if step["Action"] not in api["Function_Description"]
        ]
        assert unknowns
        assert all(action in row["reason"] for action in unknowns)


def test_published_names_stay_and_no_tool_is_the_pseudo_function(benchmark):
    assert all(row["name"] == row["published"] for row in benchmark.published)
    assert toolalpaca.PSEUDO not in {row["name"] for row in benchmark.tools}


def test_a_tool_has_its_apis_name_its_text_and_its_openapi_parameters(benchmark):
    tools = {row["name"]: row for row in benchmark.tools}
    assert tools["getFruitByName"]["description"] == "Fruityvice: Get a fruit information by its name"
    assert tools["getFruitByName"]["domain"] == "fruityvice"
    country = json.loads(tools["CountryCountryInfo"]["parameters"])
    assert (list(country["properties"]), country["required"]) == (["countryCode"], ["countryCode"])
    # Fields of a body, behind a reference.
    assert set(json.loads(tools["createDashboard"]["parameters"])["properties"]) == {"charts", "dashboardName", "description"}
    # A function without a text of its own.
    assert "ICAO" in tools["AirportApi_getAirport"]["description"]


def test_tools_of_apis_of_one_category_never_distract_from_another(benchmark):
    also = {row["tool"]: set(row["also"]) for row in benchmark.questions}
    assert "getHolidaysByCountry" in also["PublicHolidayPublicHolidaysV3"]
    assert "getExchangeRates" in also["latest_get"]
    assert also["getFruitByName"] == set()


def test_arguments_that_are_not_json_stay_as_text(benchmark):
    texts = [json.loads(row["arguments"]) for row in benchmark.questions]
    assert sum(isinstance(value, str) for value in texts) == 8
