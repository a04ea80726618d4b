import pytest

from metatoolagent.errors import Exit, Finding, UserError, raise_findings, shown


def test_a_message_has_each_line_that_is_known():
    error = UserError("E-X", "something is wrong", "file:3", '"a"', "mend it", more="2 further")
    assert str(error).splitlines() == [
        "error[E-X] something is wrong",
        "  where: file:3",
        '  got:   "a"',
        "  fix:   mend it",
        "  more:  2 further",
    ]
    assert error.exit_code == 65


def test_shown_spells_out_what_a_terminal_would_obey():
    assert shown("a\x1b[2Jb\u202ec\u200bd") == '"a\\u{1b}[2Jb\\u{202e}c\\u{200b}d"'


@pytest.mark.parametrize(("length", "ends"), [(80, 'x"'), (81, '…"')])
def test_shown_cuts_after_80_characters(length, ends):
    assert shown("x" * length).endswith(ends)
    assert len(shown("x" * length)) <= 82


def test_no_findings_raise_nothing():
    raise_findings([], kept="all")


def test_findings_are_counted_and_ten_are_listed():
    findings = [Finding("E-X", "wrong", f"file:{line}", fix="mend it") for line in range(1, 16)]
    with pytest.raises(UserError) as raised:
        raise_findings(findings, kept="nothing was written", report="errors.parquet", exit_code=Exit.PARAMS)
    error = raised.value
    assert (error.where, error.kept, error.exit_code) == ("file:1", "nothing was written", 64)
    assert error.more.startswith("14 further, all in errors.parquet")
    assert "file:10" in error.more
    assert "file:11" not in error.more
    assert error.more.endswith("and 5 more")


def test_no_part_of_a_message_moves_the_cursor():
    hostile = "a\x1b[2J\n\u202eb\udcff"
    told = str(UserError("E-X", hostile, hostile, hostile, hostile, hostile, "1 further\n    " + hostile.replace("\n", "")))
    assert "\x1b" not in told and "\u202e" not in told and "\udcff" not in told
    assert len(told.splitlines()) == 7
    assert "where: a\\u{1b}[2J\\u{a}\\u{202e}b\\u{dcff}" in told


def test_the_places_of_further_findings_stay_on_their_lines():
    findings = [Finding("E-X", "wrong", f"fi\nle\u202e:{line}") for line in (1, 2)]
    with pytest.raises(UserError) as raised:
        raise_findings(findings, kept="nothing was written")
    assert raised.value.more == "1 further\n    E-X fi\\u{a}le\\u{202e}:2"
