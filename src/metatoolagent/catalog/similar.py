"""The pairs of texts whose character trigrams overlap, found without comparing every text with every other one.

Sets x and y have a Jaccard similarity of t or more where at most k = (|x| + |y|) (1 - t) / (1 + t) members are in one of them
alone. Part all trigrams into k + 1 + s classes by a hash: a member that is in one set alone spoils one class, so that s + 1
classes at least have the same members in both sets, and s + 1 - c of them are left if x leaves c of its classes out. So a pair
is found by looking the classes of x up among those of y, without the c that most texts share, and counting (Arasu, Ganti and
Kaushik, Efficient exact set-similarity joins, VLDB 2006; classes left out by their cost: Qin et al., GPH: Similarity search in
Hamming space, ICDE 2018). What is found is compared in full, so that the answer is exact. What is left of the square is the
count of classes in common. Which classes most texts share is told by a table of how many hashes begin alike, without a search.

Legend: N texts of a chunk, P classes, M members of all the texts of a chunk, C candidate pairs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metatoolagent.catalog.text import normalised

CHUNK = 2**12
"""Texts of the left side that are handled at once."""

BLOCK = 2**19
"""Texts of the right side whose classes are held at once: some 900 bytes each, and twice that while they are sorted."""

PAIRS = 2**20
"""Candidate pairs that are compared at once, or those of one text if they are more."""

SPARE, COMMON = 12, 10
"""Classes beyond those that may differ and one, s above, and those that a text leaves out, c: more of both make them smaller."""

ROOM = 2
"""Places for each hash in the table of how many begin alike: of hashes that are not there, half at most seem to be."""

SLICE = 2**22
"""Places of that table that are made at once."""

STEP = 1.25
"""How far apart the numbers k are that classes are made for: texts of like size share a parting."""

MARGIN = 1e-6
"""Against a product that is rounded past a whole number: the filters let a pair too many through, never one too few."""

CHARACTER = 21
"""Bits of a code point and one more, so that 0 means no character; three of them are a trigram's number."""

Sets: TypeAlias = Any  # scipy.sparse.csr_array of int32, one set a row; scipy has no types that are checked here
Longs = NDArray[np.int64]
Hashes = NDArray[np.uint64]


class Trigrams(NamedTuple):
    """The trigrams of the texts of a chunk, each once a text."""

    owner_M: Longs
    """The text's place in the chunk."""

    number_M: Longs
    size_N: Longs

    def sets(self, known: Longs) -> Sets:
        """Return the sets of trigrams by their place among the sorted numbers `known`."""
        ends = np.r_[0, np.cumsum(self.size_N)]
        place = np.searchsorted(known, self.number_M).astype(np.int32)
        return sparse.csr_array((np.ones(len(place), np.int32), place, ends), shape=(len(self.size_N), len(known)))


class Index(NamedTuple):
    """The classes of a block of the right side's texts: their hashes in order, whose they are, and each text's size."""

    hash_I: Hashes
    owner_I: NDArray[np.int32]
    size_N: Longs
    times_X: NDArray[np.uint16]
    """How many hashes begin with the bits of a place, at most 65,535."""

    def times(self, hash_NP: Hashes) -> NDArray[np.uint16]:
        """Return how often hashes are there at the most, up to 65,535: 0 is exact, and finding it takes no search."""
        return np.take(self.times_X, (hash_NP >> np.uint64(64 - _bits(len(self.hash_I)))).astype(np.int64))


def similar_pairs(left: list[str], right: list[str], threshold: float) -> list[tuple[int, int]]:
    """Return the pairs (index in `left`, index in `right`) whose trigrams have at least this Jaccard similarity, in order.

    Args:
        left: texts, compared as `normalised` has them; one of fewer than three characters is one trigram.
        right: texts.
        threshold: above 0 and at most 1.
    """
    return similar(lambda: [left], [right], threshold)


def similar(
    left: Callable[[], Iterable[Sequence[str]]], right: Iterable[Sequence[str]], threshold: float
) -> list[tuple[int, int]]:
    """Return the same for texts that come in chunks and are counted through them: all that grows with them is the pairs.

    Args:
        left: gives its texts from the start, once for each block of the right side's.
        right: texts.
        threshold: above 0 and at most 1.
    """
    pairs: set[tuple[int, int]] = set()  # a pair may be found by several partings
    for first, block in _counted(right, BLOCK):
        pairs.update((one, first + other) for one, other in _with_block(left(), block, threshold))
    return sorted(pairs)


