"""The columns of a table that say which rows belong together and when each was. No torch."""

from typing import Any

import numpy as np

from fitwell.data.columns import as_times, clean_text
from fitwell.data.dates import SPELLING
from fitwell.data.frames import Table, named_column
from fitwell.data.types import refuse, some
from fitwell.errors import SettingError

SETTINGS = ("group", "time")


def apart_of(table: Table, options: dict[str, Any]) -> dict[str, str]:
    """Setting -> the column that it names, of those that are set: they are neither inputs nor targets.

    Raises:
        BadData: there is no such column.
        SettingError: both are set.
    """
    if options["time"] and options["group"]:
        raise SettingError(
            f"data.time = {options['time']}: beside data.group = {options['group']} nothing says which of "
            "them is to part the examples. Leave one of them out.",
            setting="data.time",
        )
    return {name: named_column(table, options[name], name) for name in SETTINGS if options[name]}


def groups_of(table: Table, apart: dict[str, str]) -> np.ndarray | None:
    """[row] the group of each as text; None where no column says it.

    Raises:
        BadData: rows without a group, which are not one group.
    """
    if "group" not in apart:
        return None
    groups = clean_text(table.frame[apart["group"]])
    _refuse_missing(table, apart, "group", groups.is_null().to_numpy())
    return np.array(groups.to_list())


def times_of(table: Table, apart: dict[str, str], order: str) -> np.ndarray | None:
    """[row] float64 when each was: numbers, or days of dates; None where no column says it.

    Args:
        order: `data.dates`.

    Raises:
        BadData: neither numbers nor dates, or rows without a time.
    """
    if "time" not in apart:
        return None
    name = apart["time"]
    times = as_times(table.frame[name], table.keys, table.decimal_comma, order)
    if times is None or np.isnan(times).all():
        raise refuse(
            "no_times",
            f"data.time = {name}: its cells are neither numbers nor dates.",
            f"Write them as {SPELLING}, or name a column that says when each row was.",
            name,
            setting="data.time",
        )
    _refuse_missing(table, apart, "time", np.isnan(times))
    return times


def _refuse_missing(table: Table, apart: dict[str, str], what: str, missing: np.ndarray) -> None:
    if missing.any():
        rows = [key for key, gone in zip(table.keys, missing, strict=True) if gone]
        raise refuse(
            f"missing_{what}",
            f"data.{what} = {apart[what]}: {len(rows)} of {len(missing)} rows say no {what} "
            f"({some(rows)}).",
            "Fill them in, or remove those rows.",
            rows,
            setting=f"data.{what}",
        )
