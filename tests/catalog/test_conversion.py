"""Tools in the forms that programs have them in, to a domain's file."""

import json

import pytest

from metatoolagent import strict_yaml
from metatoolagent.catalog.conversion import convert
from metatoolagent.errors import Exit, UserError

SCHEMA = {
    "type": "object",
    "properties": {
        # Words that a careless writer of YAML turns into something else.
        "day": {
            "type": "string",
            "enum": ["no", "1", "1e5", "7E12", "-0", ".5", ".inf", "0x1f", "1_0", "2024-05-01", "~", "", "12:30", "<<", "="],
        },
        "most": {"type": "number", "maximum": 1.5e30, "minimum": -1e-7},
    },
    "required": ["day"],
    "additionalProperties": False,
}
TEXT = "Tells the weather 😀 of a city: #1, \"all\" of it,\nnot 'its' past."
PLAIN = {"name": "getWeather", "description": TEXT, "parameters": SCHEMA}
FORMS = {
    "as it is": PLAIN,
    "OpenAI, chat completions": {"type": "function", "function": PLAIN | {"strict": True}},
    "OpenAI, responses": PLAIN | {"type": "function", "strict": True},
    "Anthropic": {"name": "getWeather", "description": TEXT, "input_schema": SCHEMA},
    "MCP": {"name": "getWeather", "title": "Weather", "description": TEXT, "inputSchema": SCHEMA, "annotations": {}},
}
CUSTOM = {"type": "custom", "custom": {"name": "getWeather", "description": TEXT}}
BARE = {"name": "clock.now", "description": "Tells the time."}


@pytest.fixture
def source(tmp_path):
    """Writes content as JSON."""

    def write(content):
        path = tmp_path / "tools.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("keys", [[], ["tools"], ["result", "tools"]])
def test_every_form_becomes_the_same_entries(form, keys, source, tmp_path):
    out = tmp_path / "my/tools/home.yaml"
    content = [FORMS[form], BARE, BARE | {"name": "clock-zone"}]
    for key in reversed(keys):
        content = {key: content}
    count, left_out = convert(source(content), out)
    nothing = {"type": "object", "properties": {}}
    assert strict_yaml.load(out).content == [
        PLAIN,
        BARE | {"parameters": nothing},
        {"name": "clock-zone", "description": BARE["description"], "parameters": nothing},
    ]
    assert count == 3
    assert left_out == sorted({"strict", "title", "annotations"} & (FORMS[form].keys() | FORMS[form].get("function", {}).keys()))


@pytest.mark.parametrize(
    ("given", "parameters"),
    [
        ({"parameters": None}, {"type": "object", "properties": {}}),
        ({"parameters": {}}, {"type": "object", "properties": {}}),
        ({"inputSchema": {"properties": {"a": {}}}}, {"type": "object", "properties": {"a": {}}}),
        ({"parameters": {"type": "object", "default": 10**300}}, {"type": "object", "default": 10**300}),
    ],
)
def test_a_tool_without_arguments_need_not_say_so(given, parameters, source, tmp_path):
    convert(source([BARE | given]), tmp_path / "home.yaml")
    assert strict_yaml.load(tmp_path / "home.yaml").content == [BARE | {"parameters": parameters}]


def test_lines_that_end_as_on_windows_are_taken_as_in_files_of_a_catalog(source, tmp_path):
    schema = {"type": "object", "properties": {"a": {"description": "One.\r\nTwo.", "enum": ["x\r\ny"]}}}
    convert(source([BARE | {"description": "Tells\r\nthe time.", "parameters": schema}]), tmp_path / "home.yaml")
    (tool,) = strict_yaml.load(tmp_path / "home.yaml").content
    assert tool["description"] == "Tells\nthe time."
    assert tool["parameters"]["properties"]["a"] == {"description": "One.\nTwo.", "enum": ["x\ny"]}


def test_a_second_schema_of_a_tool_is_told_to_be_left_out(source, tmp_path):
    second = {"type": "object", "properties": {"b": {}}}
    assert convert(source([PLAIN | {"inputSchema": second, "type": None}, BARE]), tmp_path / "home.yaml") == (2, ["inputSchema"])
    assert strict_yaml.load(tmp_path / "home.yaml").content[0] == PLAIN


