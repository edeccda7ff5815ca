"""Texts as rows of numbers, one a word: the vocabulary is of the training texts alone. No torch."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fitwell.spec import RESERVED, UNKNOWN

# A word with its apostrophes (don't), or one sign: numbers and letters of every script count.
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
LEAST_TEXTS = 2  # a word of one text alone says nothing about another
LONGEST = 4096  # words of a text that are read unless data.length says otherwise


def words_of(text: str) -> list[str]:
    """The words and signs of a text, in lower case.

    >>> words_of("Don't panic, it's 42!")
    ["don't", 'panic', ',', "it's", '42', '!']
    """
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Words:
    """A vocabulary, and how many words of a text are read. Plain: it goes to JSON and back unchanged.

    Args:
        vocabulary: the known words, the most frequent first; the number of the first is 2.
        length: so many words of a text are read, from its start.
    """

    vocabulary: tuple[str, ...]
    length: int

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: RESERVED + i for i, word in enumerate(self.vocabulary)}

    def ids(self, texts: np.ndarray) -> np.ndarray:
        """[text, word] int32: the number of each word, 1 for an unknown one, 0 behind the end.

        >>> Words(("the", "cat"), 4).ids(np.array(["The cat sat", ""], object)).tolist()
        [[2, 3, 1, 0], [0, 0, 0, 0]]
        """
        known = self._numbers
        out = np.zeros((len(texts), self.length), np.int32)
        for row, text in zip(out, texts.tolist(), strict=True):
            found = [known.get(word, UNKNOWN) for word in words_of(text)[: self.length]]
            row[: len(found)] = found
        return out


def fit_words(texts: Iterable[str], *, most: int, length: int) -> Words:
    """The vocabulary of training texts: the words of two or more of them, the most frequent first.

    Args:
        most: so many words at most.
        length: see `Words`.
    """
    counts = Counter[str]()
    for text in texts:
        counts.update(set(words_of(text)[:length]))
    used = sorted((-n, word) for word, n in counts.items() if n >= LEAST_TEXTS)
    return Words(tuple(word for _, word in used[:most]), length)
