"""What is wrong with texts: almost the same ones, and words that give the class away. No torch."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from fitwell.data.types import Data, Options, Problem, some
from fitwell.data.words import words_of

SHINGLE = 4  # words in a row that are compared
ALIKE = 0.8  # least share of equal shingles among those of both texts
HASHES, BANDS = (
    32,
    8,
)  # of a text's sketch: two texts that are alike to 0.8 agree in a band with 98 %
CROWDED = 1000  # texts with an equal band: such a band says nothing
LEAST_TEXTS = 20  # of a class, before a word may be said to give it away
IN_CLASS, ELSEWHERE = 0.9, 0.02  # shares of the texts in which a telling word stands
LOOKED_AT = 20_000  # texts, drawn at random, that telling words are looked for in


def near_texts(texts: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of texts that say almost the same, first row first; exact copies are not among them.

    Texts are compared by the rows of four words that they have in common (Jaccard), capitals and signs
    aside. Candidates are found by MinHash (Broder 1997), so one pair in fifty of those just alike enough
    is missed; every pair that is named was compared in full.

    >>> first = "the cat sat on the mat and looked at the moon"
    >>> near_texts(np.array([first, "quite another text about another thing", first.upper() + "!"], object))
    [(0, 2)]
    """
    numbers: dict[str, int] = defaultdict(lambda: len(numbers))
    shingles = [_shingles(text, numbers) for text in texts.tolist()]
    rng = np.random.default_rng(0)
    odd = rng.integers(2**62, size=(HASHES, 1), dtype=np.uint64) * 2 + 1
    added = rng.integers(2**62, size=(HASHES, 1), dtype=np.uint64)
    bands: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for row, own in enumerate(shingles):
        if len(own):
            sketch = (own * odd + added).min(1).reshape(BANDS, -1)
            for band, values in enumerate(sketch):
                bands[band, values.tobytes()].append(row)
    candidates = {
        pair
        for rows in bands.values()
        if 1 < len(rows) <= CROWDED
        for pair in combinations(rows, 2)
    }
    return sorted(
        (a, b)
        for a, b in candidates
        if texts[a] != texts[b] and _jaccard(shingles[a], shingles[b]) >= ALIKE
    )


def _shingles(text: str, numbers: dict[str, int]) -> np.ndarray:
    """[shingle] uint64, each once, of the rows of words in a text; of a shorter text all its words."""
    words = [numbers[word] for word in words_of(text) if word[0].isalnum()]
    ids = np.array(words, np.uint64) + np.uint64(1)
    size = min(SHINGLE, len(ids))
    if not size:
        return ids
    out = np.zeros(len(ids) - size + 1, np.uint64)
    for i in range(size):
        out = out * np.uint64(0x9E3779B97F4A7C15) + ids[i : i + len(out)]
        out ^= out >> np.uint64(29)
    return np.unique(out)


def _jaccard(one: np.ndarray, other: np.ndarray) -> float:
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)


def telling_words(data: Data, options: Options) -> Iterator[Problem]:
    """Words that nearly every text of a class has, and nearly no other: often the label itself."""
    if data.spec.kind != "text" or data.spec.task != "classification":
        return
    rows = np.random.default_rng(0).permutation(len(data))[:LOOKED_AT]
    labels = data.targets[rows]
    sizes = np.bincount(labels, minlength=len(data.spec.classes))
    texts_with = [Counter[str]() for _ in sizes]
    for text, label in zip(data.inputs[rows].tolist(), labels.tolist(), strict=True):
        texts_with[label].update(set(words_of(text)))
    total = sum(texts_with, Counter[str]())
    found = []
    for label, (own, size) in enumerate(zip(texts_with, sizes.tolist(), strict=True)):
        rest = len(rows) - size
        if size < LEAST_TEXTS or rest < LEAST_TEXTS:
            continue
        telling = [
            word
            for word, count in own.items()
            if count >= IN_CLASS * size and total[word] - count <= ELSEWHERE * rest
        ]
        found += [f"{word} ({data.spec.classes[label]})" for word in sorted(telling)]
    if found:
        yield Problem(
            "target_in_features",
            "warning",
            tuple(found),
            f"Words that nearly every text of a class has, and nearly no other: {some(found)}.",
            "See whether they stand in texts whose class is not known yet; take them out if they do not.",
        )
