from dataclasses import dataclass

import polars as pl
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig

from metatoolagent.errors import UserError
from metatoolagent.evaluation import scoring
from metatoolagent.evaluation.generation import generate, reading
from metatoolagent.evaluation.scoring import greedy_names
from metatoolagent.meta.losses import log_probabilities
from metatoolagent.models import adapter
from metatoolagent.tasks.packing import pack
from metatoolagent.tasks.prompts import Template
from model_fixtures import ids, published

CANDIDATES = ["pulse", "oven_preheat", "atlas"]


def predict(model, weights, renderer, rows, count):
    """The predictions for the tasks of one candidate set."""
    return scoring.predict(model, weights, renderer, [rows], count)[0]


@pytest.fixture(scope="module")
def rows(catalog):
    """Four tasks over one candidate set."""
    questions = pl.read_parquet(catalog / "questions.parquet").sort("question_id")
    picked = [(name, questions.filter(pl.col("tool") == name)["question_id"]) for name in CANDIDATES]
    golds = [(name, found[0]) for name, found in picked] + [(CANDIDATES[0], picked[0][1][5])]
    return [
        {"question_id": question, "candidates": CANDIDATES, "gold": name, "position": CANDIDATES.index(name)}
        for name, question in golds
    ]


@pytest.fixture(scope="module")
def theirs(tiny, weights, tmp_path_factory):
    """The adapted backbone as anybody would load it: transformers with its own attention, and PEFT."""
    folder = published(weights, tmp_path_factory.mktemp("adapter"), "mta", tiny)
    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32, attn_implementation="sdpa")
    return PeftModel.from_pretrained(base, folder).eval()


def continuation(model, prompt, count, ends):
    """The greedy tokens of transformers' own generation."""
    settings = GenerationConfig(max_new_tokens=count, do_sample=False, eos_token_id=list(ends), pad_token_id=ends[0])
    prompt = torch.tensor([prompt])
    out = model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), generation_config=settings)
    return out[0, prompt.shape[1] :].tolist()


@torch.no_grad()
def free_answers(model, weights, renderer, rows, count, ends):
    """What `generate` gives, for every task of a pack."""
    packed = renderer.pack(rows)
    cache = DynamicCache()
    out = adapter.forward(model, weights, packed, logits_to_keep=packed.keep_K, use_cache=True, past_key_values=cache)
    left = reading(packed, cache, out.logits[0], range(len(rows)))
    return generate(model, weights, [left], renderer.template, ends, count)


def expected_text(template, tokens, ends):
    """The tokens before the first end: transformers stops at it, so an end can only be the last."""
    cut = tokens[-1] not in ends
    return template.tokenizer.decode(tokens if cut else tokens[:-1]), cut


@dataclass
class Crafted:
    """A renderer of tokens that are given."""

    template: Template
    stem: list[int]
    segments: dict[str, list[int]]
    answers: dict[str, list[int]]
    context: int = 8192

    def prefix(self, candidates):
        return self.stem

    def pack(self, rows, *, generated=0):
        names = rows[0]["candidates"]
        return pack(
            self.stem,
            [self.segments[row["question_id"]] for row in rows],
            [self.answers[name] for name in names],
            [0] * len(rows),
            [row["question_id"] for row in rows],
            context=self.context,
        )


def test_tasks_are_predicted_together_as_one_by_one(adapted, weights, renderer, rows):
    together = predict(adapted, weights, renderer, rows, 6)
    for row, found in zip(rows, together, strict=True):
        (single,) = predict(adapted, weights, renderer, [row], 6)
        assert found.log_probabilities == pytest.approx(single.log_probabilities, abs=1e-4)
        assert (found.scored, found.free, found.free_text, found.cut) == (
            single.scored,
            single.free,
            single.free_text,
            single.cut,
        )


def test_scores_are_the_log_probabilities_of_names_in_the_plain_model(adapted, weights, renderer, rows, theirs):
    for row, found in zip(rows, predict(adapted, weights, renderer, rows, 2), strict=True):
        stem = [*renderer.prefix(CANDIDATES), *renderer.line(row["question_id"])]
        expected = []
        for name in CANDIDATES:
            answer = renderer.answers[name]
            with torch.no_grad():
                log_p = theirs(torch.tensor([[*stem, *answer]])).logits[0].log_softmax(-1)
            expected.append(sum(log_p[len(stem) - 1 + index, token].item() for index, token in enumerate(answer)))
        assert found.log_probabilities == pytest.approx(expected, abs=1e-3)
        assert found.scored == CANDIDATES[expected.index(max(expected))]


