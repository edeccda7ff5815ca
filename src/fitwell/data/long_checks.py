"""What is wrong with one long series: order, times, gaps, values. No torch."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fitwell.data.dates import as_text
from fitwell.data.far import far_from_others, places, said_far
from fitwell.data.frames import Table
from fitwell.data.spacing import Spacing
from fitwell.data.types import Problem, many, refuse, some

STACKED = 1.5  # rows a time, on average: several series in one table


def when(time: float, dates: bool) -> str:
    """A time for a sentence.

    >>> when(0.5, True), when(0.5, False)
    ('2000-01-01 12:00', '0.5')
    """
    return as_text(time) if dates else f"{time:g}"


def dropped(table: Table, column: str, known: np.ndarray) -> list[Problem]:
    """Rows that say no time."""
    if known.all():
        return []
    rows = tuple(key for key, there in zip(table.keys, known.tolist(), strict=True) if not there)
    cells = table.frame[column].to_list()
    odd = sorted(
        {str(c) for c, there in zip(cells, known.tolist(), strict=True) if not there and c}
    )
    said = f" (it says {some(odd)})" if odd else ""
    text = f"{column}: {many(len(rows), 'row')} without a time{said} left out: {some(rows)}."
    return [
        Problem("missing_time", "warning", rows, text, "Fill in the times, or remove the rows.")
    ]


def order_of(
    times: np.ndarray, keys: Sequence[str], column: str
) -> tuple[np.ndarray, list[Problem]]:
    """(rows in the order of time, what was wrong with theirs)."""
    back = np.diff(times) < 0
    if not back.any():
        return np.arange(len(times)), []
    if (np.diff(times) <= 0).all():
        text = f"The rows stand from the latest {column} to the earliest; they are turned round."
        note = Problem("newest_first", "note", (column,), text, "Nothing to do.")
        return np.argsort(times, kind="stable"), [note]
    rows = tuple(keys[i + 1] for i in np.flatnonzero(back).tolist())
    text = (
        f"{many(len(rows), 'row')} of {len(times):,} say a {column} before that of the row above: "
        f"{some(rows)}; the rows are sorted by it."
    )
    mend = "See whether two files were joined, or the day and month were mistaken (data.dates)."
    return np.argsort(times, kind="stable"), [
        Problem("unsorted_times", "warning", rows, text, mend)
    ]


def duplicate_times(
    table: Table,
    times: np.ndarray,
    rows: np.ndarray,
    columns: Sequence[np.ndarray],
    column: str,
    dates: bool,
) -> tuple[np.ndarray, list[Problem]]:
    """(the first of the rows of each time, what was wrong).

    Raises:
        BadData: most times are there several times: several series in one table.
    """
    if not len(times):
        raise refuse(
            "no_times",
            f"{column} of {table.where} holds no time.",
            "Name a column that says when each row was with data.time.",
            column,
            setting="data.time",
        )
    unique, first, counts = np.unique(times, return_index=True, return_counts=True)
    if len(unique) == len(times):
        return first, []
    if len(times) >= STACKED * len(unique):
        raise refuse(
            "several_series",
            f"{table.where}: each time in {column} stands in {len(times) / len(unique):.3g} rows on "
            "average, so the table seems to hold several series, one below the other.",
            "Give each series a file of its own, or a column of its own.",
            column,
        )
    order = np.argsort(times, kind="stable")
    starts = np.cumsum(counts) - counts
    equal = np.ones(len(unique), bool)
    for values in columns:
        own = values[rows[order]]
        leader = np.repeat(own[starts], counts)
        equal &= np.logical_and.reduceat(
            (own == leader) | (np.isnan(own) & np.isnan(leader)), starts
        )
    together = np.split(rows[order], starts[1:])
    same, differ = (
        [
            (when(unique[i], dates), [table.keys[row] for row in together[i].tolist()])
            for i in np.flatnonzero((counts > 1) & alike).tolist()
        ]
        for alike in (equal, ~equal)
    )
    problems = []
    for found, name, what, mend in (
        (same, "duplicate_times", "with equal values", "Remove all but one of each."),
        (
            differ,
            "conflicting_times",
            "with different values",
            "Keep the right one, or their mean.",
        ),
    ):
        if found:
            where = tuple(key for _, keys in found for key in keys)
            said = some(f"{time} ({' = '.join(keys[:3])})" for time, keys in found)
            text = f"{many(len(found), 'time')} stand in several rows {what}: {said}; the first is used."
            problems.append(Problem(name, "warning", where, text, mend))
    return first, problems


def said_values(
    names: Sequence[str], columns: Sequence[np.ndarray], keys: Sequence[str]
) -> list[Problem]:
    """Columns that never change, missing, infinite and far values."""
    problems: list[Problem] = []
    infinite = np.isinf(np.stack(columns)).any(0) | (np.abs(np.stack(columns)) > 3.4e38).any(0)
    if infinite.any():
        rows = tuple(keys[i] for i in np.flatnonzero(infinite).tolist())
        text = f"{many(len(rows), 'row')} with infinite values, or too large ones: {some(rows)}."
        mend = "Correct them, or leave them empty, which counts as missing."
        problems.append(Problem("nonfinite_inputs", "error", rows, text, mend))
    far = {n: far_from_others(c, keys) for n, c in zip(names, columns, strict=True)}
    problems += said_far({n: cells for n, cells in far.items() if cells}, keys)
    flat = [n for n, c in zip(names, columns, strict=True) if len(np.unique(c[~np.isnan(c)])) < 2]
    if flat:
        every = len(flat) == len(names)
        text = f"{len(flat)} of {len(names)} columns never change: {some(flat)}."
        mend = "Give a column that changes." if every else "Leave them out."
        name, severity = ("constant_inputs", "error") if every else ("constant_column", "warning")
        problems.append(Problem(name, severity, tuple(flat), text, mend))  # type: ignore[arg-type]
    gone = {n: np.isnan(c) for n, c in zip(names, columns, strict=True) if np.isnan(c).any()}
    if gone:
        said = some(f"{n} {int(m.sum()):,} ({_longest(m, keys)})" for n, m in gone.items())
        mostly = [n for n, m in gone.items() if m.mean() > 0.5]
        text = f"Missing values in {many(len(gone), 'column')}: {said}."
        mend = "They count as missing; fill them in where they are known"
        mend += f", and leave out {some(mostly)}, mostly missing." if mostly else "."
        severity = "warning" if mostly else "note"
        where = places(gone, np.flatnonzero(np.any(list(gone.values()), axis=0)), keys)
        problems.append(Problem("missing_values", severity, where, text, mend))
    return problems


def _longest(missing: np.ndarray, keys: Sequence[str]) -> str:
    """The longest run of missing values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.astype(np.int8), [0]])))
    starts, ends = edges[::2], edges[1::2]
    i = int((ends - starts).argmax())
    length = int(ends[i] - starts[i])
    return f"at most {length:,} in a row, from {keys[starts[i]]}"


