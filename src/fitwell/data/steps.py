"""Series as numbers: where each ends, and what a model sees of them. No torch.

Raw series are [example, channel, time] float32; NaN stands behind the end of a shorter series, and where a
value is missing.
"""

import numpy as np

CHUNK_VALUES = 1 << 20  # values worked on at once
# In place of a 0 at the last step of a series, so that 0 in every channel stands behind the end alone.
ALMOST_ZERO = np.finfo(np.float32).tiny


def lengths(series: np.ndarray) -> np.ndarray:
    """[example] int64: steps of each raw series, up to the last at which a channel has a value.

    A value that is missing in every channel at the very end cannot be told from the end.

    >>> lengths(np.array([[[1, np.nan, 3, np.nan]], [[np.nan] * 4]])).tolist()
    [3, 0]
    """
    known = np.zeros((len(series), series.shape[2]), bool)
    for channel in range(series.shape[1]):
        known |= ~np.isnan(series[:, channel])
    last = series.shape[2] - known[:, ::-1].argmax(1)
    return np.where(known.any(1), last, 0)


def missing_inside(series: np.ndarray) -> np.ndarray:
    """[example, channel, time] bool: values that are missing before the end of their series."""
    inside = np.arange(series.shape[2]) < lengths(series)[:, None]
    return np.isnan(series) & inside[:, None]


def prepared(series: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """[example, channel, time] float32 as models read it: standardised a channel, 0 behind the end.

    A missing value lies on the line between its neighbours in time; before the first and after the last
    known value it is that one; a channel without any value is its mean. The last step of a series is not
    exactly 0 in every channel, so the end can be told: `(x != 0).any(1)`.

    >>> x = np.array([[[1.0, np.nan, 3.0, np.nan]]], np.float32)
    >>> prepared(x, np.zeros(1), np.ones(1)).tolist()
    [[[1.0, 2.0, 3.0, 0.0]]]
    """
    ends = lengths(series)
    behind = np.arange(series.shape[2]) >= ends[:, None]
    out = np.array(series, np.float32)
    missing = np.isnan(out) & ~behind[:, None]
    for i, channel in np.argwhere(missing.any(2)).tolist():
        gone = missing[i, channel]
        known = np.flatnonzero(~gone & ~behind[i])
        values = out[i, channel]
        values[gone] = (
            np.interp(np.flatnonzero(gone), known, values[known]) if len(known) else mean[channel]
        )
    for channel in range(out.shape[1]):
        # float64 for the difference: a large mean has few float32 digits left.
        out[:, channel] = (out[:, channel].astype(np.float64) - mean[channel]) / scale[channel]
        out[:, channel][behind] = 0.0
    there = np.flatnonzero(ends)
    last = out[there, :, ends[there] - 1]
    out[there, :, ends[there] - 1] = np.where(last == 0, ALMOST_ZERO, last)
    return out


def channel_moments(series: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([channel] mean, [channel] standard deviation) of the known values of `rows`, in float64 and bounded
    memory; 0 and 0 of a channel without any."""
    channels = series.shape[1]
    step = max(1, CHUNK_VALUES // max(1, int(np.prod(series.shape[1:]))))
    count, total, squares = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    guess = np.zeros(channels)  # summing around it keeps the variance from cancelling
    for start in range(0, len(rows), step):
        block = series[rows[start : start + step]].astype(np.float64)
        known = ~np.isnan(block)
        for channel in np.flatnonzero((count == 0) & known.any((0, 2))).tolist():
            guess[channel] = block[:, channel][known[:, channel]][0]
        away = np.where(known, block - guess[:, None], 0.0)
        count += known.sum((0, 2))
        total += away.sum((0, 2))
        squares += (away**2).sum((0, 2))
    most = np.maximum(count, 1)
    variance = np.maximum(squares / most - (total / most) ** 2, 0)
    return guess + total / most, np.sqrt(variance)