def test_a_custom_tool_is_one_level_down_too(source, tmp_path):
    convert(source([CUSTOM]), tmp_path / "home.yaml")
    assert [tool["name"] for tool in strict_yaml.load(tmp_path / "home.yaml").content] == ["getWeather"]


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        ([PLAIN, {"name": "a b", "description": "d"}], "E-NAME", "tool 2 (a b), field name"),
        ([PLAIN, {"name": "clock"}], "E-FIELD", "tool 2 (clock)"),
        ([PLAIN, 3], "E-FIELD", "tool 2"),
        ([PLAIN, {"description": "d"}], "E-FIELD", "tool 2"),
        ([PLAIN, {"name": "clock", "description": None}], "E-FIELD", "tool 2 (clock)"),
        ([PLAIN, {"type": "web_search_preview"}], "E-TOOL-TYPE", "tool 2, field type"),
        ('[{"name": "a", "description": "d", "parameters": {"default": 1e999}}]', "E-NUMBER", "tools.json"),
        ('[{"name": "a", "description": "d", "parameters": {"default": %s}}]' % ("9" * 5000), "E-NUMBER", "tools.json"),
        ("[" * 400 + "]" * 400, "E-DEPTH", "tools.json"),
        ([PLAIN, BARE | {"name": "GetWeather"}], "E-TOOL-COLLISION", "tool 2 (GetWeather)"),
        ([PLAIN | {"parameters": {"type": "array"}}], "E-SCHEMA", "tool 1 (getWeather), field parameters"),
        ('[{"name": "a", "description": "\\ud83d"}]', "E-CONTROL-CHAR", "tool 1 (a), field description"),
        ('[{"name": "a", "description": "d",\n}]', "E-PARSE", "tools.json:2:1"),
        ('[{"name": "a", "name": "b"}]', "E-DUP-KEY", "tools.json"),
        ('[{"name": "a", "description": "d", "parameters": {"default": NaN}}]', "E-NUMBER", "tools.json"),
        ("[" * 100_000 + "]" * 100_000, "E-DEPTH", "tools.json"),
        ([BARE | {"parameters": {"type": "object", "default": json.loads("[" * 70 + "]" * 70)}}], "E-DEPTH", "tools.json"),
        ([], "E-EMPTY", "tools.json"),
        ({"functions": []}, "E-FIELD", "tools.json"),
        ({"result": {"tools": [PLAIN], "nextCursor": "eyJwIjoyfQ"}}, "E-MCP-PARTIAL", "tools.json, field nextCursor"),
        ({"tools": [PLAIN], "nextCursor": "eyJwIjoyfQ"}, "E-MCP-PARTIAL", "tools.json, field nextCursor"),
    ],
)
def test_what_ingestion_would_refuse_is_told_and_nothing_is_written(content, code, told, source, tmp_path):
    out = tmp_path / "home.yaml"
    with pytest.raises(UserError) as raised:
        convert(source(content), out)
    assert (raised.value.code, raised.value.exit_code) == (code, Exit.DATA)
    assert told in raised.value.where
    assert [path.name for path in tmp_path.iterdir()] == ["tools.json"]


@pytest.mark.parametrize("cursor", [None, ""])
def test_the_last_page_of_a_server_is_a_whole_list(cursor, source, tmp_path):
    assert convert(source({"tools": [PLAIN], "nextCursor": cursor}), tmp_path / "home.yaml") == (1, [])


def test_all_faults_are_counted(source, tmp_path):
    with pytest.raises(UserError) as raised:
        convert(source([{"name": "a b", "description": "d"}, {"name": "c d", "description": ""}]), tmp_path / "home.yaml")
    assert raised.value.more.startswith("2 further")


@pytest.mark.parametrize("name", ["home.yml", "Home.yaml", "home"])
def test_a_name_that_ingestion_would_not_read_is_refused(name, source, tmp_path):
    with pytest.raises(UserError, match="E-FILE-NAME") as raised:
        convert(source([BARE]), tmp_path / name)
    assert raised.value.exit_code == Exit.PARAMS


def test_a_file_that_is_there_is_left_alone(source, tmp_path):
    out = tmp_path / "home.yaml"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="E-EXISTS") as raised:
        convert(source([BARE]), out)
    assert raised.value.exit_code == Exit.CREATE
    assert out.read_text(encoding="utf-8") == "mine"
