"""Texts as rows of numbers, one a word: the vocabulary is of the training texts alone. No torch."""

import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate

import numpy as np

from fitwell.spec import NO_WORD, RESERVED, UNKNOWN

# A word with its apostrophes (don't), or one sign: numbers and letters of every script count.
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
# Written without blanks between words: Thai, Lao, Myanmar, Khmer, Hiragana, Katakana, Han.
_UNSPACED_NEAR = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u309f\u30a1-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
)
_UNSPACED = _UNSPACED_NEAR + "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
_FAR = "\U00010000"
_MARKS_END = 0x1F000  # combining marks lie below, and among the tags
_TAGS = range(0xE0100, 0xE01F0)
LEAST_TEXTS = 2  # a word of one text alone says nothing about another
LONGEST = 4096  # words of a text that are read unless data.length says otherwise


def words_of(text: str) -> list[str]:
    """The words and signs of a text, in lower case and in Unicode's composed form (NFC).

    Combining marks belong to their letter, so that words of Hindi or Arabic stay whole. In scripts that
    put no blanks between words (Chinese, Japanese, Thai, Lao, Myanmar, Khmer) each character with its
    marks is a word: where words end there, only a dictionary could say.

    >>> words_of("Don't panic, it's 42!")
    ["don't", 'panic', ',', "it's", '42', '!']
    >>> words_of("हिन्दी, 日本 2024年")
    ['हिन्दी', ',', '日', '本', '2024', '年']
    """
    if text.isascii():
        return _WORD.findall(text.lower())
    text = unicodedata.normalize("NFC", text.lower())
    special, any_word = _of_all_scripts()
    return (any_word if special.search(text) else _WORD).findall(text)


def well_formed(text: str) -> str:
    """The text in which each half of a character (a surrogate) that stands alone is U+FFFD.

    Only Python can make such texts, and no file or page can hold them.

    >>> well_formed("good \\ud83d!"), well_formed("good \\ud83d\\ude00")
    ('good \ufffd!', 'good \U0001f600')
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


@cache
def _of_all_scripts() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """(what `_WORD` may tear or glue, the pattern that does not, which is slower).

    Made when first needed, since marks are looked up.
    """
    every = (chr(i) for i in (*range(_MARKS_END), *_TAGS))
    marks = [c for c in every if unicodedata.category(c)[0] == "M"]
    # Up to U+FFFF a set of characters is one look into a table, beyond a comparison for each of them, which
    # only characters beyond should pay for.
    near, far = "".join(c for c in marks if c < _FAR), "".join(c for c in marks if c >= _FAR)
    beyond = f"{_FAR}-\U0010ffff"
    joiners = "\u200c\u200d"  # of width 0, within words of Persian and Hindi
    letter, mark = rf"[^\W{_UNSPACED}]", f"(?:[{near}]|(?=[{beyond}])[{far}])"
    word = rf"{letter}+(?:{mark}+{letter}*|[{joiners}]{letter}+)*"
    any_word = rf"{word}(?:['’]{word})*|[{_UNSPACED}]{mark}*|[^\w\s]{mark}*"
    special = f"[{near}{joiners}{_UNSPACED_NEAR}{beyond}]"
    return re.compile(special), re.compile(any_word)


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
        flat, ends = self.flat(texts)
        lengths = np.diff(ends)
        out = np.full((len(texts), self.length), NO_WORD, np.int32)
        out[np.arange(self.length) < lengths[:, None]] = flat
        return out

    def flat(self, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same numbers without those behind the ends, so that one long text costs its own words alone.

        Returns:
            [word] int32 of all texts, one after another, and [text + 1] int64: text i is
            `flat[ends[i] : ends[i + 1]]`.

        >>> flat, ends = Words(("the", "cat"), 4).flat(np.array(["The cat sat", "", "cat"], object))
        >>> flat.tolist(), ends.tolist()
        ([2, 3, 1, 3], [0, 3, 3, 4])
        """
        known, found, lengths = self._numbers, array("i"), [0]
        for text in texts.tolist():
            words = words_of(text)[: self.length]
            found.extend([known.get(word, UNKNOWN) for word in words])
            lengths.append(len(words))
        return np.array(found, np.int32), np.fromiter(accumulate(lengths), np.int64, len(lengths))


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