def _with_block(left: Iterable[Sequence[str]], block: Sequence[str], threshold: float) -> Iterator[tuple[int, int]]:
    """Yield the pairs with a block of the right side's texts; what is made for it is gone before the next block's is made."""
    index = _index(block, threshold)
    for start, texts in _counted(left, CHUNK):
        chunk = _trigrams(texts)
        for one_C, other_C in _candidates(chunk, index, threshold):
            near_C = _similar(chunk, block, one_C, other_C, threshold)
            yield from zip((start + one_C[near_C]).tolist(), other_C[near_C].tolist(), strict=True)


def _counted(chunks: Iterable[Sequence[str]], size: int) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield texts in groups of a size, the last one smaller, each with the number of its first text."""
    waiting: list[str] = []
    first = 0
    for chunk in chunks:
        waiting += chunk
        whole = len(waiting) - len(waiting) % size
        for start in range(0, whole, size):
            yield first + start, waiting[start : start + size]
        waiting, first = waiting[whole:], first + whole
    if waiting:
        yield first, waiting


def _index(texts: Sequence[str], threshold: float) -> Index:
    hashes, owners, sizes = [np.empty(0, np.uint64)], [np.empty(0, np.int32)], [np.empty(0, np.int64)]
    for start in range(0, len(texts), CHUNK):
        chunk = _trigrams(texts[start : start + CHUNK])
        sizes.append(chunk.size_N)
        for text_N, hash_NP in _classes(chunk, threshold):
            hashes.append(hash_NP.ravel())
            owners.append(np.repeat((start + text_N).astype(np.int32), hash_NP.shape[1]))
    hash_I, owner_I = np.concatenate(hashes), np.concatenate(owners)
    order = np.argsort(hash_I)
    hash_I = hash_I[order]
    return Index(hash_I, owner_I[order], np.concatenate(sizes), _times(hash_I))


def _bits(hashes: int) -> int:
    """Return of how many bits a place in the table is made."""
    return max(1, (ROOM * hashes - 1).bit_length())


def _times(hash_I: Hashes) -> NDArray[np.uint16]:
    """Return how many of the sorted hashes begin with the bits of each place, at most 65,535."""
    bits = _bits(len(hash_I))
    times_X = np.empty(2**bits, np.uint16)
    for start in range(0, len(times_X), SLICE):
        end = min(start + SLICE, len(times_X))
        low = np.searchsorted(hash_I, np.uint64(start << 64 - bits))
        high = len(hash_I) if end == len(times_X) else np.searchsorted(hash_I, np.uint64(end << 64 - bits))
        place = (hash_I[low:high] >> np.uint64(64 - bits)).astype(np.int64) - start
        times_X[start:end] = np.bincount(place, minlength=end - start).clip(max=2**16 - 1)
    return times_X


def _candidates(chunk: Trigrams, index: Index, threshold: float) -> Iterator[tuple[Longs, Longs]]:
    """Yield pairs of a text of the chunk and one of the block of like size, by their places, that share a class."""
    for text_N, hash_NP in _classes(chunk, threshold):
        times_NP = index.times(hash_NP)
        common_NS = np.argpartition(times_NP, -COMMON, axis=1)[:, -COMMON:]
        np.put_along_axis(times_NP, common_NS, 0, axis=1)
        searched_NP = times_NP > 0
        # Numpy finds sorted hashes faster than mixed ones.
        sorted_, place = np.unique(hash_NP[searched_NP], return_inverse=True)
        low = np.searchsorted(index.hash_I, sorted_)
        found = np.searchsorted(index.hash_I, sorted_, side="right") - low
        low_NP, found_NP = np.zeros((2, *hash_NP.shape), np.int64)
        low_NP[searched_NP], found_NP[searched_NP] = low[place], found[place]
        share_N = np.cumsum(found_NP.sum(axis=1)) // PAIRS
        for share in np.unique(share_N):
            of_N = share_N == share
            count_NP = found_NP[of_N]
            count = count_NP.ravel()
            one_C = np.repeat(text_N[of_N], count_NP.sum(axis=1))
            within_C = np.arange(len(one_C)) - np.repeat(np.cumsum(count) - count, count)
            other_C = index.owner_I[np.repeat(low_NP[of_N].ravel(), count) + within_C]
            size_C, other_size_C = chunk.size_N[one_C], index.size_N[other_C]
            like_C = np.minimum(size_C, other_size_C) >= threshold * np.maximum(size_C, other_size_C) - MARGIN
            pair_C, agreeing_C = np.unique(one_C[like_C] * len(index.size_N) + other_C[like_C], return_counts=True)
            pair_C = pair_C[agreeing_C > SPARE - COMMON]
            if len(pair_C):
                yield pair_C // len(index.size_N), pair_C % len(index.size_N)


def _similar(chunk: Trigrams, block: Sequence[str], one_C: Longs, other_C: Longs, threshold: float) -> NDArray[np.bool_]:
    """Say which pairs of a text of the chunk and one of the block are similar."""
    needed, place_C = np.unique(other_C, return_inverse=True)
    others = _trigrams([block[number] for number in needed])
    known = np.unique(np.r_[chunk.number_M, others.number_M])
    shared_C = chunk.sets(known)[one_C].multiply(others.sets(known)[place_C]).sum(axis=1)
    return np.asarray(shared_C >= threshold * (chunk.size_N[one_C] + others.size_N[place_C] - shared_C))


def _classes(chunk: Trigrams, threshold: float) -> Iterator[tuple[Longs, Hashes]]:
    """Yield the texts of each parting with the hashes of their classes: all partings that a similar text may be in."""
    least_N = _differing(chunk.size_N + np.ceil(threshold * chunk.size_N - MARGIN), threshold)
    most_N = _differing(chunk.size_N + np.floor(chunk.size_N / threshold + MARGIN), threshold)
    member_M = _mixed(chunk.number_M.astype(np.uint64))
    smaller = -1
    for differing in _ladder(int(most_N.max(initial=-1))):
        text_N = np.flatnonzero((least_N <= differing) & (most_N > smaller))
        smaller = differing
        if len(text_N):
            classes = differing + 1 + SPARE
            row_N = np.full(len(chunk.size_N), -1)
            row_N[text_N] = np.arange(len(text_N))
            taken_M = row_N[chunk.owner_M] >= 0
            of_class_M = (member_M[taken_M] >> np.uint64(32)) % np.uint64(classes)
            hash_NP = np.zeros((len(text_N), classes), np.uint64)
            # The sum of the members' hashes does not depend on their order.
            np.add.at(hash_NP, (row_N[chunk.owner_M[taken_M]], of_class_M.astype(np.int64)), member_M[taken_M])
            yield text_N, _mixed(hash_NP + _mixed(np.arange(classes, dtype=np.uint64) + np.uint64(differing << 32)))


def _differing(sizes: NDArray[Any], threshold: float) -> Longs:
    """Return how many members may be in one of two similar sets alone, by the sum of the sets' sizes."""
    return np.floor(sizes * (1 - threshold) / (1 + threshold) + MARGIN).astype(np.int64)


