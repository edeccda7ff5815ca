"""What is wrong with many series: lengths that vary, missing values, what never changes. No torch."""

from collections.abc import Iterator

import numpy as np

from fitwell.data.common_checks import without_content
from fitwell.data.steps import lengths, missing_inside
from fitwell.data.types import Data, Options, Problem, many, some

LEAST_STEPS = 2  # a single value has no course
MOSTLY_MISSING = 0.5


def series_lengths(data: Data, options: Options) -> Iterator[Problem]:
    """How long the series are, where that varies, and those of one step."""
    if data.spec.kind != "series" or data.spec.is_whole or not len(data):
        return
    ends = lengths(data.inputs)
    if ends.min() < ends.max():
        shortest, longest = (str(data.keys[i]) for i in (ends.argmin(), ends.argmax()))
        yield Problem(
            "lengths_vary",
            "note",
            (shortest, longest),
            f"The series have {ends.min():,} to {ends.max():,} steps, {np.median(ends):,.0f} in the "
            f"median; the shortest is {shortest}, the longest {longest}.",
            "Nothing to do: behind its end a shorter one is filled up with 0, which is the mean.",
        )
    short = ends < LEAST_STEPS
    if short.any():
        names = tuple(str(key) for key in data.keys[short])
        yield Problem(
            "short_series",
            "error" if short.all() else "warning",
            names,
            f"{len(names)} of {len(data)} series have one step only: {some(names)}.",
            "Leave them out; to learn from single values, give a table.",
        )


def series_values(data: Data, options: Options) -> Iterator[Problem]:
    """Missing values, channels and series that never change."""
    if data.spec.kind != "series" or data.spec.is_whole or not len(data):
        return
    yield from _missing(data)
    low, high = _range(data.inputs)
    flat = low == high  # [example, channel]; of no value both are nan, which is another problem
    alone = data.inputs.shape[1] == 1
    if not alone:
        yield from _flat_channels(data, low, high, flat)
    constant = (flat | np.isnan(low)).all(1) & (lengths(data.inputs) >= LEAST_STEPS)
    mend = "See whether the sensor was on; leave them out if not."
    yield from without_content(data, constant, "constant_series", "series never change", mend)


def _range(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[example, channel] smallest and largest known value; nan where there is none."""
    known = ~np.isnan(series)
    low = np.where(known, series, np.inf).min(2)
    high = np.where(known, series, -np.inf).max(2)
    none = ~known.any(2)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def _missing(data: Data) -> Iterator[Problem]:
    missing = missing_inside(data.inputs)
    counts = missing.sum((1, 2))
    if not counts.any():
        return
    rows = np.flatnonzero(counts)
    names = tuple(str(data.keys[i]) for i in rows)
    size = lengths(data.inputs) * data.inputs.shape[1]
    mostly = [str(data.keys[i]) for i in rows if counts[i] > MOSTLY_MISSING * size[i]]
    channels = np.flatnonzero(missing.any((0, 2))).tolist()
    said = f" in {many(len(channels), 'channel')} ({some(map(str, channels))})" * (
        missing.shape[1] > 1
    )
    yield Problem(
        "missing_values",
        "warning" if mostly else "note",
        names,
        f"{many(int(counts.sum()), 'value')} of {len(rows):,} of {len(data):,} series "
        f"{'is' if counts.sum() == 1 else 'are'} missing{said}: {some(names)}"
        + (f"; mostly missing: {some(mostly)}." if mostly else "."),
        "They are filled on the line between their neighbours in time"
        + ("; leave out the series that are mostly missing." if mostly else "."),
    )


def _flat_channels(
    data: Data, low: np.ndarray, high: np.ndarray, flat: np.ndarray
) -> Iterator[Problem]:
    """Channels that never change in any series, and series in which some channel does not."""
    none = np.isnan(low).all(0)
    with np.errstate(invalid="ignore"):
        first = np.where(np.isnan(low), np.inf, low).min(0)
        last = np.where(np.isnan(high), -np.inf, high).max(0)
    same = np.flatnonzero((first == last) | none)
    if len(same) and len(data) > 1:
        every = len(same) == data.inputs.shape[1]
        if not every:
            yield Problem(
                "constant_channel",
                "warning",
                tuple(f"channel {channel}" for channel in same),
                f"{len(same)} of {data.inputs.shape[1]} channels never change, in any series: "
                f"{some(map(str, same.tolist()))} (counted from 0).",
                "Leave them out.",
            )
    rest = np.setdiff1d(np.arange(flat.shape[1]), same)
    partly = flat[:, rest].any(1) & ~(flat | np.isnan(low)).all(1)
    partly &= lengths(data.inputs) >= LEAST_STEPS
    if partly.any():
        names = tuple(str(key) for key in data.keys[partly])
        channels = rest[flat[:, rest][partly].any(0)]
        yield Problem(
            "flat_channel",
            "note",
            names,
            f"In {len(names)} of {len(data)} series a channel never changes that does in others "
            f"(channel {some(map(str, channels.tolist()))}): {some(names)}.",
            "See whether the sensor was on.",
        )
