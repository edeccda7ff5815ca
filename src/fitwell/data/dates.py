"""Dates in tables: recognised in the usual spellings, told apart where a day may be a month. No torch."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from fitwell.data.types import Problem, brief, refuse, some
from fitwell.spec import CYCLES

ORIGIN = datetime(2000, 1, 1)
SPELLING = "2024-12-31 or 2024-12-31 14:00"  # that is always read
SECONDS = 86400.0
YEAR = 365.2425  # days, on average
LENGTHS = {"year": YEAR, "week": 7.0, "day": 1.0}
MOSTLY = 0.9  # of the known texts must be dates: the rest are mistakes
_TIMES = (
    *("", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f", " %H:%M:%S%z"),
    *("T%H:%M", "T%H:%M:%S", "T%H:%M:%SZ", "T%H:%M:%S%.f", "T%H:%M:%S%.fZ", "T%H:%M:%S%z"),
)
_NAMED = ("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y")
_MONTHS = ("%Y-%m", "%Y/%m", "%b %Y", "%B %Y")  # read as their first day
_DAY_FIRST = ("%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y")
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y")


def formats(order: str) -> list[str]:
    """Every spelling, those that cannot be mistaken first."""
    slashed = {"day_first": _DAY_FIRST, "month_first": (*_MONTH_FIRST, "%d.%m.%Y")}
    both = (*_DAY_FIRST, *_MONTH_FIRST)
    plain = ("%Y-%m-%d", "%Y/%m/%d", *_NAMED, *slashed.get(order, both))
    return [*(date + time for date in plain for time in _TIMES), *_MONTHS]


def read_dates(
    series: Any, keys: list[str], order: str = "auto"
) -> tuple[np.ndarray, tuple[str, ...], list[Problem]] | None:
    """([row] days since 2000 with nan where missing, the spellings found, problems); None for no dates.

    Args:
        series: text, or dates already.
        order: `data.dates`: "day_first" or "month_first"; "auto" decides by days above 12.

    Raises:
        BadData: every date may be read with the day or the month first, and they are not the same.
    """
    if series.dtype.is_temporal():
        return (_days(series), (), []) if _is_dates(series) else None
    known = ~series.is_null().to_numpy()
    if not known.any():
        return None
    dated = _with_years(series)
    if len(dated) - dated.null_count() < MOSTLY * known.sum():
        return None
    parsed = {text: _parsed(dated, text) for text in _likely(dated, order)}
    parsed = {text: days for text, days in parsed.items() if np.isfinite(days).any()}
    some_way = np.any([np.isfinite(days) for days in parsed.values()] or [~known], axis=0)
    if not parsed or some_way.sum() < MOSTLY * known.sum():
        return None
    chosen = _without_wrong_order(series.name, keys, parsed)
    out, used = np.full(len(series), np.nan), []
    for text in sorted(chosen, key=lambda t: -np.isfinite(chosen[t]).sum()):
        more = np.isnan(out) & np.isfinite(chosen[text])
        if more.any():
            out[more] = chosen[text][more]
            used.append((text, int(more.sum())))
    read = np.isfinite(out)
    return out, tuple(text for text, _ in used), _said(series, keys, used, known & ~read)


def read_dates_like(series: Any, spellings: tuple[str, ...]) -> np.ndarray:
    """[row] days since 2000 in the spellings that a model knows, or of dates; nan for anything else."""
    if series.dtype.is_temporal():
        return _days(series) if _is_dates(series) else np.full(len(series), np.nan)
    out, dated = np.full(len(series), np.nan), _with_years(series)
    for text in spellings or formats("auto"):
        days = _parsed(dated, text)
        out = np.where(np.isnan(out), days, out)
    return out


def as_text(days: float) -> str:
    """
    >>> as_text(0.0), as_text(8766.5), as_text(-730119.0)
    ('2000-01-01', '2024-01-01 12:00', '0001-01-01')
    """
    when = ORIGIN + timedelta(minutes=round(days * 1440))
    if when.hour == when.minute == 0:
        return when.date().isoformat()
    return when.isoformat(" ", "minutes")


def cycles(days: np.ndarray) -> np.ndarray:
    """[row, 2 x cycle] sine and cosine of the place in the year, the week and the day; 0 where missing.

    >>> cycles(np.array([0.25])).round(3)[0, -2:].tolist()  # six o'clock
    [1.0, 0.0]
    """
    found = []
    for name in CYCLES:
        angle = 2 * np.pi * (days % LENGTHS[name]) / LENGTHS[name]
        found += [np.sin(angle), np.cos(angle)]
    return np.nan_to_num(np.stack(found, axis=1))


def _with_years(series: Any) -> Any:
    """The texts that hold a year, the others missing: %Y would take 13/04/24 for a day of the year 13."""
    return series.set(~series.str.contains(r"\d{4}").fill_null(False), None)


def _likely(series: Any, order: str) -> list[str]:
    """The spellings that fit any of a few texts: trying all of them on all rows takes long."""
    some_rows = series.drop_nulls().unique(maintain_order=True)
    sample = some_rows.gather_every(max(1, len(some_rows) // 200))
    return [text for text in formats(order) if np.isfinite(_parsed(sample, text)).any()]


def _parsed(series: Any, spelling: str) -> np.ndarray:
    import polars as pl

    if spelling in _MONTHS:
        day = spelling[2]  # the same dash or slash before it
        return _parsed(series + f"{day}01", f"{spelling}{day}%d")
    kind: Any = pl.Datetime if "%H" in spelling else pl.Date
    if "%z" in spelling:
        kind = pl.Datetime("us", "UTC")
    return _days(series.str.strptime(kind, spelling, strict=False, exact=True))


def _is_dates(series: Any) -> bool:
    """Whether these are dates, and not times of a day or spans."""
    import polars as pl

    return series.dtype not in (pl.Time, pl.Duration)


def _days(series: Any) -> np.ndarray:
    import polars as pl

    seconds = series.cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64).to_numpy() / 1e6
    return (seconds - (ORIGIN - datetime(1970, 1, 1)).total_seconds()) / SECONDS


def _without_wrong_order(
    name: str, keys: list[str], parsed: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The spellings without those that take months for days; refused where nothing tells them apart."""
    for day, month in zip(_DAY_FIRST, _MONTH_FIRST, strict=False):
        for time in _TIMES:
            one, other = parsed.get(day + time), parsed.get(month + time)
            if one is None or other is None:
                continue
            # A day above 12 can be read in one way only.
            sure = [
                int((np.isfinite(a) & np.isnan(b)).sum()) for a, b in ((one, other), (other, one))
            ]
            differ = np.isfinite(one) & np.isfinite(other) & (one != other)
            if sure[0] == sure[1] and differ.any():
                row = int(np.flatnonzero(differ)[0])
                said = f"{as_text(one[row])} or {as_text(other[row])}"
                raise refuse(
                    "ambiguous_dates",
                    f"{name} holds dates of which nothing says whether the day or the month comes first: "
                    f"{keys[row]} may be {said}.",
                    "Set data.dates=day_first or data.dates=month_first.",
                    name,
                    setting="data.dates",
                )
            wrong = (month if sure[0] >= sure[1] else day) + time
            parsed = {text: days for text, days in parsed.items() if text != wrong}
    return parsed


def _said(
    series: Any, keys: list[str], used: list[tuple[str, int]], wrong: np.ndarray
) -> list[Problem]:
    problems = []
    if len(used) > 1:
        counts = Counter(dict(used))
        said = ", ".join(f"{count:,} as {text}" for text, count in counts.most_common())
        message = f"{series.name} holds dates in {len(used)} spellings: {said}."
        mend = "They are read; write them all as 2024-12-31 to be sure."
        problems.append(Problem("mixed_dates", "warning", (series.name,), message, mend))
    if wrong.any():
        rows = tuple(key for key, bad in zip(keys, wrong, strict=True) if bad)
        found = sorted(set(series.filter(wrong).to_list()))
        shown = some(map(brief, found))
        message = f"{series.name}: {len(rows)} of {len(series)} cells are not dates ({shown})."
        mend = "They count as missing; correct them."
        problems.append(Problem("not_a_date", "warning", rows, message, mend))
    return problems
