"""What a forecast is made from: the last steps of series, and the times that come after them. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.dates import ORIGIN
from fitwell.data.forecasting import steps_of
from fitwell.data.frames import Table, load_frame, load_table
from fitwell.data.long_checks import when
from fitwell.data.long_columns import time_column
from fitwell.data.long_series import LongSeries, long_series
from fitwell.data.options import fill
from fitwell.data.source import is_frame, missing
from fitwell.data.types import Problem, many, refuse
from fitwell.data.windows import carried_on
from fitwell.spec import Spec

_MONTHS = {"month": 1, "quarter": 3, "year": 12}


@dataclass(frozen=True, eq=False)
class Past:
    """The end of one series.

    Args:
        name: of the file.
        steps: [channel, look_back] float32, no value missing.
        times: as text, of the steps that come next.
    """

    name: str
    steps: np.ndarray
    times: tuple[str, ...]
    problems: tuple[Problem, ...]


def pasts(source: Any, spec: Spec, options: Mapping[str, Any], ahead: int) -> list[Past]:
    """The end of each series, each in a file of its own.

    Args:
        source: a CSV or Parquet file, several, or a DataFrame.
        options: settings `data.*` that the model was trained with, without the prefix.
        ahead: how many times are wanted.

    Raises:
        BadData: no such file or columns, fewer steps than the model reads, no steps of equal length, or
            no value in a column.
    """
    if is_frame(source):
        return [_past(load_frame(source), spec, options, ahead)]
    sources = source if isinstance(source, list | tuple) else [source]
    found = []
    for each in sources:
        if not isinstance(each, str | Path):
            raise refuse(
                "wrong_source",
                f"A forecast is made from a table with times, and this is a {type(each).__name__}.",
                "Give a CSV or Parquet file, or a DataFrame.",
                type(each).__name__,
            )
        path = Path(each).expanduser()
        if not path.is_file():
            raise missing(str(each))
        found.append(_past(load_table(path), spec, options, ahead))
    return found


def _past(table: Table, spec: Spec, options: Mapping[str, Any], ahead: int) -> Past:
    named = str(options.get("time", ""))
    settings = fill({"kind": "series", "dates": options.get("dates", "auto")})
    settings["time"] = named if named in table.frame.columns else ""
    series = long_series(table, time_column(table, settings, None), settings)
    wrong = [problem for problem in series.problems if problem.severity == "error"]
    names = tuple(column.name for column in spec.columns)
    steps = carried_on(steps_of(series, names, table.where)).T[:, -spec.input_shape[1] :]
    if steps.shape[1] < spec.input_shape[1]:
        raise refuse(
            "short_series",
            f"{table.where} has {many(steps.shape[1], 'step')}, and the model reads the last "
            f"{spec.input_shape[1]:,}.",
            "Give more of the past.",
            table.where,
        )
    empty = [name for name, values in zip(names, steps, strict=True) if np.isnan(values).any()]
    if empty or wrong:
        what = wrong[0].message if wrong else f"{empty[0]} has no value before the last steps."
        raise refuse(
            wrong[0].name if wrong else "missing_values",
            f"{table.where}: {what}",
            wrong[0].mend if wrong else "Fill them in if they are known.",
            empty or wrong[0].where,
        )
    notes = tuple(problem for problem in series.problems if problem.severity == "warning")
    return Past(table.where, np.ascontiguousarray(steps), _following(series, ahead), notes)


def _following(series: LongSeries, count: int) -> tuple[str, ...]:
    """The times of the next steps."""
    last = float(series.times[-1])
    if not series.dates or not (calendar := _on_calendar(series.every, last, series.times, count)):
        step = float(np.median(np.diff(series.times)))
        return tuple(when(last + step * (i + 1), series.dates) for i in range(count))
    return tuple(when(time, True) for time in calendar)


def _on_calendar(every: str, last: float, times: np.ndarray, count: int) -> Sequence[float]:
    """The next days since 2000 of steps that are not equally many days (months, working days), or none."""
    origin = np.datetime64(ORIGIN, "s")
    now = origin + np.timedelta64(round(last * 86400), "s")
    ahead = np.arange(1, count + 1)
    if every == "working day":
        day = now.astype("datetime64[D]")
        later = np.busday_offset(day, ahead).astype("datetime64[s]") + (now - day)
        return ((later - origin).astype(np.float64) / 86400).tolist()
    number, _, unit = every.rpartition(" ")
    months = _MONTHS.get(unit.removesuffix("s"), 0) * int(number or 1)
    if not months:
        return ()
    month = now.astype("datetime64[M]")
    starts = month + months * ahead
    left = (month + 1).astype("datetime64[s]") - now
    before = origin + np.timedelta64(round(float(times[0]) * 86400), "s")
    first_left = (before.astype("datetime64[M]") + 1).astype("datetime64[s]") - before
    if left == first_left and left < np.timedelta64(2 * 86400, "s"):  # the last day of each
        later = (starts + 1).astype("datetime64[s]") - left
    else:
        later = starts.astype("datetime64[s]") + (now - month)
    return ((later - origin).astype(np.float64) / 86400).tolist()
