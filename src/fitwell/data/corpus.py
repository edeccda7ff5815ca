"""One file of text, to model its language: read and checked; nothing is trained on it yet. No torch."""

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
from fitwell.data.types import Data, Problem, both, fingerprint, listed, many, refuse, some
from fitwell.errors import SettingError
from fitwell.spec import Spec

NOT_YET = "cannot_model_language"
VALIDATION = 0.1  # the last part of the text, by which a model of it is judged
SHORT = 10_000  # characters: fewer teach little
LOOKED_AT = 1 << 16  # bytes, by which lines of cells are told from prose
CELLS = 0.9  # share of the lines that part into equally many cells: a table
LONG_LINE = 40  # characters: a line that stands twice by chance is shorter
COPIED = 0.01  # share of the last part that stands before, line by line: more is said
RARE = 10  # occurrences of a character: with fewer, little is learnt of it
_MEANINGLESS = {
    **dict.fromkeys(
        ("target", "text", "group", "time"), "It has no columns to name; leave it out."
    ),
    "task": "Leave it out, or put texts with a class each into a folder a class.",
    "limit": "Leave it out, or cut the text off in the file.",
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
    return bool(lines) and not table


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


def read_corpus(path: Path, options: dict[str, Any]) -> Data:
    """`Data` of the text as the one example [1], as objects.

    Raises:
        BadData: no text.
        SettingError: a setting that says nothing about one text.
    """
    for name, mend in _MEANINGLESS.items():
        if options[name] not in ("", 0, "auto"):
            raise SettingError(
                f"data.{name} = {options[name]}: {path.name} is read as one text. {mend}",
                setting=f"data.{name}",
            )
    read = read_text(path)
    if read is None:
        raise refuse(
            "no_texts", f"{path.name} cannot be read as text.", "Save it in UTF-8.", path.name
        )
    text, guessed = read
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise refuse(
            "no_texts", f"{path.name} holds no text.", "Give one that says something.", path.name
        )
    problems = [_said(path.name, text), *_wrong(path.name, text)]
    if guessed:
        problems.append(western(path.name))
    problems.append(
        Problem(
            NOT_YET,
            "note",
            (path.name,),
            f"{path.name} is one text, and fitwell cannot model language yet: it is read and checked.",
            "To learn classes instead, put texts into a folder a class, or into a table with "
            "data.target; a file that is a table is read as such with data.kind=table.",
        )
    )
    inputs = as_objects([text])
    nothing = np.zeros(1, np.float32)  # what is to be told is in the text
    return Data(
        name=slug(path.stem),
        spec=Spec("text", "language", (len(text),), target="next character", num_examples=1),
        inputs=inputs,
        targets=nothing,
        keys=np.array([path.name]),
        part=np.array([""], "<U10"),
        problems=tuple(problems),
        fingerprint=fingerprint(inputs, nothing),
    )


def _said(name: str, text: str) -> Problem:
    lines = text.count("\n") + (not text.endswith("\n"))
    said = (
        f"{name} is one text: {many(len(text), 'character')}, {len(set(text)):,} different ones, in "
        f"{many(lines, 'line')}. The last {VALIDATION:.0%} of it are for validation."
    )
    return Problem("one_text", "note", (name,), said, "Nothing to do.")


def _wrong(name: str, text: str) -> list[Problem]:
    """What makes a text worse to learn from."""
    problems = []
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