def test_the_backbone_alone_is_predicted_without_weights(model, adapted, weights, renderer, rows):
    plain = predict(model, None, renderer, rows, 4)
    same = predict(adapted, adapter.initial(adapted, torch.Generator().manual_seed(0)), renderer, rows, 4)
    other = predict(adapted, weights, renderer, rows, 4)
    for one, two, three in zip(plain, same, other, strict=True):
        assert one.log_probabilities == pytest.approx(two.log_probabilities, abs=1e-4)
        assert one.log_probabilities != pytest.approx(three.log_probabilities, abs=1e-1)


def test_lockstep_generation_is_transformers_own(adapted, weights, renderer, rows, theirs):
    ends = renderer.template.line_ends
    found = free_answers(adapted, weights, renderer, rows, 12, ends)
    texts = set()
    for row, answer in zip(rows, found, strict=True):
        prompt = [*renderer.prefix(CANDIDATES), *renderer.line(row["question_id"])]
        assert answer == expected_text(renderer.template, continuation(theirs, prompt, 12, ends), ends)
        texts.add(answer)
    assert len(texts) > 1  # the tasks differ, so an answer given to the wrong task would be seen


def test_sets_that_answer_together_answer_as_alone(adapted, weights, renderer, rows):
    """Sets of unequal lengths and numbers of questions."""
    sets = [rows, rows[:1], [{**row, "candidates": CANDIDATES[:2], "position": 0} for row in rows[1:3]]]
    expected = [predict(adapted, weights, renderer, of_set, 12) for of_set in sets]
    together = scoring.predict(adapted, weights, renderer, sets, 12)
    assert [len(found) for found in together] == [4, 1, 2]
    texts = [[(one.free_text, one.cut) for one in found] for found in together]
    assert texts == [[(one.free_text, one.cut) for one in found] for found in expected]
    assert len({text for of_set in texts for text in of_set}) > 2


def test_scores_that_are_not_finite_are_refused(adapted, weights, renderer, rows):
    spoilt = {name: tensor.clone() for name, tensor in weights.items()}
    next(iter(spoilt.values())).view(-1)[0] = float("nan")
    with pytest.raises(UserError, match="E-NONFINITE") as raised:
        predict(adapted, spoilt, renderer, rows, 2)
    assert raised.value.where == f"question {rows[0]['question_id']}, candidate {CANDIDATES[0]}"
    assert raised.value.got == '"nan"'


@pytest.fixture(scope="module")
def said(theirs):
    """A prefix, twelve questions of random tokens, and the greedy continuation of each in the plain model."""
    generator = torch.Generator().manual_seed(4)
    stem = ids(generator, 20)
    segments = {f"q-{index}": ids(generator, 5 + index) for index in range(12)}
    return stem, segments, {name: continuation(theirs, [*stem, *segment], 8, (257,)) for name, segment in segments.items()}


def tasks_of(said, answers):
    return [{"question_id": name, "candidates": list(answers), "position": 0} for name in said]


@pytest.mark.parametrize("others", [(), (0,)], ids=["one end", "two"])
def test_generation_ends_at_the_first_end_token_of_each_task(adapted, weights, template, theirs, said, others):
    """The end token is one that some greedy answers say soon, some late and some not at all; there may be more of them."""
    stem, segments, greedy = said
    tokens = {token for tokens in greedy.values() for token in tokens if len(template.tokenizer.decode([token]).encode()) == 1}
    end = max(tokens, key=lambda token: len({found.index(token) if token in found else -1 for found in greedy.values()}))
    answers = {"a": [1, 2, 3, end], "b": [4, end]}
    renderer = Crafted(template, stem, segments, answers)
    ends = (*(max(greedy.values(), key=len)[index] for index in others), end)
    expected = [expected_text(template, continuation(theirs, [*stem, *segment], 8, ends), ends) for segment in segments.values()]
    assert {cut for _, cut in expected} == {True, False}
    assert free_answers(adapted, weights, renderer, tasks_of(greedy, answers), 8, ends) == expected


