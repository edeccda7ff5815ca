"""After how many steps a series repeats itself: by the time between them, or by its values. No torch."""

import numpy as np

# Steps in a season, where the time between them says so.
_SEASONS = {"day": 7, "working day": 5, "week": 52, "month": 12, "quarter": 4}
_SECONDS = {"hour": 3600, "minute": 60}
_PERIODS = 3  # of a season that must be seen
_CLEAR = 0.5  # of the mean difference at shorter lags, what is left at a season's at most
_ERRORS = 4.0  # standard errors that it must be below 1, which noise gives
_MOST = 2000  # steps of the longest season that is looked for


def season_of(every: str) -> int:
    """Steps after which a series with this time between them usually repeats itself; 1: nobody knows.

    >>> season_of("hour"), season_of("15 minutes"), season_of("month"), season_of("7 seconds")
    (24, 96, 12, 1)
    """
    every = every.removeprefix("about ")
    if every in _SEASONS:
        return _SEASONS[every]
    count, _, unit = every.rpartition(" ")
    seconds = _SECONDS.get(unit.removesuffix("s"), 0) * (
        int(count) if count.isdigit() else not count
    )
    return 86400 // seconds if seconds and 86400 % seconds == 0 else 1


def season_in(steps: np.ndarray) -> int:
    """Steps after which the series repeats itself, by its values; 1 where none is clear.

    The first lag at which the squared difference of values has a minimum, and is at most half of its mean
    over the lags up to there (`d'`, of a series less its straight line); four standard errors of white
    noise below 1, and seen three times. A walk differs the more the longer the lag, so it has none.

    Args:
        steps: [step, channel], nan where missing.

    Source: de Cheveigné and Kawahara 2002, Journal of the Acoustical Society of America 111, equation 8

    >>> season_in(np.sin(2 * np.pi * np.arange(200)[:, None] / 25))
    25
    """
    count = len(steps)
    longest = min(count // _PERIODS, _MOST)
    if longest < 3:
        return 1
    values = np.stack([_level(column) for column in steps.T], axis=1)
    difference = np.array(
        [np.nanmean((values[lag:] - values[:-lag]) ** 2) for lag in range(1, longest + 2)]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        left = difference / (np.cumsum(difference) / np.arange(1, len(difference) + 1))
    lags = np.arange(1, len(left) + 1)
    most = np.minimum(_CLEAR, 1 - _ERRORS * np.sqrt(2 / (count - lags)))
    for at in range(1, longest):
        if left[at] <= most[at] and left[at] <= left[at - 1] and left[at] < left[at + 1]:
            return at + 1
    return 1


def _level(column: np.ndarray) -> np.ndarray:
    """[step] less its straight line, in standard deviations; missing values stand at 0."""
    known, at = ~np.isnan(column), np.arange(len(column))
    if known.sum() < 3:
        return np.zeros(len(column))
    values = column[known].astype(np.float64)
    flat = values - np.polyval(np.polyfit(at[known], values, 1), at[known])
    spread = flat.std()
    out = np.zeros(len(column))
    out[known] = flat / spread if spread > 0 else 0.0
    return out
