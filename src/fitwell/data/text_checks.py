"""What is wrong with texts: almost the same ones, and words that give the class away. No torch."""

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from fitwell.data.joined import join, joined, root
from fitwell.data.types import Data, Options, Problem, some
from fitwell.data.words import words_of

SHINGLE = 4  # words in a row that are compared
ALIKE = 0.8  # least share of equal shingles among those of both texts
HASHES, BANDS = 32, 8  # of a sketch: two texts alike to 0.8 agree in a band with 98 %
COMPARED = 16  # texts of a band that one is compared with
CROWDED = 1000  # groups with an equal band: further texts do not stand for one of their own
LEAST_TEXTS = 20  # of a class, before a word may be said to give it away
IN_CLASS, ELSEWHERE = 0.9, 0.02  # shares of the texts in which a telling word stands
LOOKED_AT = 20_000  # texts, drawn at random, that telling words are looked for in


def near_texts(texts: np.ndarray) -> list[np.ndarray]:
    """Groups of texts that say almost the same: [row] each, sorted, in order of their first row.

    Texts are compared by the rows of four words that they have in common (Jaccard), capitals and signs
    aside. Who is like one of a group belongs to it, and exact copies go with their text; a group of exact
    copies alone is none. Candidates are found by MinHash (Broder 1997), so one pair in fifty of those just
    alike enough is missed. Where more than 16 texts have a part of the sketch in common, a group is
    compared through one of them, and a text with the 16 whose sketches are most like its own, so that a
    template with thousands of texts takes no more time than they are; every text that is named was
    compared in full with one of its group.

    >>> first = "the cat sat on the mat and looked at the moon"
    >>> other = "quite another text about another thing"
    >>> near_texts(np.array([first, other, first.upper() + "!", other], object))
    [array([0, 2])]
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts.tolist()):
        rows_of[text].append(row)
    numbers: dict[str, int] = defaultdict(lambda: len(numbers))
    shingles = [_shingles(text, numbers) for text in rows_of]
    groups = joined(_near_pairs(shingles))
    copies = list(rows_of.values())
    found = [np.sort(np.concatenate([copies[i] for i in group])) for group in groups]
    return sorted(found, key=lambda rows: int(rows[0]))


def _near_pairs(shingles: list[np.ndarray]) -> list[tuple[int, int]]:
    """Pairs that are alike, of each group as many as join it."""
    sketches = _sketches(shingles)
    bands: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for i, own in enumerate(shingles):
        if len(own):
            for band, values in enumerate(sketches[i].reshape(BANDS, -1)):
                bands[band, values.tobytes()].append(i)
    parents: dict[int, int] = {}
    pairs: list[tuple[int, int]] = []
    differ: set[tuple[int, int]] = set()
    for members in (found for found in bands.values() if len(found) > 1):
        standing: list[int] = []  # for their groups; in a small band each for itself
        seen = np.empty((min(len(members), CROWDED), HASHES), sketches.dtype)
        for i in members:
            own = root(parents, i)
            others = _most_like(sketches[i], seen[: len(standing)], standing)
            for j in others:
                if root(parents, j) == own or (j, i) in differ:
                    continue
                if _jaccard(shingles[j], shingles[i]) >= ALIKE:
                    pairs.append((j, i))
                    join(parents, j, i)
                    own = root(parents, i)
                else:
                    differ.add((j, i))
            alone = all(root(parents, j) != own for j in others)
            if (alone or len(members) <= COMPARED) and len(standing) < CROWDED:
                seen[len(standing)] = sketches[i]
                standing.append(i)
    return pairs


def _most_like(sketch: np.ndarray, seen: np.ndarray, standing: list[int]) -> list[int]:
    """Those of the standing whose sketches agree with this one in most places, at most COMPARED."""
    if len(standing) <= COMPARED:
        return standing[:]
    agree = (seen == sketch).sum(1)
    return [standing[k] for k in np.argpartition(-agree, COMPARED)[:COMPARED].tolist()]


def _sketches(shingles: list[np.ndarray]) -> np.ndarray:
    """[text, HASHES] the least of each hash over the shingles of a text (MinHash)."""
    rng = np.random.default_rng(0)
    odd = rng.integers(2**62, size=(HASHES, 1), dtype=np.uint64) * 2 + 1
    added = rng.integers(2**62, size=(HASHES, 1), dtype=np.uint64)
    out = np.zeros((len(shingles), HASHES), np.uint64)
    for sketch, own in zip(out, shingles, strict=True):
        if len(own):
            sketch[:] = (own * odd + added).min(1)
    return out


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
    total = Counter[str]()
    for own in texts_with:
        total.update(own)
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
