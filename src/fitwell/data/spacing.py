"""How far apart the steps of one long series are: its frequency, gaps, and where that changes. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fitwell.data.dates import ORIGIN
from fitwell.data.types import many

MOSTLY = 0.5  # of the steps are equally far apart: the frequency
NEARLY = 0.1  # of a step: clocks that shake
SHAKING = 0.9  # so many of the steps must be nearly equal, then
ALSO = 0.05  # of the steps, and three in a row: another frequency, not gaps
IN_A_ROW = 3
SAME_DAY = 0.95  # of the dates are on one day of the month: monthly
_UNITS = {"week": 7 * 86400, "day": 86400, "hour": 3600, "minute": 60, "second": 1}
_MONTHS = {1: "month", 3: "quarter", 12: "year"}


@dataclass(frozen=True)
class Spacing:
    """The grid that times lie on.

    Args:
        every: "hour", "15 minutes", "month", "working day"; of numbers the difference; "" if irregular.
        places: [step] int64, which step of the grid each time is, from 0; -1: between two. Empty if
            irregular.
        others: other frequencies that hold for a while: (what, how often, first step of it).
    """

    every: str
    places: np.ndarray
    others: tuple[tuple[str, int, int], ...] = ()

    @property
    def regular(self) -> bool:
        return bool(self.every)

    @property
    def whole(self) -> bool:
        """Whether every time is on the grid, and no frequency changes."""
        return self.regular and not self.others and bool((self.places >= 0).all())

    def gaps(self) -> list[tuple[int, int]]:
        """(step before it, how many steps are missing) of each gap; none where the frequency changes."""
        if not self.regular or self.others:
            return []
        on = np.flatnonzero(self.places >= 0)
        jumps = np.diff(self.places[on])
        return [(int(on[i]), int(jumps[i]) - 1) for i in np.flatnonzero(jumps > 1)]


def spacing_of(times: np.ndarray, *, dates: bool) -> Spacing:
    """The grid of strictly rising times.

    Args:
        times: [step] float64: days since 2000, or numbers.
        dates: which of the two.

    >>> found = spacing_of(np.array([0.0, 1.0, 2.0, 5.0, 6.0, 7.0]), dates=False)
    >>> found.every, found.gaps()
    ('1', [(2, 2)])
    """
    if len(times) < 2:
        return Spacing("", np.empty(0, np.int64))
    if dates and (found := _calendar(times)):
        return found
    # From the first on, where float64 holds microseconds without a remainder.
    seconds = np.round((times - times[0]) * 86400, 6) if dates else times
    steps = _rounded(np.diff(seconds))
    values, counts = np.unique(steps, return_counts=True)
    step = float(values[counts.argmax()])
    if counts.max() < MOSTLY * len(steps):
        return _shaking(seconds, dates)
    every = _said(step, dates)
    others = _others(steps, step, values, counts, dates)
    if every == "day" and (found := _working_days(times, others)):
        return found
    first = seconds[int((steps == step).argmax())]
    place = (seconds - first) / step
    nearest = np.round(place)
    on = np.abs(place - nearest) < 1e-3
    return Spacing(every, _from_zero(nearest.astype(np.int64), on), others)


def _shaking(times: np.ndarray, dates: bool) -> Spacing:
    """Steps that are nearly equal; irregular otherwise."""
    steps = np.diff(times)
    step = float(np.median(steps))
    jumps = np.maximum(np.round(steps / step), 1)
    if (np.abs(steps - jumps * step) <= NEARLY * step).mean() < SHAKING:
        return Spacing("", np.empty(0, np.int64))
    places = np.concatenate([[0], np.cumsum(jumps)]).astype(np.int64)
    return Spacing(f"about {_said(step, dates)}", places)


def _calendar(times: np.ndarray) -> Spacing | None:
    """Months, quarters or years, which are not equally many days."""
    origin = np.datetime64(ORIGIN, "s")
    when = origin + np.round(times * 86400).astype("timedelta64[s]")
    month = when.astype("datetime64[M]")
    inside = (when - month).astype(np.int64)
    left = ((month + 1).astype("datetime64[s]") - when).astype(np.int64) // 86400
    for offset in (inside, left):  # the same day and hour of a month, or the last day of it
        usual, counts = np.unique(offset, return_counts=True)
        if counts.max() < SAME_DAY * len(times):
            continue
        on = offset == usual[counts.argmax()]
        index = month.astype(np.int64)
        jumps = np.diff(index[on])
        values, counts = np.unique(jumps, return_counts=True)
        if not len(values) or values.min() < 1 or counts.max() < MOSTLY * len(jumps):
            continue
        step = int(values[counts.argmax()])
        every = _MONTHS.get(step, f"{step} months" if step % 12 else f"{step // 12} years")
        on &= (index - index[on][0]) % step == 0
        return Spacing(every, _from_zero(index // step, on))
    return None


def _working_days(times: np.ndarray, others: tuple[tuple[str, int, int], ...]) -> Spacing | None:
    """Days without Saturdays and Sundays; None where some are there, or for few days."""
    when = np.datetime64(ORIGIN, "D") + np.floor(times).astype("timedelta64[D]")
    if others or len(times) < 10 or not np.is_busday(when).all() or times[-1] - times[0] < 7:
        return None
    places = np.busday_count(when[0], when).astype(np.int64)
    return Spacing("working day", places)


def _others(
    steps: np.ndarray, step: float, values: np.ndarray, counts: np.ndarray, dates: bool
) -> tuple[tuple[str, int, int], ...]:
    found = []
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        if value == step or count < max(IN_A_ROW, ALSO * len(steps)):
            continue
        same = steps == value
        run = same[2:] & same[1:-1] & same[:-2]
        if run.any():
            found.append((_said(value, dates), int(count), int(run.argmax())))
    return tuple(found)


def _from_zero(places: np.ndarray, on: np.ndarray) -> np.ndarray:
    return np.where(on, places - places[on].min(), -1)


def _rounded(steps: np.ndarray) -> np.ndarray:
    """Steps to six digits of a usual one: what computing with fractions leaves behind is no difference."""
    unit = 10.0 ** (np.floor(np.log10(np.median(steps))) - 6)
    return np.round(np.round(steps / unit) * unit, 12)


def _said(step: float, dates: bool) -> str:
    """
    >>> _said(3600, True), _said(900, True), _said(0.5, False), _said(172800, True)
    ('hour', '15 minutes', '0.5', '2 days')
    """
    if not dates:
        return f"{step:g}"
    for unit, seconds in _UNITS.items():
        if step >= seconds and step % seconds == 0:
            return unit if step == seconds else many(round(step / seconds), unit)
    return f"{step:g} seconds"


def filled(
    times: np.ndarray, columns: Sequence[np.ndarray], places: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Times and columns on every step of the grid; nan where a step is missing, its time between its
    neighbours'."""
    every = np.arange(places[-1] + 1)
    out = []
    for column in columns:
        values = np.full(len(every), np.nan)
        values[places] = column
        out.append(values)
    return np.interp(every, places, times), out
