"""Numbers far beyond all others of their column: written for what is missing, or wrong. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from fitwell.data.dates import YEAR, as_text
from fitwell.data.types import Problem, many, some

LOOKED_AT = 20_000  # values of a column that say where nearly all of them are
LEAST_ROWS = 100  # below, nothing says what is usual
FAR = 1000  # times the range of nearly all values: what is beyond is none of them
FAR_DATES = 100  # years
FAR_NINES = 3  # times that range: what is written in nines is none of them then
REPEATED = 3  # times the same far value: it was written for something
MOST_PLACES = 30  # rows that a problem names

Names: TypeAlias = Sequence[str] | np.ndarray  # of rows


class Far(NamedTuple):
    """Cells far from all others of a column.

    Args:
        rows: [row] whether it is one of them.
        said: the values, for a sentence.
        stands: they stand for what is missing.
    """

    rows: np.ndarray
    said: str
    stands: bool


def far_from_others(values: np.ndarray, keys: Names, *, dates: bool = False) -> Far | None:
    """The cells of a column of numbers, or of days, that are far from all others; None where none is."""
    known = values[np.isfinite(values)]
    if len(known) < LEAST_ROWS:
        return None
    low, middle, high = np.quantile(known[:: -(-len(known) // LOOKED_AT)], (0.01, 0.5, 0.99))
    usual = float(high - low)
    ends = [float(known.min()), float(known.max())]
    stand = [] if dates else [v for v in ends if _stands_for_missing(v, known)]
    if stand:
        said = ", ".join(f"{v:g}, {_times(int((known == v).sum()))}" for v in stand)
        return Far(np.isin(values, stand), said, True)
    reach = max(FAR_DATES * YEAR, 10 * usual) if dates else FAR * usual
    if usual <= 0 or max(middle - ends[0], ends[1] - middle) <= reach:
        return None
    rows = np.isfinite(values) & (np.abs(values - np.float64(middle)) > reach)
    shown = as_text if dates else "{:g}".format
    cells = (f"{shown(float(values[i]))} in {keys[i]}" for i in np.flatnonzero(rows).tolist())
    return Far(rows, some(cells), False)


def said_far(found: Mapping[str, Far], keys: Names) -> list[Problem]:
    """The problems that columns, by name, have such cells."""
    problems = []
    for name, stands, what, mend in (
        (
            "number_for_missing",
            True,
            "Numbers that seem to stand for what is missing",
            "Leave such cells empty; of a target, leave such rows out.",
        ),
        (
            "far_value",
            False,
            "Values far beyond all others of their column",
            "Correct them, or leave those cells empty (of a target, the rows out): they decide the "
            "column's scale.",
        ),
    ):
        if these := {column: far for column, far in found.items() if far.stands == stands}:
            said = some([f"{column} ({far.said})" for column, far in these.items()])
            rows = np.flatnonzero(np.any([far.rows for far in these.values()], axis=0))
            where = places(these, rows, keys)
            problems.append(Problem(name, "warning", where, f"{what}: {said}.", mend))
    return problems


def places(columns: Iterable[str], rows: np.ndarray, keys: Names) -> tuple[str, ...]:
    """Where a problem of cells is: the columns, then the first of the rows, by number."""
    return (*columns, *(str(keys[i]) for i in rows[:MOST_PLACES].tolist()))


def _times(count: int) -> str:
    """
    >>> _times(1), _times(1200)
    ('1 time', '1,200 times')
    """
    return many(count, "time")


def _stands_for_missing(value: float, values: np.ndarray) -> bool:
    """Whether it is far from all others, and written in nines or several times."""
    others = values[values != value]
    if not len(others):
        return False
    digits = f"{abs(value):.0f}"
    nines = value.is_integer() and len(digits) > 1 and {*digits} == {"9"}
    if not nines and len(values) - len(others) < REPEATED:
        return False
    low, high = np.quantile(others, (0.01, 0.99))
    nearest = np.abs(others - np.float64(value)).min()
    return bool(nearest > (FAR_NINES if nines else FAR) * (high - low) > 0)
