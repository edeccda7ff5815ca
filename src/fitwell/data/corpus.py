"""One file of text, to model its language: read, checked, and cut into chunks. No torch."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.assemble import slug
from fitwell.data.csv_file import SEPARATORS
from fitwell.data.csv_text import western
from fitwell.data.names import TEXT_SUFFIXES
from fitwell.data.texts import as_objects, read_text
from fitwell.data.tokens import (
    UNIT,
    How,
    check_library,
    fit_tokens,
    numbers_for,
    parts_of,
    pieces_of,
)
from fitwell.data.types import Data, Problem, both, fingerprint, listed, many, refuse, some
from fitwell.errors import SettingError
from fitwell.spec import Spec

VALIDATION = 0.1  # the last part of the text, by which a model of it is judged
FEWEST = 4  # chunks: training, validation and test each need one
SHORT = 10_000  # characters: fewer teach little
LOOKED_AT = 1 << 16  # bytes, by which lines of cells are told from prose
CELLS = 0.9  # share of the lines that part into equally many cells: a table
LONG_LINE = 40  # characters: a line that stands twice by chance is shorter
COPIED = 0.01  # share of the last part that stands before, line by line: more is said
UNKNOWN_WORDS = 0.01  # share of the words of the last part: more is said
RARE = 10  # occurrences of a character: with fewer, little is learnt of it
_MEANINGLESS = {
    **dict.fromkeys(
        ("target", "text", "group", "time"), "It has no columns to name; leave it out."
    ),
    "task": "Leave it out, or put texts with a class each into a folder a class.",
    "length": "Leave it out; data.context says how much of it a model sees at once.",
}


def is_corpus(path: Path, options: dict[str, Any]) -> bool:
    """Whether a file of text is one text, and no table: by its lines, unless settings name a column.

    Those of a table part into equally many cells, by a mark, or by blanks where most cells are numbers.
    """
    if path.suffix.lower() not in TEXT_SUFFIXES or options["kind"] not in ("auto", "text"):
        return False
    if options["target"] or options["text"]:
        return False
    with path.open("rb") as file:
        head = file.read(LOOKED_AT)
    lines = [line for line in head.decode("utf-8", "replace").splitlines() if line.strip()]
    if len(head) == LOOKED_AT:
        del lines[-1:]  # it may be cut
    table = len(lines) > 1 and any(_parts_all(lines, mark) for mark in (*SEPARATORS, None))
    return not table


def _parts_all(lines: list[str], mark: str | None) -> bool:
    """Whether nearly all lines have equally many cells; by blanks (None) most cells are numbers, too."""
    cells = [line.split(mark) for line in lines]
    count, same = Counter(map(len, cells)).most_common(1)[0]
    if same < CELLS * len(lines):
        return False
    if mark is not None:
        return count > 1
    alike = [cell for line in cells[1:] if len(line) == count for cell in line]
    return sum(map(_is_number, alike)) >= len(alike) / 2


def _is_number(cell: str) -> bool:
    """
    >>> _is_number("1,5"), _is_number("-3e4"), _is_number("one")
    (True, True, False)
    """
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def read_corpus(path: Path, options: dict[str, Any], like: Spec | None = None) -> Data:
    """`Data` of the text in chunks of `data.context` tokens, one after another: [chunk], as objects.

    What is to be told of a chunk is in the chunk, so the targets are [chunk, 1] how many characters each
    has, by which a score a character is averaged.

    Args:
        like: the spec of a model that exists: the text is cut as its training text was.

    Raises:
        BadData: no text.
        SettingError: a setting that says nothing about one text, or a library that is not installed.
    """
    for name, mend in _MEANINGLESS.items():
        if options[name] not in ("", 0, "auto"):
            raise SettingError(
                f"data.{name} = {options[name]}: {path.name} is read as one text. {mend}",
                setting=f"data.{name}",
            )
    text, guessed = _text_of(path)
    how: How = like.tokens if like else options["tokens"]  # type: ignore[assignment]
    context: int = like.input_shape[0] if like else options["context"]
    check_library(how)
    pieces = pieces_of(text, how=how, context=context)
    problems = [_said(path.name, text, options), *_wrong(path.name, text), *guessed]
    if len(pieces) < FEWEST and like is None:
        problems.append(_too_short(path.name, len(pieces), how, context))
    most = options["vocabulary"]
    vocabulary = like.vocabulary if like else numbers_for(text, how=how, most=most)
    if how == "word" and like is None:
        problems += _unknown_words(text, most)
    sizes = np.array([len(piece) for piece in pieces])
    starts = np.cumsum(sizes) - sizes
    inputs, targets = as_objects(pieces), sizes.astype(np.int64)[:, None]
    return Data(
        name=slug(path.stem),
        spec=Spec(
            "text",
            "language",
            (context,),
            target=f"next {UNIT[how]}",
            num_examples=len(pieces),
            vocabulary=vocabulary,
            tokens=how,
        ),
        inputs=inputs,
        targets=targets,
        keys=np.array([f"character {i + 1}" for i in starts]),
        part=np.full(len(pieces), "", "<U10"),
        problems=tuple(problems),
        fingerprint=fingerprint(inputs, targets),
    )


def _text_of(path: Path) -> tuple[str, list[Problem]]:
    """The text of a file, with one kind of line ends, and whether its encoding had to be guessed."""
    read = read_text(path)
    if read is None:
        raise refuse(
            "no_texts", f"{path.name} cannot be read as text.", "Save it in UTF-8.", path.name
        )
    text, guessed = read
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise refuse(
            "no_texts",
            f"{path.name} holds no text.",
            "Write some into it: a text to model, or a table.",
            path.name,
        )
    return text, [western(path.name)] if guessed else []


def _too_short(name: str, chunks: int, how: How, context: int) -> Problem:
    """A text of which no part could be held out."""
    unit = {"bpe": "byte"}.get(how, UNIT[how])
    said = (
        f"{name} has {many(chunks, 'chunk')} of data.context = {many(context, unit)}, and "
        f"{FEWEST} are the fewest of which some can be held out."
    )
    mend = "Give a longer text, or set a smaller data.context."
    return Problem("text_too_short", "error", (name,), said, mend)


def _said(name: str, text: str, options: dict[str, Any]) -> Problem:
    lines = text.count("\n") + (not text.endswith("\n"))
    said = (
        f"{name} is one text: {many(len(text), 'character')}, {len(set(text)):,} different ones, in "
        f"{many(lines, 'line')}. A model learns to tell each next {UNIT[options['tokens']]} from those "
        "before."
    )
    return Problem("one_text", "note", (name,), said, "Nothing to do.")


def _wrong(name: str, text: str) -> list[Problem]:
    """What makes a text worse to learn from."""
    problems = []
    if len(set(text)) == 1:
        said = f"{name} is one character, {text[0]!a}, over and over; nothing to predict."
        mend = "Give a text that says something."
        problems.append(Problem("one_character", "error", (name,), said, mend))
    if len(text) < SHORT:
        said = (
            f"{name} has only {many(len(text), 'character')}; a model of language needs many more."
        )
        mend = "Give a longer text: a million characters are a small one."
        problems.append(Problem("short_text", "warning", (name,), said, mend))
    border = len(text) - int(VALIDATION * len(text))
    counts, before = Counter(text), set(text[:border])
    odd = {c: many(counts[c], "time") for c in counts if _is_odd(c)}
    ends = [i for i, c in enumerate(text) if c == "\n"]

    def lines(found: Iterable[str]) -> dict[str, str]:
        """Where each first stands."""
        return {c: f"line {bisect_left(ends, text.index(c)) + 1}" for c in found if c not in odd}

    new = lines(c for c in counts if c not in before)
    rare = lines(c for c in counts if c in before and counts[c] < RARE)
    behind = f"only in the last {VALIDATION:.0%}, of which nothing can be learnt"
    for problem, severity, what, mend, found in (
        (
            "odd_characters",
            "warning",
            "that nobody writes",
            "See how the file was made; replace them, or save it in UTF-8.",
            odd,
        ),
        (
            "unseen_characters",
            "warning",
            behind,
            "Put the parts of the text into another order, or take out what is of another kind.",
            new,
        ),
        (
            "rare_characters",
            "note",
            f"fewer than {RARE} times",
            "Take them out where they are mistakes.",
            rare,
        ),
    ):
        said = {ascii(c): found[c] for c in sorted(found)}
        problems += listed(problem, severity, both("character", what), mend, said)  # type: ignore
    return problems + _copied(text, border)


def _unknown_words(text: str, most: int) -> list[Problem]:
    """Words of the last part of which a model can say no more than that they are unknown."""
    border = len(text) - int(VALIDATION * len(text))
    known = set(fit_tokens([text[:border]], how="word", most=most).vocabulary)
    words = parts_of(text[border:], "word")
    unknown = [word for word in words if word not in known]
    if len(unknown) <= UNKNOWN_WORDS * len(words):
        return []
    share = sum(map(len, unknown)) / (len(text) - border)
    said = (
        f"{len(unknown) / len(words):.0%} of the words of the last {VALIDATION:.0%}, {share:.0%} of its "
        "characters, are unknown: they stand fewer than twice before it, or data.vocabulary has no place "
        "for them. A model predicts that an unknown word comes and not which, so its nats a character are "
        "lower than those of one that spells."
    )
    where = tuple(sorted({word.strip() for word in unknown}))
    mend = "Compare it with models of words alone; or set data.tokens=bpe or character."
    return [Problem("unknown_words", "warning", where, said, mend)]


def _is_odd(character: str) -> bool:
    """Whether it is a sign of a broken file: a control character, or one that stands for what was lost."""
    return character == "\ufffd" or (character < " " and character not in "\n\t\f")


def _copied(text: str, border: int) -> list[Problem]:
    """Long lines of the last part that stand before it, too: whoever learnt them by heart looks good."""
    first = {line for line in text[:border].split("\n") if len(line) >= LONG_LINE}
    start = text.count("\n", 0, border) + 1
    last = text[border:].split("\n")
    again = {start + i: line for i, line in enumerate(last) if line in first}
    share = sum(map(len, again.values())) / (len(text) - border or 1)
    if share <= COPIED:
        return []
    where = tuple(f"line {i}" for i in again)
    said = (
        f"{share:.0%} of the last {VALIDATION:.0%} stand word for word before it, too, in "
        f"{many(len(again), 'line')} ({some(where)}): a model that knows them by heart looks better than "
        "it is."
    )
    mend = "Take out what stands twice: licences, headers, copies of whole parts."
    return [Problem("duplicate_across_split", "warning", where, said, mend)]
