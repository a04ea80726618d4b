import pytest

from metatoolagent.catalog.text import folded_names, hidden, normalised, strings


@pytest.mark.parametrize(
    ("text", "code", "point"),
    [
        ("a\u202eb", "E-BIDI", "U+202E"),
        ("a\u2066b", "E-BIDI", "U+2066"),
        ("a\u200fb", "E-BIDI", "U+200F"),
        ("a\u200bb", "E-INVISIBLE", "U+200B"),
        ("a\u2800b", "E-INVISIBLE", "U+2800"),
        ("a\u00adb", "E-INVISIBLE", "U+00AD"),
        ("a\U000e0041b", "E-INVISIBLE", "U+E0041"),
        ("a\ufe0fb", "E-INVISIBLE", "U+FE0F"),
        ("a\u200db", "E-INVISIBLE", "U+200D"),
        ("a\u200cb", "E-INVISIBLE", "U+200C"),
        ("a\x00b", "E-CONTROL-CHAR", "U+0000"),
        ("a\ud800b", "E-CONTROL-CHAR", "U+D800"),
        ("a\x85b", "E-CONTROL-CHAR", "U+0085"),
    ],
)
def test_hidden_characters_are_found(text, code, point):
    ((found, what, where),) = hidden(text)
    assert (found, where) == (code, point)
    assert "character 2" in what


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "é ü ß 日本",
        "line\nline\ttab",
        "❤\ufe0f",
        "👩\u200d🍳",
        "👍🏽",
        "“quotes” – dash",
        "می\u200cخواهم",
        "क\u094d\u200dष",
        "1\ufe0f\u20e3",
        "ℹ\ufe0f",
        "↔\ufe0f",
    ],
)
def test_visible_text_passes(text):
    assert list(hidden(text)) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Book it!", "book  it"),
        ("ﬁle", "file"),
        ("STRASSE", "straße"),
        ("a-b_c", "a b c"),
        ("Ｗide", "wide"),
        ("12+5?", "12 + 5"),
        ("covid-19.", "Covid 19"),
        ("I ❤\ufe0f 5\ufe0f", "i ❤ 5"),
    ],
)
def test_writings_of_one_text_are_equal(one, other):
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    "texts",
    [
        ("What is 12 + 5?", "What is 12 - 5?", "What is 12 * 5?", "What is 12 / 5?", "What is 12 5?"),
        ("a C project", "a C# project", "a C++ project"),
        ("10 $ in €", "10 € in $"),
        ("-5 degrees", "5 degrees"),
        ("scale by 1/2", "scale by 1.2", "scale by 1-2", "scale by 1,2"),
        ("कल दिन बताओ", "कल दान बताओ", "कल दून बताओ"),
        ("ซื้อไม้", "ซื้อไม่"),
    ],
)
def test_different_questions_are_not_the_same_one(texts):
    assert len({normalised(text) for text in texts}) == len(texts)


def test_text_without_letters_is_itself():
    assert normalised("?!") == "?!"
    assert normalised("?!") != normalised("!?")


@pytest.mark.parametrize(
    "names",
    [
        ("Send-Mail", "send_mail", "sendmail", "ｓend.mail"),
        ("dim_light", "DIM_LIGHT", "Dim.Light"),
        ("Import", "import"),
        ("OpenAI", "openai", "open_ai"),
        ("user_ID", "user_id", "userId"),
    ],
)
def test_names_fold_case_forms_and_separators(names):
    assert len({folded_names(name)[0] for name in names}) == 1


@pytest.mark.parametrize(
    "names", [("get_list", "get_1ist", "get_Iist", "Get_List"), ("apple_marble", "apple_rnarble", "AppleMarble"), ("zoo", "z0O")]
)
def test_names_fold_the_confusable_characters_within_ascii(names):
    assert len({folded_names(name)[1] for name in names}) == 1


@pytest.mark.parametrize(("one", "other"), [("send_mail", "send_mails"), ("get_list", "get_iist"), ("get_mail", "get_mall")])
def test_other_names_share_neither_folding(one, other):
    assert not set(folded_names(one)) & set(folded_names(other))


def test_strings_are_found_at_any_depth():
    assert list(strings({"a": ["x", {"b": "y"}], "c": 1})) == [
        (("a",), "a"),
        (("a", 0), "x"),
        (("a", 1, "b"), "b"),
        (("a", 1, "b"), "y"),
        (("c",), "c"),
    ]
