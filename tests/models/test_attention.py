import pytest
import torch
from torch import Tensor

from metatoolagent.errors import UserError
from metatoolagent.models.attention import Dense, bias, layout, tree_attention
from metatoolagent.tasks.packing import Pack, behind, pack
from model_fixtures import close, random_pack, random_parts

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def dense(query: Tensor, key: Tensor, value: Tensor, seen: Tensor, scaling: float) -> Tensor:
    """The definition: softmax of all scores, those that are not seen at minus infinity; key-value heads repeated."""
    members = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(members, 1), value.repeat_interleave(members, 1)
    scores = (query @ key.transpose(2, 3)) * scaling
    return (scores.masked_fill(~seen, float("-inf")).softmax(-1) @ value).transpose(1, 2)


def random_tensors(pack: Pack, heads: int, groups: int, size: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = [(1, count, pack.tokens, size) for count in (heads, groups, groups)]
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


def attend(tensors: list[Tensor], pack: Pack, *, fused: bool = False) -> Tensor:
    tree = layout(pack, tensors[0].dtype, fused=fused)
    out, _ = tree_attention(torch.nn.Identity(), *tensors, None, scaling=0.3, tree=tree)
    return out


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("heads", "groups"), [(2, 2), (6, 2), (4, 1)])
@pytest.mark.parametrize(("tasks", "candidates", "gold_only"), [(1, 1, False), (5, 3, False), (7, 2, True), (1, 6, False)])
def test_the_blocks_compute_dense_masked_attention(tasks, candidates, gold_only, heads, groups, dtype):
    packed = random_pack(tasks, candidates, gold_only=gold_only)
    tensors = random_tensors(packed, heads, groups, 8, dtype)
    expected = dense(*tensors, packed.mask(), 0.3)
    for fused in (False, True):
        found = attend(tensors, packed, fused=fused)
        assert found.shape == (1, packed.tokens, heads, 8)
        assert close(found, expected, TOLERANCE[dtype])


def test_very_uneven_segments_and_answers_of_one_token_are_computed_alike():
    parts = random_parts(3, 2) | {"segments": [[5], list(range(40)), [7, 8]], "answers": [[257], [1, 2, 3, 4, 5, 6, 257]]}
    packed = pack(**parts, context=8192)
    tensors = random_tensors(packed, 4, 2, 8, torch.float64)
    expected = dense(*tensors, packed.mask(), 0.3)
    assert close(attend(tensors, packed), expected, 1e-12) and close(attend(tensors, packed, fused=True), expected, 1e-12)


def test_huge_scores_stay_finite():
    packed = random_pack(3, 2)
    tensors = [1e3 * tensor for tensor in random_tensors(packed, 4, 2, 8, torch.float32)]
    for fused in (False, True):
        assert torch.isfinite(attend(tensors, packed, fused=fused)).all()
        assert close(attend(tensors, packed, fused=fused), dense(*tensors, packed.mask(), 0.3), 1e-4)


def test_what_a_token_may_not_see_does_not_reach_it():
    packed = random_pack(3, 2)
    query, key, value = random_tensors(packed, 4, 2, 8, torch.float64)
    before = attend([query, key, value], packed)
    row = packed.tokens - 1
    hidden = ~packed.mask()[row]
    assert hidden.any()
    with torch.no_grad():
        for tensor in (key, value):
            tensor[:, :, hidden] = 1e6 * torch.randn(int(hidden.sum()), 8, dtype=torch.float64)
    assert torch.equal(attend([query, key, value], packed)[:, row], before[:, row])


def test_first_and_second_derivatives_are_those_of_dense_attention():
    packed = random_pack(4, 3)
    tensors = random_tensors(packed, 4, 2, 4, torch.float64)
    direction = [torch.randn(tensor.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64) for tensor in tensors]

    def derivatives(out: Tensor) -> list[list[Tensor]]:
        slope = torch.autograd.grad(out.pow(3).sum(), tensors, create_graph=True)
        along = sum((one * other).sum() for one, other in zip(slope, direction, strict=True))
        return [list(slope), list(torch.autograd.grad(along, tensors))]

    found, expected = derivatives(attend(tensors, packed)), derivatives(dense(*tensors, packed.mask(), 0.3))
    for order in range(2):
        for one, other in zip(found[order], expected[order], strict=True):
            assert other.abs().max() > 0
            assert close(one, other, 1e-10)


