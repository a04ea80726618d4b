import pytest

from metatoolagent.errors import UserError
from metatoolagent.reporting.show import printable, show
from model_fixtures import tiny  # noqa: F401


def test_the_prompt_and_every_answer_are_printed(results, hostile_catalog, tiny, capsys, monkeypatch):  # noqa: F811
    monkeypatch.setenv("COLUMNS", "220")
    show("all-000001", results, hostile_catalog, tiny)
    printed = capsys.readouterr().out
    assert "Choose the one tool" in printed and "<|im_start|>user" in printed
    assert "gold: " in printed
    for method in ("random", "bm25", "base", "ft", "mta"):
        assert f"│ {method}" in printed
    assert "-1.00" in printed and "none" in printed


def test_an_unknown_task_is_one_error_with_the_nearest(results, hostile_catalog, tmp_path):
    with pytest.raises(UserError, match="E-TASK") as raised:
        show("all-7", results, hostile_catalog, tmp_path)
    assert raised.value.exit_code == 64
    assert raised.value.fix.startswith("name one such as all-000007,")


def test_without_results_the_message_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="E-MISSING") as raised:
        show("all-000001", tmp_path / "results/sd", tmp_path, tmp_path)
    assert "results/sd/metrics.json" in raised.value.fix


def test_what_could_move_the_cursor_is_spelled_out():
    assert printable("a\x1b[2Jb\nc\u202e") == "a\\u{1b}[2Jb\nc\\u{202e}"
