import pytest
import torch

from metatoolagent.errors import UserError
from metatoolagent.meta.losses import evaluate, gradient, leaves
from metatoolagent.models.adapter import logits
from metatoolagent.tasks.packing import Pack, behind, pack, split
from model_fixtures import TRAIN, alone, close, random_pack, random_parts

# Prefix 1 2; question a: 3, question b: 4 5; names 6 7 and 8, each with the end token 9.
SMALL = {"prefix": [1, 2], "segments": [[3], [4, 5]], "answers": [[6, 7, 9], [8, 9]], "gold": [0, 1], "task_ids": ["a", "b"]}


def seen(pack: Pack) -> list[str]:
    return ["".join("x" if value else "." for value in row) for row in pack.mask().tolist()]


def test_a_pack_written_out_by_hand():
    found = pack(**SMALL, context=10)
    assert found.task_ids == ("a", "b")
    assert found.tokens == 11
    assert found.input_ids_T.tolist() == [1, 2, 3, 6, 7, 8, 4, 5, 6, 7, 8]
    assert found.position_ids_T.tolist() == [0, 1, 2, 3, 4, 3, 2, 3, 4, 5, 4]
    assert found.node_T.tolist() == [0, 0, 1, 2, 2, 3, 4, 4, 5, 5, 6]
    assert found.keep_K.tolist() == [2, 3, 4, 5, 7, 8, 9, 10]
    assert found.ask_Q.tolist() == [0, 4]
    assert found.row_A.tolist() == [0, 1, 2, 0, 3, 4, 5, 6, 4, 7]
    assert found.target_A.tolist() == [6, 7, 9, 8, 9, 6, 7, 9, 8, 9]
    assert found.branch_A.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert found.gold_Q.tolist() == [0, 1]


def test_behind_a_token_of_the_prefix_all_positions_stay_by_hand():
    whole = pack(**SMALL, context=10)
    found = behind(whole, 1)
    assert (whole.before, found.before) == (0, 1)
    assert found.input_ids_T.tolist() == [2, 3, 6, 7, 8, 4, 5, 6, 7, 8]
    assert found.position_ids_T.tolist() == [1, 2, 3, 4, 3, 2, 3, 4, 5, 4]
    assert found.node_T.tolist() == [0, 1, 2, 2, 3, 4, 4, 5, 5, 6]
    assert found.keep_K.tolist() == [1, 2, 3, 4, 6, 7, 8, 9]
    for name in ("ask_Q", "row_A", "target_A", "branch_A", "gold_Q", "above_NN"):
        assert torch.equal(getattr(found, name), getattr(whole, name))


def test_the_mask_of_three_nodes_by_hand():
    found = pack([1, 2], [[3]], [[4, 5, 9]], [0], ["a"], context=10)
    assert found.above_NN.tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert seen(found) == ["x....", "xx...", "xxx..", "xxxx.", "xxxxx"]


def test_a_token_sees_its_path_and_nothing_else():
    assert seen(pack(**SMALL, context=10)) == [
        "x..........",
        "xx.........",
        "xxx........",
        "xxxx.......",
        "xxxxx......",
        "xxx..x.....",
        "xx....x....",
        "xx....xx...",
        "xx....xxx..",
        "xx....xxxx.",
        "xx....xx..x",
    ]


def test_with_the_gold_answers_alone_each_question_has_one_branch():
    found = pack(**SMALL, context=10, gold_only=True)
    assert found.input_ids_T.tolist() == [1, 2, 3, 6, 7, 4, 5, 8]
    assert found.target_A.tolist() == [6, 7, 9, 8, 9]
    assert found.branch_A.tolist() == [0, 0, 0, 1, 1]
    assert found.rival_AR.tolist() == [[6, 8], [7, -1], [9, -1], [6, 8], [9, -1]]
    assert found.gold_Q.tolist() == [0, 0]


def test_every_path_of_a_pack_is_the_sequence_of_its_task():
    parts = random_parts(4, 3)
    packed = pack(**parts, context=8192)
    mask = packed.mask()
    position = 0
    for segment in parts["segments"]:
        for answer in parts["answers"]:
            rows = packed.row_A[position : position + len(answer)]
            path = mask[packed.keep_K[rows[-1]]]
            assert packed.input_ids_T[path].tolist() == [*parts["prefix"], *segment, *answer[:-1]]
            assert packed.position_ids_T[path].tolist() == list(range(int(path.sum())))
            assert packed.target_A[position : position + len(answer)].tolist() == answer
            position += len(answer)
    assert position == len(packed.target_A)