def test_greedy_names_agrees_with_generation(adapted, weights, template, said):
    """Candidates are the model's own greedy words, as they are, continued in another way, and altered at the end."""
    stem, segments, greedy = said
    answers = {}
    for index, tokens in enumerate(greedy.values()):
        length = 1 + index % 3
        answers[f"right-{index}"] = tokens[: length + 1]
        answers[f"longer-{index}"] = [*tokens[: length + 1], (tokens[length + 1] + 1) % 256]
        answers[f"altered-{index}"] = [*tokens[:length], (tokens[length] + 1) % 256]
    packed = Crafted(template, stem, segments, answers).pack(tasks_of(greedy, answers))
    named = greedy_names(log_probabilities(adapter.logits(adapted, weights, packed), packed)[1], packed).tolist()
    for index, (tokens, found) in enumerate(zip(greedy.values(), named, strict=True)):
        assert found == [answer == tokens[: len(answer)] for answer in answers.values()]
        assert found[list(answers).index(f"right-{index}")]


def test_a_greedy_answer_that_names_a_candidate_needs_no_generation(adapted, weights, template, said, monkeypatch):
    stem, segments, greedy = said
    name, tokens = next((name, tokens) for name, tokens in greedy.items() if tokens[2] not in tokens[:2])
    answers = {"other": [1, 2, tokens[2]], "spelled": tokens[:3]}
    monkeypatch.setattr(scoring, "generate", lambda *_: pytest.fail("tokens were generated"))
    # A name of more tokens than a free answer may have is not cut.
    for limit in (8, 1):
        (found,) = predict(adapted, weights, Crafted(template, stem, segments, answers), tasks_of([name], answers), limit)
        assert (found.free, found.free_text, found.cut) == ("spelled", "spelled", False)


def test_only_the_tasks_that_name_no_candidate_take_the_generated_answer(adapted, weights, template, said, monkeypatch):
    stem, segments, greedy = said
    (first, tokens), (second, _) = list(greedy.items())[:2]
    answers = {"other": [1, 2, 3], "spelled": tokens[:3]}
    monkeypatch.setattr(scoring, "generate", lambda *_: [("other", False)])
    found = predict(adapted, weights, Crafted(template, stem, segments, answers), tasks_of([first, second], answers), 8)
    assert [one.free_text for one in found] == ["spelled", "other"]


def test_generated_answers_go_to_the_tasks_that_name_no_candidate(adapted, weights, template, said):
    """The first task of the first set spells a candidate's name, all others generate, those of both sets together."""
    stem, segments, greedy = said
    names = list(greedy)[:4]
    answers = {"other": [1, 2, 3], "spelled": greedy[names[0]][:3]}
    sets = [tasks_of(names[:2], answers), tasks_of(names[2:], answers)]
    found = scoring.predict(adapted, weights, Crafted(template, stem, segments, answers), sets, 8)
    expected = [("spelled", False), *(expected_text(template, greedy[name], (257,)) for name in names[1:])]
    assert [(one.free_text, one.cut) for of_set in found for one in of_set] == expected
    assert len(set(expected)) == 4


def test_a_generated_name_counts_only_if_it_ended(adapted, weights, template, said, monkeypatch):
    stem, segments, greedy = said
    answers = {"a": [1, 2, 3], "b": [4, 5, 6]}
    monkeypatch.setattr(scoring, "generate", lambda *_: [("a", False), ("a", True), ("A", False)])
    found = predict(adapted, weights, Crafted(template, stem, segments, answers), tasks_of(list(greedy)[:3], answers), 8)
    assert [one.free for one in found] == ["a", None, None]


@pytest.mark.parametrize(
    ("said", "text", "named", "cut"),
    [
        ((" a", False), "a", "a", False),
        ((" a\nwhich is", True), "a", "a", False),  # the line ended, within a token
        (("\n\na", False), "", None, False),  # the line was empty; the harness ends there too
        ((" a", True), "a", None, True),
    ],
)
def test_a_free_answer_is_the_first_line(said, text, named, cut):
    found = scoring.prediction(["a", "b"], [-1.0, -2.0], said)
    assert (found.free_text, found.free, found.cut, found.scored) == (text, named, cut, "a")


def test_a_free_answer_that_is_no_candidate_is_none(adapted, weights, renderer, rows):
    found = predict(adapted, weights, renderer, rows, 3)
    assert all(one.free is None and one.scored in CANDIDATES for one in found)
    assert any(one.cut for one in found)