def _ladder(most: int) -> Iterator[int]:
    """Yield the numbers of differing members that classes are made for, up to the first that is `most` or more."""
    step = 0
    while step < most:
        yield step
        step = max(step + 1, int(step * STEP))
    if most >= 0:
        yield step


def _mixed(numbers: Hashes) -> Hashes:
    """Return numbers whose bits depend on all bits of the given ones (the finalizer of SplitMix64, Steele et al. 2014)."""
    mixed = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _trigrams(texts: Sequence[str]) -> Trigrams:
    written = [normalised(text) for text in texts]
    length = np.array([len(text) for text in written], np.int64)
    # Behind every text three places without a character.
    padded = "".join(text + "\0\0\0" for text in written).encode("utf-32-le", "surrogatepass")
    character = np.frombuffer(padded, np.uint32).astype(np.int64) + 1
    first = np.r_[0, np.cumsum(length + 3)[:-1]]
    ends = (first + length)[:, None] + np.arange(3)
    character[ends.ravel()] = 0
    windows = np.maximum(1, length - 2)
    owner = np.repeat(np.arange(len(written)), windows)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(windows) - windows, windows) + first[owner]
    number = character[place] << 2 * CHARACTER | character[place + 1] << CHARACTER | character[place + 2]
    order = np.lexsort((number, owner))
    owner, number = owner[order], number[order]
    new = np.r_[True, (owner[1:] != owner[:-1]) | (number[1:] != number[:-1])]
    return Trigrams(owner[new], number[new], np.bincount(owner[new]))
