"""One long series in a table: a column of times, columns of numbers. No torch.

It can be read and checked; nothing forecasts it yet.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fitwell.data.assemble import slug
from fitwell.data.columns import as_numbers, clean_text, looks_like_identifier
from fitwell.data.dates import read_dates
from fitwell.data.frames import Table, named_column
from fitwell.data.long_checks import (
    dropped,
    duplicate_times,
    order_of,
    said_spacing,
    said_values,
    when,
)
from fitwell.data.spacing import filled, spacing_of
from fitwell.data.target_columns import TARGET_NAMES, target_columns
from fitwell.data.types import BadData, Data, Problem, fingerprint, many, refuse, some
from fitwell.errors import SettingError, did_you_mean
from fitwell.spec import Column, Spec

LEAST_STEPS = 12  # rows of a table that is taken for a series without being asked to
LOOKED_AT = 50  # cells that say whether a column may hold dates or numbers
MOST_FILLED = 2  # times as many steps as rows: beyond, gaps are not filled up
NOT_YET = "cannot_forecast"


@dataclass(frozen=True, eq=False)
class LongSeries:
    """One series, in the order of time.

    Args:
        values: [channel, step] float32, nan where missing; on every step of its grid, where it has one.
        times: [step] float64, days since 2000 or numbers.
        names: of the channels.
        every: see `Spacing`.
    """

    values: np.ndarray
    times: np.ndarray
    names: tuple[str, ...]
    every: str
    problems: tuple[Problem, ...]


def time_column(table: Table, options: dict[str, Any], like: Spec | None) -> str:
    """The column of times of a table that is to be read as one series; "" for any other table.

    A table is one where `data.kind=series`; or, unless settings say what to predict, where one column holds
    dates that rise by equal steps from row to row, and all others numbers.

    Raises:
        BadData: it is to be one, and no column or several hold times.
    """
    if like is not None:
        if like.kind == "series":
            raise refuse(
                "other_kind",
                f"{table.where} is a table, and this model reads {like.examples}.",
                "Give data like that which the model was trained on.",
                table.where,
            )
        return ""
    names = list(table.frame.columns)
    dated = [name for name in names if _may_be_dates(table.frame[name])]
    if options["kind"] == "series":
        if options["time"]:
            return named_column(table, options["time"], "time")
        if len(dated) != 1:
            raise refuse(
                "time_ambiguous" if dated else "no_time_column",
                f"{table.where}: data.kind = series, and "
                + (f"{some(dated)} each hold dates." if dated else "no column holds dates."),
                f"Name the column of times with data.time; it has: {some(names, 20)}.",
                dated or table.where,
                setting="data.time",
            )
        return dated[0]
    named = options["kind"] != "auto" or options["task"] != "auto"
    named |= any(options[key] for key in ("target", "time", "group", "text"))
    if named or len(dated) != 1 or table.frame.height < LEAST_STEPS:
        return ""
    if any(name.lower().strip() in TARGET_NAMES for name in names):
        return ""
    others = [name for name in names if name not in dated]
    if not others or not all(_may_be_numbers(table, name) for name in others):
        return ""
    return dated[0] if _rises_by_equal_steps(table, dated[0], options) else ""


def _may_be_dates(series: Any) -> bool:
    """Whether the first cells hold a year, and are no numbers."""
    import polars as pl

    if series.dtype in (pl.Date, pl.Datetime):
        return True
    if series.dtype != pl.String:
        return False
    first = clean_text(series.drop_nulls().head(LOOKED_AT)).drop_nulls()
    if not len(first) or first.cast(pl.Float64, strict=False).null_count() < len(first) / 2:
        return False
    return bool(first.str.contains(r"\d{4}").sum() > len(first) / 2)


def _may_be_numbers(table: Table, name: str) -> bool:
    numbers, _ = as_numbers(table.frame[name].head(LOOKED_AT), table.decimal_comma)
    return numbers is not None and as_numbers(table.frame[name], table.decimal_comma)[0] is not None


def _rises_by_equal_steps(table: Table, name: str, options: dict[str, Any]) -> bool:
    try:
        found = read_dates(_cells(table.frame[name]), table.keys, options["dates"])
    except BadData:
        return False  # who reads it as a table says it
    if found is None or not np.isfinite(found[0]).all() or (np.diff(found[0]) <= 0).any():
        return False
    spacing = spacing_of(found[0], dates=True)
    return spacing.whole and not spacing.gaps() and not spacing.every.startswith("about")


def long_series(table: Table, column: str, options: dict[str, Any]) -> LongSeries:
    """The series in a table: sorted, each time once, gaps filled up with missing values.

    Args:
        column: of the times.

    Raises:
        BadData: no times in that column, no column of numbers, or several series in one table.
    """
    times, dates, problems = _times(table, column, options)
    names, columns, notes = _channels(table, column, options)
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
    return LongSeries(values, times, names, spacing.every, (fact, *problems))


def read_long(table: Table, column: str, options: dict[str, Any]) -> Data:
    """`Data` of one series as the one example [1, channel, time]; its channels are `spec.columns`.

    `data.target` names the columns that are to be forecast; all by default.
    """
    for name, mend in (("group", "Give each series a file of its own."), ("text", "Leave it out.")):
        if options[name]:
            raise SettingError(
                f"data.{name} = {options[name]}: {table.where} is read as one series. {mend}",
                setting=f"data.{name}",
            )
    series = long_series(table, column, options)
    targets = series.names
    if options["target"]:
        targets = tuple(target_columns(table, options["target"], "", inputs=False)[0])
        wrong = [name for name in targets if name not in series.names]
        if wrong:
            raise refuse(
                "no_such_column",
                f"data.target = {options['target']}: {wrong[0]} is no column of numbers."
                f"{did_you_mean(wrong[0], series.names)}",
                f"It has: {some(series.names, 20)}.",
                wrong,
                setting="data.target",
            )
    inputs = np.ascontiguousarray(series.values[None])
    nothing = np.zeros(1, np.float32)  # what is to be forecast is in the inputs
    spec = Spec(
        "series",
        "forecasting",
        inputs.shape[1:],
        target=",".join(targets),
        columns=tuple(Column(name) for name in series.names),
        num_examples=1,
        targets=targets if len(targets) > 1 else (),
        every=series.every,
    )
    text = f"{table.where} is one long series, and fitwell cannot forecast yet: it is read and checked."
    mend = (
        "To predict a column from the others of its row instead: "
        f"data.kind=table data.target={targets[-1]}"
        + (f" data.time={column}." if len(series.names) > 1 else ".")
    )
    return Data(
        name=slug(table.name),
        spec=spec,
        inputs=inputs,
        targets=nothing,
        keys=np.array([table.where]),
        part=np.array([""], "<U10"),
        problems=(*series.problems, Problem(NOT_YET, "note", (table.where,), text, mend)),
        fingerprint=fingerprint(inputs, nothing),
    )


def _cells(series: Any) -> Any:
    return series if series.dtype.is_temporal() else clean_text(series)


def _times(
    table: Table, column: str, options: dict[str, Any]
) -> tuple[np.ndarray, bool, list[Problem]]:
    """([row] days since 2000 or numbers, nan where unknown; whether dates; problems)."""
    series = table.frame[column]
    numbers, _ = as_numbers(series, table.decimal_comma)
    if numbers is not None and np.isfinite(numbers).any():
        return numbers, False, []
    found = read_dates(_cells(series), table.keys, options["dates"]) if numbers is None else None
    if found is None:
        raise refuse(
            "no_times",
            f"{column} of {table.where}: its cells are neither numbers nor dates.",
            "Name a column that says when each row was with data.time.",
            column,
            setting="data.time",
        )
    days, _, problems = found
    return days, True, [problem for problem in problems if problem.name != "not_a_date"]


def _channels(
    table: Table, column: str, options: dict[str, Any]
) -> tuple[tuple[str, ...], list[np.ndarray], list[Problem]]:
    """(names, [row] float64 of each, problems) of the columns of numbers."""
    import polars as pl

    names, columns, left_out, problems, as_text = [], [], [], [], []
    for name in table.frame.columns:
        series = table.frame[name]
        if name == column:
            continue
        numbers, mistakes = as_numbers(series, table.decimal_comma)
        if numbers is None:
            cell = next((c for c in clean_text(series).drop_nulls().to_list()), "")
            left_out.append(f"{name} (holds {cell!r})")
            continue
        if why := looks_like_identifier(series, table.decimal_comma):
            left_out.append(f"{name} (counts the rows: {why})")
            continue
        if mistakes.any():
            rows = tuple(k for k, bad in zip(table.keys, mistakes, strict=True) if bad)
            cells = sorted(set(clean_text(series).filter(pl.Series(mistakes)).to_list()))
            text = f"{name}: {len(rows)} of {len(series)} cells are not numbers ({some(cells)})."
            mend = "They count as missing; correct them."
            problems.append(Problem("not_a_number", "warning", rows, text, mend))
        if series.dtype == pl.String and table.typed:
            as_text.append(name)
        names.append(name)
        columns.append(numbers)
    if as_text:
        text = f"{some(as_text)} hold numbers as text; they are read as numbers."
        mend = "Nothing to do; save them as numbers to be sure."
        problems.append(Problem("numbers_as_text", "note", tuple(as_text), text, mend))
    if left_out:
        places = tuple(each.partition(" (")[0] for each in left_out)
        text = f"No columns of numbers to follow in time, left out: {some(left_out)}."
        mend = "Write plain numbers (1234.5) where these are numbers; leave other columns out."
        problems.append(Problem("not_numeric", "warning", places, text, mend))
    if not names:
        raise refuse(
            "no_inputs",
            f"{table.where} has no column of numbers beside {column}"
            + (f"; left out: {some(left_out)}." if left_out else "."),
            "Add a column of numbers.",
            table.where,
        )
    return tuple(names), columns, problems