def test_a_task_longer_than_the_context_is_refused_and_never_cut():
    longest = 2 + 2 + 2  # prefix, question b, the longer name without its end
    assert pack(**SMALL, context=longest).tokens == 11
    with pytest.raises(UserError) as raised:
        pack(**SMALL, context=longest - 1)
    assert raised.value.code == "E-CTX"
    assert "needs 6 positions, the backbone has 5" in raised.value.what
    assert raised.value.where == f"question {SMALL['task_ids'][1]}"
    assert raised.value.fix.startswith("lower distractors or icl.demonstrations")


def test_room_is_kept_for_what_is_generated_after_the_longest_question():
    assert pack(**SMALL, context=9, generated=5).tokens == 11  # prefix and question b are 4 long
    with pytest.raises(UserError) as raised:
        pack(**SMALL, context=8, generated=5)
    assert "needs 9 positions, the backbone has 8" in raised.value.what
    assert raised.value.fix.startswith("lower evaluate.max_new_tokens, reasoning.tokens")


def test_a_pack_needs_a_gold_position_for_each_question():
    with pytest.raises(ValueError, match="zip"):
        pack(**SMALL | {"gold": [0]}, context=10)


def test_moving_a_pack_moves_all_of_it():
    packed = random_pack(2, 2)
    moved = packed.to(torch.device("meta"))
    assert {value.device.type for value in vars(moved).values() if isinstance(value, torch.Tensor)} == {"meta"}
    assert moved.task_ids == packed.task_ids


def test_the_logits_of_a_pack_are_those_of_its_tasks_alone(adapted, weights):
    parts = random_parts(8, 3)
    packed = logits(adapted, weights, pack(**parts, context=8192))
    single = torch.cat([logits(adapted, weights, pack(**alone(parts, index), context=8192)) for index in range(8)])
    assert close(packed, single, 1e-5)


@pytest.mark.parametrize(("loss", "gold_only"), [("answer", True), ("answer", False), ("selection", True), ("selection", False)])
def test_loss_and_gradient_of_a_pack_are_those_of_its_tasks_alone(loss, gold_only, adapted, weights):
    chosen = TRAIN.model_copy(update={"loss": loss})
    parts = random_parts(8, 4)
    theta = leaves(weights)
    together = evaluate(adapted, theta, pack(**parts, context=8192, gold_only=gold_only), chosen)
    found = gradient(together.loss, theta)
    expected = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    losses, right = [], []
    for index in range(8):
        theta = leaves(weights)
        outcome = evaluate(adapted, theta, pack(**alone(parts, index), context=8192, gold_only=gold_only), chosen)
        losses.append(outcome.loss.item())
        right.append(bool(outcome.right_Q))
        for name, slope in gradient(outcome.loss, theta).items():
            expected[name] += slope / 8
    assert close(together.loss_Q, torch.tensor(losses), 1e-5)
    assert together.right_Q.tolist() == right
    largest = max(slope.abs().max() for slope in expected.values())
    for name, slope in found.items():
        assert expected[name].abs().max() > 0
        assert (slope - expected[name]).abs().max() <= 1e-5 * largest, name


@pytest.mark.parametrize("loss", ["answer", "selection"])
def test_no_loss_depends_on_the_other_branches(loss, adapted, weights):
    parts = random_parts(4, 3)
    chosen = TRAIN.model_copy(update={"loss": loss})
    full = evaluate(adapted, weights, pack(**parts, context=8192), chosen)
    gold = evaluate(adapted, weights, pack(**parts, context=8192, gold_only=True), chosen)
    assert close(full.loss_Q, gold.loss_Q, 1e-5)


@pytest.mark.parametrize("gold_only", [False, True])
def test_a_part_of_a_pack_is_the_pack_of_its_questions(gold_only):
    parts = random_parts(5, 3)
    whole = pack(**parts, context=100, gold_only=gold_only)
    pieces = split(whole, 2)
    bounds = [(0, 2), (2, 5)]
    for piece, (first, last) in zip(pieces, bounds, strict=True):
        own = parts | {name: parts[name][first:last] for name in ("segments", "gold", "task_ids")}
        expected = pack(**own, context=100, gold_only=gold_only)
        assert piece.task_ids == expected.task_ids
        assert all(torch.equal(getattr(piece, name), value) for name, value in vars(expected).items() if name != "task_ids")


def test_a_pack_is_split_into_no_more_parts_than_it_has_questions():
    whole = random_pack(3, 2)
    assert [piece.task_ids for piece in split(whole, 1)] == [whole.task_ids]
    assert [piece.task_ids for piece in split(whole, 8)] == [("q-0",), ("q-1",), ("q-2",)]
