"""Texts with a target to `Data`: from files, from a column of a table, from Python. No torch."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fitwell.data.assemble import assemble
from fitwell.data.files import Found
from fitwell.data.labelled import Labelled
from fitwell.data.names import TEXT_SUFFIXES
from fitwell.data.options import target_and_task
from fitwell.data.types import BadData, Data, Options, Problem, both, listed, many
from fitwell.data.words import LEAST_TEXTS, LONGEST, well_formed, words_of
from fitwell.spec import RESERVED, Column, Spec

_CONTROL = frozenset(range(32)) - set(b"\t\n\r\f\v\x1b")
_MOSTLY_CONTROL = 0.05  # more of a file than this: no text


def text_data(
    texts: Sequence[str],
    labelled: Labelled,
    options: Options,
    *,
    columns: tuple[Column, ...] = (),
    like: Spec | None = None,
) -> Data:
    """`Data` of texts; those without a word are left out and listed.

    Args:
        columns: the one of a table that they stand in.

    Raises:
        BadData: none of the texts has a word, or no word stands in two of them.
    """
    assert labelled.keys is not None
    texts, found = whole(texts, labelled.keys)
    tokens = [words_of(text) for text in texts]
    kept = np.array([bool(words) for words in tokens], bool)
    empty = [key for key, stays in zip(labelled.keys, kept, strict=True) if not stays]
    what = both("text", "without a word left out")
    found += listed("empty_text", "warning", what, "Fill them in, or remove them.", empty)
    if not kept.any():
        raise BadData([_nothing(labelled.name, len(texts)), *labelled.problems, *found])
    tokens = [words for words in tokens if words]
    length, vocabulary = (like.input_shape[0], like.vocabulary) if like else _sizes(tokens, options)
    labelled = labelled.only(kept, found)
    assert labelled.keys is not None
    more = _cut(labelled.keys, tokens, length)
    more += _unlike(labelled.name, vocabulary) if like is None else []
    return assemble(
        as_objects([text for text, stays in zip(texts, kept, strict=True) if stays]),
        replace(labelled, problems=[*labelled.problems, *more]),
        options,
        kind="text",
        columns=columns,
        shape=(length,),
        vocabulary=vocabulary,
        like=like,
    )


def as_objects(texts: Sequence[str]) -> np.ndarray:
    """[text] objects, as `Data.inputs` has them."""
    out = np.empty(len(texts), object)
    out[:] = texts
    return out


def whole(
    texts: Sequence[str], keys: Sequence[str] | np.ndarray
) -> tuple[list[str], list[Problem]]:
    """The texts without halves of characters, which no file can hold, and which had some."""
    formed = [well_formed(text) for text in texts]
    pairs = zip(keys, texts, formed, strict=True)
    halves = [str(key) for key, before, after in pairs if before != after]
    what = both("text", "with half of a character (a lone surrogate), which is read as U+FFFD")
    mend = "See where texts are cut or decoded, or ignore this."
    return formed, listed("half_characters", "note", what, mend, halves)


def _sizes(tokens: list[list[str]], options: Options) -> tuple[int, int]:
    """(words of a text that are read, numbers for words) as the settings and the texts have them.

    The words themselves are those of the training texts; how many there may be is known from all.
    """
    longest = max(len(words) for words in tokens)
    length = min(longest, options["length"] or LONGEST)
    texts_with = Counter(word for words in tokens for word in set(words[:length]))
    used = sum(1 for count in texts_with.values() if count >= LEAST_TEXTS)
    return length, RESERVED + min(options["vocabulary"], used)


def _cut(keys: Iterable[str], tokens: list[list[str]], length: int) -> list[Problem]:
    """Texts of which the end is not read."""
    long = [key for key, words in zip(keys, tokens, strict=True) if len(words) > length]
    what = both("text", f"of which only the first {length:,} words are read")
    return listed("text_cut", "note", what, "To read more of them, set data.length.", long)


def _unlike(name: str, vocabulary: int) -> list[Problem]:
    """Texts that have no word in common."""
    if vocabulary > RESERVED:
        return []
    text = f"No word stands in two texts of {name}, so none of them says anything about another."
    return [Problem("no_shared_words", "error", (name,), text, "Give more texts, or longer ones.")]


def _nothing(name: str, count: int) -> Problem:
    text = f"None of the {many(count, 'text')} of {name} has a word."
    return Problem("no_texts", "error", (name,), text, "Give texts that say something.")


def read_text_files(found: Found, options: Options, like: Spec | None = None) -> Data:
    """`Data` of files that hold a text each; those that hold none are left out and listed."""
    read, bad, other, guessed = [], [], [], []
    for item in found.items:
        if item.path.suffix.lower() not in TEXT_SUFFIXES and not options["kind"] == "text":
            other.append(item.key)
            continue
        text = read_text(item.path)
        if text is None:
            bad.append(item.key)
            continue
        if text[1]:
            guessed.append(item.key)
        read.append((item, text[0]))
    problems = [*found.problems, *_of_files(bad, other, guessed)]
    if not read:
        raise BadData([_nothing(found.name, len(found.items)), *problems])
    told = [item for item, text in read if words_of(text)]
    problems += found.lost(told, "text", target_and_task(options, like)[1])
    labelled = found.labelled([item for item, _ in read], problems)
    return text_data([text for _, text in read], labelled, options, like=like)


def read_text(path: Path) -> tuple[str, str] | None:
    """(the text of a file, its encoding where that had to be guessed); None where it is no text."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if raw.startswith(mark):
            return raw.decode(encoding, "replace"), ""
    if sum(byte in _CONTROL for byte in raw[:4096]) > _MOSTLY_CONTROL * min(len(raw), 4096):
        return None
    try:
        return raw.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace"), "cp1252"


def unreadable_texts(keys: Iterable[str]) -> list[Problem]:
    """The problem of files that hold no text."""
    what = both("file", "that cannot be read as text left out")
    mend = "Save them as text in UTF-8, or remove them."
    return listed("unreadable_files", "warning", what, mend, keys)


def _of_files(bad: list[str], other: list[str], guessed: list[str]) -> list[Problem]:
    return [
        *unreadable_texts(bad),
        *listed(
            "not_texts",
            "note",
            both("file", "left out, being no text"),
            "Move them elsewhere, or ignore this.",
            other,
        ),
        *listed(
            "not_utf8",
            "note",
            both("file", "not in UTF-8, read as Western (cp1252)"),
            "If letters come out wrong, save them as UTF-8.",
            guessed,
        ),
    ]
