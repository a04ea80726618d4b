import random
import weakref

import pytest

from metatoolagent.catalog import similar
from metatoolagent.catalog.text import normalised

LETTERS = "abcdefghij"


def sentence(generator, words):
    return " ".join("".join(generator.choices(LETTERS, k=generator.randint(1, 8))) for _ in range(words))


def edited(generator, text):
    """Return the text with a few letters changed and perhaps a word more."""
    letters = list(text)
    for _ in range(generator.randint(0, 6) if letters else 0):
        letters[generator.randrange(len(letters))] = generator.choice("abc ")
    return "".join(letters) + generator.choice(["", "s", " more"])


def trigrams(text):
    text = normalised(text)
    return {text[i : i + 3] for i in range(max(1, len(text) - 2))}


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_pairs_are_those_of_the_definition_whatever_is_held_at_once(threshold, monkeypatch):
    generator = random.Random(0)
    found = 0
    for sizes in ((9, 17, 7, 8), (2**12, 2**19, 2**20, 2**24), (9, 17, 7, 64)):
        for name, value in zip(("CHUNK", "BLOCK", "PAIRS", "SLICE"), sizes, strict=True):
            monkeypatch.setattr(similar, name, value)
        left = [sentence(generator, generator.randint(0, 8)) for _ in range(40)]
        right = [edited(generator, text) for text in generator.choices(left, k=60)]
        expected = [
            (i, j)
            for i, one in enumerate(map(trigrams, left))
            for j, other in enumerate(map(trigrams, right))
            if len(one & other) >= threshold * len(one | other)
        ]
        assert similar.similar_pairs(left, right, threshold) == expected
        in_chunks = similar.similar(lambda: [left[:5], [], left[5:]], [right[:20], right[20:]], threshold)  # noqa: B023
        assert in_chunks == expected
        found += len(expected)
    assert found > 20


def test_nothing_is_similar_to_nothing():
    assert similar.similar_pairs([], ["a"], 0.8) == similar.similar_pairs(["a"], [], 0.8) == []


def test_few_pairs_of_unlike_texts_are_compared_in_full(monkeypatch):
    generator = random.Random(1)
    words = [sentence(generator, 1) for _ in range(2000)]
    texts = [" ".join(generator.choices(words, k=14)) for _ in range(2000)]
    compared = []
    in_full = similar._similar

    def counted(chunk, block, one_C, other_C, threshold):
        compared.append(len(one_C))
        return in_full(chunk, block, one_C, other_C, threshold)

    monkeypatch.setattr(similar, "_similar", counted)
    similar.similar_pairs(texts[:1000], texts[1000:], 0.8)
    assert sum(compared) < 1000 * 1000 / 1000


def test_one_block_is_held_at_a_time(monkeypatch):
    """Two of them would be most of the memory of a large split."""
    monkeypatch.setattr(similar, "BLOCK", 10)
    made, held = [], []
    real = similar._index

    def watched(texts, threshold):
        held.append(sum(one() is not None for one in made))
        index = real(texts, threshold)
        made.append(weakref.ref(index.hash_I))
        return index

    monkeypatch.setattr(similar, "_index", watched)
    texts = [sentence(random.Random(number), 6) for number in range(30)]
    assert similar.similar_pairs(texts, texts, 1.0) == [(number, number) for number in range(30)]
    assert held == [0, 0, 0]
