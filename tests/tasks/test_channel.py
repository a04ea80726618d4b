import pytest
import torch

from metatoolagent.errors import UserError
from metatoolagent.tasks.channel import below, channel, split
from metatoolagent.tasks.rendering import Renderer

CANDIDATES = ["pulse", "oven_preheat", "atlas"]


@pytest.fixture
def rows(renderer):
    """Five tasks over one candidate set."""
    asked = [name for name, tool in renderer.asked_for.items() if tool in CANDIDATES][:5]
    return [
        {"question_id": name, "candidates": CANDIDATES, "position": CANDIDATES.index(renderer.asked_for[name])} for name in asked
    ]


def test_below_a_tool_each_question_is_what_is_predicted(renderer, rows):
    tree, template = below(renderer, "atlas", rows), renderer.template
    questions = [template.content(renderer.questions[row["question_id"]]) for row in rows]
    opening = template.marker(template.before_question)
    sequence = renderer.tools_turn(["atlas"])
    for tokens in questions:
        sequence += [*opening, *tokens[:-1]]  # the last token predicts nothing
    assert tree.input_ids_T.tolist() == sequence
    assert tree.target_A.tolist() == [token for tokens in questions for token in tokens]
    assert tree.branch_A.tolist() == [index for index, tokens in enumerate(questions) for _ in tokens]
    starts = [len(renderer.tools_turn(["atlas"])) + len(opening) - 1] * len(rows)
    assert tree.position_ids_T[tree.keep_K[tree.ask_Q]].tolist() == starts


def test_a_channel_pack_has_a_tree_for_each_candidate(renderer, rows):
    found = channel(renderer, rows)
    assert [tree.tokens for tree in found.trees] == [below(renderer, name, rows).tokens for name in CANDIDATES]
    assert found.gold_Q.tolist() == [row["position"] for row in rows]
    assert found.task_ids == tuple(row["question_id"] for row in rows)
    assert found.tokens == sum(tree.tokens for tree in found.trees)
    assert found.rows == sum(len(tree.keep_K) for tree in found.trees)


def test_what_stands_for_a_question_is_asked(renderer, rows):
    other = below(renderer, "atlas", [rows[0] | {"question": "Another one entirely?"}])
    assert other.target_A.tolist() == renderer.template.content("Another one entirely?")


def test_documentation_never_stands_for_a_question(renderer, rows):
    other = below(renderer, "atlas", [row | {"documentation": True} for row in rows])
    assert torch.equal(other.input_ids_T, below(renderer, "atlas", rows).input_ids_T)


@pytest.mark.parametrize("parts", [1, 2, 5, 9])
def test_parts_have_all_candidates_and_some_questions(parts, renderer, rows):
    whole = channel(renderer, rows)
    pieces = split(whole, parts)
    assert len(pieces) == min(parts, len(rows))
    assert torch.equal(torch.cat([piece.gold_Q for piece in pieces]), whole.gold_Q)
    first = 0
    for piece in pieces:
        alone = channel(renderer, rows[first : first + len(piece.gold_Q)])
        assert piece.task_ids == alone.task_ids
        for tree, expected in zip(piece.trees, alone.trees, strict=True):
            assert all(
                torch.equal(value, getattr(expected, name))
                for name, value in vars(tree).items()
                if isinstance(value, torch.Tensor)
            )
        first += len(piece.gold_Q)


def test_a_question_beyond_the_context_is_refused(renderer, rows, catalog):
    short = Renderer(catalog, renderer.template, below(renderer, "atlas", rows).position_ids_T.max().item())
    with pytest.raises(UserError, match="E-CTX"):
        below(short, "atlas", rows)