def test_a_step_of_decoding_sees_what_its_bias_says():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(2, heads, length, 8, generator=generator, dtype=torch.float64) for heads, length in ((4, 3), (2, 9), (2, 9))
    )
    seen = torch.rand(2, 1, 3, 9, generator=generator) < 0.5
    seen[..., 0] = True
    out, _ = tree_attention(torch.nn.Identity(), query, key, value, None, scaling=0.3, tree=Dense(bias(seen, torch.float64)))
    for index in range(2):
        one = slice(index, index + 1)
        assert close(out[one], dense(query[one], key[one], value[one], seen[index, 0], 0.3), 1e-12)


def test_the_layout_is_that_of_a_pack_worked_out_by_hand():
    # Prefix 2 tokens; question a: 1 token and a branch of 2; question b: 2 tokens and branches of 0 and 2... tokens.
    packed = pack([1, 2], [[3], [4, 5]], [[6, 7, 257]], [0, 0], ["a", "b"], context=100)
    found = layout(packed, torch.float32)
    assert found.prefix == 2
    assert found.block_QL.tolist() == [[2, 3, 4, 2], [5, 6, 7, 8]]
    assert found.place_R.tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert (found.before, found.shared) == (0, 2)
    assert (found.prefix_bias_PS == 0).tolist() == [[True, False], [True, True]]
    lower = torch.ones(4, 4).tril().bool()
    assert (found.block_bias_QLL[1] == 0).tolist() == lower.tolist()
    assert (found.block_bias_QLL[0, :3] == 0).tolist() == lower[:3].tolist()


@pytest.mark.parametrize(("heads", "groups"), [(2, 2), (6, 2)])
@pytest.mark.parametrize("count", [1, 7, 10])
def test_behind_tokens_of_a_cache_the_blocks_compute_the_same_rows_of_dense_attention(count, heads, groups):
    packed = random_pack(5, 3)
    query, key, value = random_tensors(packed, heads, groups, 8, torch.float64)
    expected = dense(query, key, value, packed.mask(), 0.3)[:, count:]
    for fused in (False, True):
        assert close(attend([query[:, :, count:], key, value], behind(packed, count), fused=fused), expected, 1e-12)


def test_the_layout_behind_tokens_of_a_cache_worked_out_by_hand():
    # Two tokens of the prefix are in the cache, two are not; one question of two tokens, a branch of one.
    found = layout(behind(pack([1, 2, 3, 4], [[5, 6]], [[7, 257]], [0], ["a"], context=100), 2), torch.float32)
    assert (found.before, found.prefix, found.shared) == (2, 2, 4)
    assert (found.prefix_bias_PS == 0).tolist() == [[True, True, True, False], [True, True, True, True]]
    assert found.block_QL.tolist() == [[2, 3, 4]]


@pytest.mark.parametrize("other", [{"softcap": 50.0}, {"sliding_window": 8}, {"s_aux": torch.zeros(4)}])
def test_attention_of_another_kind_is_refused_and_not_computed_wrongly(other):
    packed = random_pack(3, 2)
    tensors = random_tensors(packed, 4, 2, 8, torch.float64)
    plain = {"scaling": 0.3, "tree": layout(packed, torch.float64)}
    with pytest.raises(UserError, match="E-BACKBONE"):
        tree_attention(torch.nn.Identity(), *tensors, None, **plain, **other)
    same, _ = tree_attention(torch.nn.Identity(), *tensors, None, **plain, softcap=None, sliding_window=packed.tokens)
    assert torch.equal(same, attend(tensors, packed))
