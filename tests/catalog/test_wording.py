import pytest

from metatoolagent.catalog import wording


def test_content_is_what_is_left_without_function_words_and_endings():
    assert wording.content_words("I'd like to be moving the team_notes, please") == ["mov", "team", "not"]
    assert wording.stem("moves") == wording.stem("moved") == wording.stem("moving") == "mov"
    assert wording.stem("red") == "red"


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("Don’t move_it, café №7!", ["don't", "move", "it", "café", "7"]),
        ("मुझे किताब चाहिए", ["मुझे", "किताब", "चाहिए"]),
        ("Открой дверь.", ["открой", "дверь"]),
    ],
)
def test_words_are_those_of_any_script(text, held):
    assert wording.words(text) == held


def test_shared_words_are_counted_once():
    assert wording.shared_words("Move the notes, move them all", "Moves a note") == (["mov", "not"], 2)


@pytest.mark.parametrize(
    ("question", "held"),
    [("Use note_move now", True), ("note move!", True), ("Note: move it", True), ("footnote move", False), ("move note", False)],
)
def test_a_name_is_found_with_and_without_underscores(question, held):
    assert wording.names(question, "note_move") is held


def test_a_slot_is_one_word_of_an_opening():
    assert (
        wording.opening("Ask {some_one} to come by")
        == wording.opening("Ask {who} to come over")
        == ("ask", "0slot", "to", "come")
    )


def test_a_skeleton_is_the_sentence_without_its_topic():
    assert wording.skeleton("Put the {thing} on my list for {when}") == wording.skeleton("Put the red car on my desk for Ann")
    assert wording.skeleton("Put the {thing} on my list for {when}") != wording.skeleton("Put my {thing} on the list for {when}")
    assert wording.skeleton("{what} to {where}") == ()
