"""One long series in a table: which column says the time, which are followed. No torch."""

from typing import Any

import numpy as np

from fitwell.data.columns import (
    as_numbers,
    clean_text,
    dates_of,
    looks_like_identifier,
    mistakes_of,
)
from fitwell.data.dates import MOSTLY, SPELLING, read_dates
from fitwell.data.frames import Table, named_column
from fitwell.data.names import TARGET_NAMES
from fitwell.data.options import OF_FORECASTS
from fitwell.data.spacing import spacing_of
from fitwell.data.targets import few_enough
from fitwell.data.types import BadData, Problem, many, refuse, some
from fitwell.spec import Spec

LEAST_STEPS = 12  # rows of a table that is taken for a series without being asked to
FIRST_SHARE = 0.8  # of the first steps are the usual ones in a series
STEADY_SHARE = 0.95  # likewise of all
LOOKED_AT = 50  # cells that say whether a column may hold dates or numbers
FIRST_ROWS = 1000  # in which a table must look like a series for that to be said


def time_column(table: Table, options: dict[str, Any], like: Spec | None) -> str:
    """The column of times of a table that is read as one series; "" for others.

    A table is one where `data.kind=series`, or a setting of forecasts is given; or, unless settings say
    what to predict, where one column holds dates that rise or fall by equal steps from row to row, but for
    a few, and all others numbers, the last of them no classes.

    Raises:
        BadData: it is to be one, and no column or several hold times.
    """
    if like is not None and like.task != "forecasting":
        return ""
    names = list(table.frame.columns)
    dated = dated_columns(table)
    asked = any(options[name] for name in OF_FORECASTS) and options["kind"] == "auto"
    if options["kind"] == "series" or like is not None or asked:
        if options["time"]:
            return named_column(table, options["time"], "time")
        if len(dated) != 1:
            raise refuse(
                "time_ambiguous" if dated else "no_time_column",
                f"{table.where} is to be one series, and "
                + (f"{some(dated)} each hold dates." if dated else "no column holds dates."),
                f"Name the column of times with data.time; or, where each row is a series, what is to be "
                f"predicted of it with data.target. It has: {some(names, 20)}.",
                dated or table.where,
                setting="data.time",
            )
        return dated[0]
    if _says_what(names, options) or len(dated) != 1 or table.frame.height < LEAST_STEPS:
        return ""
    dates, order = table.frame[dated[0]], options["dates"]
    # Few rows first: whole columns are parsed only where these look like a series.
    if _has_equal_steps(dates.head(LOOKED_AT), table.keys, order, FIRST_SHARE) is False:
        return ""
    others = [name for name in names if name not in dated]
    if not others or not all(_may_be_numbers(table, name) for name in others):
        return ""
    if _has_classes(table, others[-1]):  # it is the target
        return ""
    return dated[0] if _has_equal_steps(dates, table.keys, order, STEADY_SHARE) else ""


def perhaps_series(table: Table, options: dict[str, Any], like: Spec | None) -> list[Problem]:
    """What to set where a table that `time_column` did not take for a series may be one: it holds one
    column of dates beside numbers, but in no order, by unequal steps, or few of them."""
    names, dated = list(table.frame.columns), dated_columns(table)
    if like is not None or _says_what(names, options) or len(dated) != 1:
        return []
    few = table.frame.head(FIRST_ROWS)
    others = [name for name in names if name not in dated]
    numbers = [as_numbers(few[name], table.decimal_comma)[0] for name in others]
    if not others or any(n is None for n in numbers) or are_classes(numbers[-1]):
        return []
    try:
        read = read_dates(dates_of(few[dated[0]]), table.keys[: len(few)], options["dates"])
    except BadData:
        return []  # who reads it as a table says it
    count = table.frame.height
    why = f"there {'is' if count == 1 else 'are'} only {many(count, 'row')}"
    if read is None and not seems_dated(few[dated[0]]):
        return []
    if read is None:
        why = "they are in a spelling that is not read"
    elif count >= LEAST_STEPS:
        why = "they do not follow one another by equal steps"
    text = (
        f"{dated[0]} holds dates and {some(others)} numbers, as in a series, but {why}: {table.where} is "
        "read as a table of examples."
    )
    what = "it" if len(others) == 1 else "them"
    do = "set data.kind=series" if read is not None else f"write the dates as {SPELLING}"
    mend = f"To forecast {what}, {do}."
    return [Problem("perhaps_series", "note", (dated[0],), text, mend)]


def _says_what(names: list[str], options: dict[str, Any]) -> bool:
    """Whether settings, or the name of a column, say what is to be predicted."""
    named = options["kind"] != "auto" or options["task"] != "auto"
    named |= any(options[key] for key in ("target", "time", "group", "text"))
    return named or any(name.lower().strip() in TARGET_NAMES for name in names)


def dated_columns(table: Table) -> list[str]:
    """The columns that may hold dates."""
    return [name for name in table.frame.columns if _may_be_dates(table.frame[name])]


def seems_dated(series: Any) -> bool:
    """Whether most cells hold a year, though no spelling of dates reads them.

    >>> import polars as pl
    >>> [seems_dated(pl.Series([text])) for text in ("3rd of May, 2024", "SKU 12024", "May")]
    [True, False, False]
    """
    texts = clean_text(series).drop_nulls()
    return bool(texts.str.contains(r"\b(?:19|20)\d\d\b").sum() >= MOSTLY * max(1, len(texts)))


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


def _has_classes(table: Table, name: str) -> bool:
    numbers, _ = as_numbers(table.frame[name], table.decimal_comma)
    return are_classes(numbers)


def are_classes(numbers: np.ndarray | None) -> bool:
    """Whether numbers are few whole ones, as classes are; one alone is none to tell from others.

    >>> [are_classes(np.array(v)) for v in ([1.0, 0, 1, 0], [1.0, 1, 1, 1], [0.5, 0, 1, 0])]
    [True, False, False]
    """
    assert numbers is not None
    known = numbers[~np.isnan(numbers)]
    whole = bool((known == np.round(known)).all())
    distinct = len(np.unique(known))
    return whole and distinct > 1 and few_enough(distinct, len(known))


def _has_equal_steps(series: Any, keys: list[str], order: str, share: float) -> bool | None:
    """Whether this share of the dates follow the one before at the usual distance, as whole years, months,
    days or hours count it; None where they leave open which is the day and which the month, or are none."""
    try:
        found = read_dates(dates_of(series), keys[: len(series)], order)
    except BadData:
        return None  # who reads it as a table says it
    if found is None:
        return None
    days = found[0]
    known = days[np.isfinite(days)]
    steps = np.diff(known)
    if len(known) < max(2, share * len(days)):
        return False
    steps = -steps if np.median(steps) < 0 else steps
    usual = np.median(steps)
    # Months and years differ by a tenth in length.
    like = (steps > 0.85 * usual) & (steps < 1.15 * usual)
    if usual <= 0 or (steps > 0).mean() < share:
        return False
    spacing = spacing_of(np.unique(known), dates=True)
    steady = like.mean() >= share or not spacing.gaps()  # working days have weekends between
    return steady and spacing.whole and not spacing.every.startswith("about")


def channels(
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
        problems += mistakes_of(series, mistakes, table.keys)
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
