"""One text as numbers: by character, by word, or by byte-pair encoding. No torch.

Nothing of the text is lost: the tokens of a piece, put together, are the piece again.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from fitwell.errors import SettingError
from fitwell.spec import NO_WORD, RESERVED, UNKNOWN

How: TypeAlias = Literal["character", "word", "bpe"]

# A word with the blank before it, a sign with the blank before it, or one more blank.
_WORD = re.compile(r" ?\w+(?:['’]\w+)*| ?[^\w\s]|\s")
LEAST_TIMES = 2  # that a word must stand in the training part: others teach what an unknown word is
BYTES = 256  # the symbols that byte pairs are made of
UNIT = {"character": "character", "word": "word", "bpe": "token"}  # what a person calls one


@dataclass(frozen=True)
class Tokens:
    """How a text becomes numbers. Plain: it goes to JSON and back unchanged.

    Args:
        how: what a token is.
        vocabulary: the known characters or words; the number of the first is 2.
        pairs: the byte-pair encoding, as the `tokenizers` library writes it.
    """

    how: How
    vocabulary: tuple[str, ...] = ()
    pairs: str = ""

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: RESERVED + i for i, token in enumerate(self.vocabulary)}

    @cached_property
    def _encoding(self) -> Any:
        return _library().Tokenizer.from_str(self.pairs)

    @property
    def size(self) -> int:
        """Numbers that stand for something; a model may have more outputs, of tokens that the training
        part does not have."""
        learnt = self._encoding.get_vocab_size() if self.how == "bpe" else len(self.vocabulary)
        return RESERVED + learnt

    def ids(self, text: str) -> np.ndarray:
        """[token] int32: the number of each token, 1 for an unknown one.

        >>> Tokens("character", ("a", "b")).ids("abc").tolist()
        [2, 3, 1]
        """
        if self.how == "bpe":
            return np.array(self._encoding.encode(text).ids, np.int32) + RESERVED
        known = self._numbers
        return np.array([known.get(token, UNKNOWN) for token in parts_of(text, self.how)], np.int32)

    def shown(self, texts: Sequence[str]) -> np.ndarray:
        """[text, token] int32: each as a model is shown it that is asked for its tokens, behind nothing and
        without the last; as far as the longest of them goes.

        >>> Tokens("character", ("a", "b")).shown(["ab", "a"]).tolist()
        [[0, 2], [0, 0]]
        """
        found = [self.ids(text) for text in texts]
        out = np.full((len(found), max(map(len, found))), NO_WORD, np.int32)
        for row, ids in zip(out, found, strict=True):
            row[1 : len(ids)] = ids[:-1]
        return out

    def text(self, ids: Sequence[int]) -> str:
        """The text of numbers; U+FFFD for an unknown token, nothing for none.

        >>> Tokens("word", ("The", " cat")).text([2, 3, 1, 0])
        'The cat\ufffd'
        """
        if self.how == "bpe":
            return self._encoding.decode([i - RESERVED for i in ids if i >= RESERVED])
        said = ("", "\ufffd", *self.vocabulary)  # of none, and of an unknown one
        return "".join(said[i] for i in ids)


def parts_of(text: str, how: How) -> Sequence[str]:
    """The tokens of a text, where no encoding has to be learnt for them.

    >>> parts_of("Don't panic!", "word")
    ["Don't", ' panic', '!']
    """
    return text if how == "character" else _WORD.findall(text)


def fit_tokens(texts: Iterable[str], *, how: How, most: int) -> Tokens:
    """The vocabulary of training texts.

    Args:
        most: so many tokens at most, the most frequent; of byte pairs with the 256 bytes among them.

    Source: Sennrich, Haddow and Birch 2016, ACL (byte-pair encoding of words)
    """
    if how == "bpe":
        return Tokens(how, pairs=_learn_pairs(texts, max(most, BYTES)))
    counts = Counter[str]()
    for text in texts:
        counts.update(parts_of(text, how))
    least = LEAST_TIMES if how == "word" else 1
    kept = sorted((-n, token) for token, n in counts.items() if n >= least)[:most]
    return Tokens(how, tuple(token for _, token in kept))


def numbers_for(text: str, *, how: How, most: int) -> int:
    """How many numbers the tokens of a text may need, whatever part of it is trained on."""
    if how == "bpe":
        return RESERVED + max(most, BYTES)
    counts = Counter(parts_of(text, how))
    least = LEAST_TIMES if how == "word" else 1
    return RESERVED + min(most, sum(n >= least for n in counts.values()))


def pieces_of(text: str, *, how: How, context: int) -> list[str]:
    """The text, cut into pieces of `context` tokens one after another; the last may be shorter.

    How many byte pairs there will be is known once they are learnt from a part of the text: such pieces
    are of at most so many bytes, since no encoding has more tokens than bytes, and end between words
    where they can.

    >>> pieces_of("abcdefg", how="character", context=3)
    ['abc', 'def', 'g']
    >>> pieces_of("to be or not", how="bpe", context=6)
    ['to be', ' or', ' not']
    """
    if how == "character":
        return [text[i : i + context] for i in range(0, len(text), context)]
    words = _WORD.findall(text)
    if how == "word":
        return ["".join(words[i : i + context]) for i in range(0, len(words), context)]
    pieces, size = [""], 0
    for part in _short(words, context):
        length = len(part.encode())
        if size + length > context:
            pieces.append("")
            size = 0
        pieces[-1] += part
        size += length
    return pieces


def _short(words: Iterable[str], most: int) -> Iterator[str]:
    """The words, those of more than `most` bytes character by character."""
    for word in words:
        yield from (word,) if len(word.encode()) <= most else word


def check_library(how: str) -> None:
    """Refuse byte pairs where what learns them is not installed.

    Raises:
        SettingError: it is not.
    """
    if how == "bpe":
        _library()


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise SettingError(
            "data.tokens = bpe: needs the tokenizers library. Install fitwell[text], or set "
            "data.tokens=word.",
            setting="data.tokens",
        ) from None
    return tokenizers


def _learn_pairs(texts: Iterable[str], most: int) -> str:
    """The byte-pair encoding of texts, as JSON."""
    library = _library()
    encoding = library.Tokenizer(library.models.BPE())
    encoding.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    encoding.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=most,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    encoding.train_from_iterator(texts, trainer)
    return encoding.to_str()