def said_spacing(
    spacing: Spacing,
    times: np.ndarray,
    keys: Sequence[str],
    column: str,
    *,
    dates: bool,
    fillable: bool,
) -> list[Problem]:
    """Gaps, changes of frequency, times beside the grid, or that there is none."""
    if len(times) < 3:
        text = f"There are only {many(len(times), 'time')} in {column}; a series needs many."
        return [Problem("short_series", "error", (column,), text, "Give more rows.")]
    if not spacing.regular:
        steps = np.diff(times)
        unit = " days" if dates else ""
        text = (
            f"{column} rises by irregular steps: {np.median(steps):.3g}{unit} in the median, "
            f"{steps.min():.3g} to {steps.max():.3g}."
        )
        mend = "Bring the rows to equal steps: one an hour, a day ..."
        return [Problem("irregular_times", "error", (column,), text, mend)]
    if spacing.others:
        places = tuple(keys[first] for _, _, first in spacing.others)
        said = some(f"every {e} ({n:,} steps, from {keys[i]})" for e, n, i in spacing.others)
        text = f"{column} has several frequencies: mostly every {spacing.every}, and {said}."
        mend = "Bring all rows to one of them, or give each stretch a file of its own."
        return [Problem("mixed_frequencies", "error", places, text, mend)]
    problems = []
    off = np.flatnonzero(spacing.places < 0).tolist()
    if off:
        rows = tuple(keys[i] for i in off)
        said = some(f"{keys[i]} ({when(times[i], dates)})" for i in off)
        text = (
            f"{many(len(off), 'time')} of {column} beside the steps, which are every {spacing.every}: "
            f"{said}."
        )
        mend = "Correct them, or round them to the step."
        problems.append(Problem("off_grid_times", "warning", rows, text, mend))
    if gaps := spacing.gaps():
        total = sum(missing for _, missing in gaps)
        on = np.flatnonzero(spacing.places >= 0)
        after = dict(pairwise(on.tolist()))
        where = tuple(f"{keys[i]} to {keys[after[i]]}" for i, _ in gaps)
        largest = sorted(gaps, key=lambda gap: -gap[1])
        said = some(
            f"{many(n, 'step')} after {keys[i]} ({when(times[i], dates)} to {when(times[after[i]], dates)})"
            for i, n in largest
        )
        text = (
            f"{many(len(gaps), 'gap')} in {column}, together {many(total, 'missing step')} of "
            f"{int(spacing.places.max()) + 1:,}: {said}."
        )
        mend = "They count as missing values" if fillable else "Rows are read as if there were none"
        problems.append(
            Problem("gaps", "warning", where, text, f"{mend}; fill them in if they are known.")
        )
    return problems
