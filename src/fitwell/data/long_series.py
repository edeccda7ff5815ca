"""One long series in a table: a column of times, columns of numbers. No torch."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fitwell.data.columns import as_numbers, dates_of
from fitwell.data.dates import SPELLING, read_dates
from fitwell.data.frames import Table
from fitwell.data.long_checks import (
    dropped,
    duplicate_times,
    order_of,
    said_spacing,
    said_values,
    when,
)
from fitwell.data.long_columns import channels
from fitwell.data.spacing import filled, spacing_of
from fitwell.data.types import Problem, many, refuse, some

MOST_FILLED = 2  # times as many steps as rows: beyond, gaps are not filled up


@dataclass(frozen=True, eq=False)
class LongSeries:
    """One series, in the order of time.

    Args:
        values: [channel, step] float32, nan where missing; on every step of its grid, where it has one.
        times: [step] float64, days since 2000 or numbers.
        names: of the channels.
        every: see `Spacing`.
        dates: whether the times are dates.
    """

    values: np.ndarray
    times: np.ndarray
    names: tuple[str, ...]
    every: str
    problems: tuple[Problem, ...]
    dates: bool = True


def long_series(table: Table, column: str, options: dict[str, Any]) -> LongSeries:
    """The series in a table: sorted, each time once, gaps filled up with missing values.

    Args:
        column: of the times.

    Raises:
        BadData: no times in that column, no column of numbers, or several series in one table.
    """
    times, dates, problems = _times(table, column, options)
    names, columns, notes = channels(table, column, options)
    problems += notes
    known = np.isfinite(times)
    problems += dropped(table, column, known)
    rows = np.flatnonzero(known)
    order, notes = order_of(times[rows], [table.keys[i] for i in rows], column)
    problems += notes
    rows = rows[order]
    first, notes = duplicate_times(table, times[rows], rows, columns, column, dates)
    problems += notes
    rows = rows[first]
    times, columns = times[rows], [values[rows] for values in columns]
    spacing = spacing_of(times, dates=dates)
    keys = [table.keys[i] for i in rows]
    problems += said_values(names, columns, keys)
    fillable = spacing.whole and spacing.places[-1] < MOST_FILLED * len(times) + 1000
    problems += said_spacing(spacing, times, keys, column, dates=dates, fillable=fillable)
    if fillable:
        times, columns = filled(times, columns, spacing.places)
    with np.errstate(over="ignore"):
        values = np.stack(columns).astype(np.float32)
    every = f" every {spacing.every}" if spacing.regular else " at irregular times"
    text = (
        f"{table.where} is one series: {many(len(rows), 'row')},{every}, from {when(times[0], dates)} to "
        f"{when(times[-1], dates)}; {many(len(names), 'column')}: {some(names, 12)}."
    )
    fact = Problem("one_series", "note", (table.where,), text, "Nothing to do.")
    return LongSeries(values, times, names, spacing.every, (fact, *problems), dates)


def _times(
    table: Table, column: str, options: dict[str, Any]
) -> tuple[np.ndarray, bool, list[Problem]]:
    """([row] days since 2000 or numbers, nan where unknown; whether dates; problems)."""
    series = table.frame[column]
    numbers, _ = as_numbers(series, table.decimal_comma)
    if numbers is not None and np.isfinite(numbers).any():
        return numbers, False, []
    found = read_dates(dates_of(series), table.keys, options["dates"]) if numbers is None else None
    if found is None:
        raise refuse(
            "no_times",
            f"{column} of {table.where}: its cells are neither numbers nor dates.",
            f"Write them as {SPELLING}, or name a column that says when each row was with data.time.",
            column,
            setting="data.time",
        )
    days, _, problems = found
    return days, True, [problem for problem in problems if problem.name != "not_a_date"]
