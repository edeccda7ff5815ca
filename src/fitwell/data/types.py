"""What reading gives: `Data`, the `Problem`s in it, the error that carries them. No torch."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from fitwell.data.views import is_view, under
from fitwell.errors import DataError
from fitwell.spec import Spec

UNUSED = "unused"  # the part of examples that nothing is done with

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the data, or worth knowing, and what to do about it.

    Args:
        name: stable name, such as `duplicate_examples`.
        severity: "error" stops before any training, "warning" may cost accuracy, "note" informs.
        where: every file, row, column or class concerned; both of a duplicate. Never empty.
        message: what is wrong, with its numbers.
        mend: the next step.
    """

    name: str
    severity: Severity
    where: tuple[str, ...]
    message: str
    mend: str

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "severity": self.severity,
            "where": list(self.where),
            "message": self.message,
            "mend": self.mend,
        }

    def __str__(self) -> str:
        return f"{self.message} {self.mend}"


class BadData(DataError):
    """Data that cannot be trained on; `problems` holds everything that was found wrong with it."""

    def __init__(self, problems: Iterable[Problem], *, setting: str = "") -> None:
        self.problems = tuple(problems)
        errors = [p for p in self.problems if p.severity == "error"]
        more = ""
        if len(errors) > 1:
            rest = ", ".join(dict.fromkeys(p.name for p in errors[1:]))
            more = f" There is more wrong: {rest}; `fitwell check` lists everything."
        super().__init__(
            f"{errors[0]}{more}", setting=setting, where=", ".join(errors[0].where[:5])
        )


def refuse(
    name: str, message: str, mend: str, where: str | Iterable[str], *, setting: str = ""
) -> BadData:
    """The error to raise for data that cannot be read at all."""
    places = (where,) if isinstance(where, str) else tuple(where)
    return BadData([Problem(name, "error", places, message, mend)], setting=setting)


@dataclass(frozen=True, eq=False)
class Data:
    """A source in memory: one row an example, in the order of the source.

    Args:
        name: for the run folder's name.
        spec: what the data is.
        inputs: [example, channel, height, width] uint8 (or float32) for images, also with boxes;
            [example, column] float32 for tables, float64 where a column is `fine`; a category column
            holds its code, and nan is a missing value; [example] text, as objects;
            [example, 1, samples] int16 for recordings;
            [example, channel, time] float32 for series, where nan stands behind the end of a shorter one
            and for a missing value; of windows of one long series a view, no value missing.
        targets: [example] int64 class index, or float32 in the target's own unit, float64 where that
            would make different ones equal; [example, label]
            uint8, 1 where an example has a label; [example, target] likewise of several numbers;
            [example, most boxes, 5] float32 of boxes: class index and corners x1, y1, x2, y2 in pixels
            of the picture as it is in `inputs`, in rows of nan where there are fewer.
        keys: [example] stable names: relative path, or "row 17".
        part: [example] the source's own split: "train", "validation", "test" or "unused";
            "" is free.
        problems: everything found; none is an error.
        fingerprint: sha256 of inputs and targets, hexadecimal.
        groups: [example] group number; examples of one group stay on one side of every split.
        times: [example] when each was; what is held out is later than what is trained on.
        aside: columns that are no inputs and in which groups may be found: name -> [example] float64
            numbers, or float32 codes of text; nan where missing.
    """

    name: str
    spec: Spec
    inputs: np.ndarray
    targets: np.ndarray
    keys: np.ndarray
    part: np.ndarray
    problems: tuple[Problem, ...]
    fingerprint: str
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    aside: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.targets)

    def each_target(self) -> list[tuple[str, np.ndarray]]:
        """(name, [example] values) of the target, or of each of several."""
        if self.targets.ndim == 1:
            return [(self.spec.target, self.targets)]
        return [(name, self.targets[:, i]) for i, name in enumerate(self.spec.several)]

    def test_fingerprint(self, rows: np.ndarray) -> str:
        """The ledger's key: sha256 over inputs and targets of the test rows, hexadecimal."""
        if self.spec.horizon and len(rows):  # whatever is read of the past: what is forecast
            return fingerprint(self.targets[rows[:: self.spec.horizon]], self.targets[rows[-1:]])
        return fingerprint(self.inputs[rows], self.targets[rows])

    def with_problems(self, problems: Iterable[Problem]) -> "Data":
        return replace(self, problems=tuple(problems))


def fingerprint(inputs: np.ndarray, targets: np.ndarray) -> str:
    """sha256 over type, shape and bytes of both arrays, hexadecimal."""
    digest = hashlib.sha256()
    for array in (inputs, targets):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        if array.dtype == object:  # texts: how long each is parts them
            for text in array.tolist():
                letters = text.encode()
                digest.update(f"{len(letters)} ".encode() + letters)
            continue
        if is_view(array):
            digest.update(f"{array.strides}".encode())
            array = under(array)
        digest.update(np.ascontiguousarray(array).data if array.size else b"")
    return digest.hexdigest()


def many(count: int, noun: str, several: str = "") -> str:
    """A count with its noun, for a sentence.

    >>> many(1, "file"), many(1200, "file"), many(2, "box", "boxes")
    ('1 file', '1,200 files', '2 boxes')
    """
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"


def brief(text: str, most: int = 40) -> str:
    """The beginning of a cell, in one line, for a sentence.

    >>> brief("one" + chr(10) + "two"), brief("abcdefgh", 5)
    ('one two', 'abcd…')
    """
    line = " ".join(text[: 2 * most].split())
    return line if len(line) <= most else line[: most - 1] + "…"


def some(names: Iterable[str], limit: int = 3) -> str:
    """The first few names, for a sentence.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    names = list(names)
    if len(names) <= limit:
        return (
            " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
        )
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


def both(noun: str, rest: str) -> tuple[str, str]:
    """What is wrong with one, and with several, for `listed`.

    >>> both("file", "left out")
    ('file left out', 'files left out')
    """
    return f"{noun} {rest}", f"{noun}s {rest}"


def listed(
    name: str,
    severity: Severity,
    what: tuple[str, str],
    mend: str,
    found: Mapping[str, str] | Iterable[str],
    also: Iterable[str] = (),
    shown: int = 3,
) -> list[Problem]:
    """One problem for all places, or none where there is no place.

    Args:
        what: one, and several of them, with what becomes of them: "box left out", "boxes left out".
        found: where, perhaps with why.
        also: other places concerned, that are not counted: the others of pairs.
        shown: so many of them stand in the sentence; `where` names all.

    >>> listed("odd", "note", ("odd box", "odd boxes"), "Look.", {"a": "is 1", "b": ""})[0].message
    '2 odd boxes: a (is 1) and b.'
    """
    reasons = dict(found) if isinstance(found, Mapping) else dict.fromkeys(found, "")
    if not reasons:
        return []
    said = some((f"{where} ({why})" if why else where for where, why in reasons.items()), shown)
    text = f"{len(reasons):,} {what[len(reasons) != 1]}: {said}."
    where = tuple(dict.fromkeys([*reasons, *also]))
    return [Problem(name, severity, where, text, mend)]


Options = Mapping[str, Any]
