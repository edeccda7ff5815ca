"""From where to where the values of data go: columns, targets, pixels, lengths. No torch."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fitwell.data import steps
from fitwell.data.dates import as_text
from fitwell.data.types import Data
from fitwell.data.words import words_of
from fitwell.spec import Column

# Columns and lengths are of all examples; what fills an example (pixels, samples, words) is of as many as
# make this many values, spread over the source.
LOOKED_AT = 20_000_000
_WORDS = 1000  # a text is taken to have at most
_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Range:
    """The values of one thing: a column, a target, the pixels of a channel, how long examples are.

    Args:
        name: of the column or target, or what is measured.
        low, middle, high: smallest, median and largest value; dates as text, None where none is known.
        missing: values that are not there.
        different: of a column of categories, how many there are; 0 for numbers.
        usual: of a column of categories, the most frequent one.
        of: examples that were looked at.
    """

    name: str
    low: float | str | None = None
    middle: float | str | None = None
    high: float | str | None = None
    missing: int = 0
    different: int = 0
    usual: str = ""
    of: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def ranges(data: Data) -> list[Range]:
    """What the values of the data are, its target last.

    >>> from fitwell.data import read
    >>> [(r.name, r.low, r.high) for r in ranges(read("diabetes"))][-1]
    ('progression', 25.0, 346.0)
    """
    found = list(_inputs(data))
    if data.spec.task == "regression":
        found += [_numbers(name, values) for name, values in data.each_target()]
    return found


def _inputs(data: Data) -> Iterator[Range]:
    kind = data.spec.kind
    if data.spec.task == "language":
        return
    if kind == "table":
        for column, values in zip(data.spec.columns, data.inputs.T, strict=True):
            yield _column(column, values)
    elif kind == "series":
        names = [column.name for column in data.spec.columns]
        names = names or [f"channel {i + 1}" for i in range(data.inputs.shape[1])]
        seen = data.inputs[_spread(data)]
        inside = np.arange(seen.shape[2]) < steps.lengths(seen)[:, None]
        for i, name in enumerate(names):
            yield _numbers(name, seen[:, i][inside], len(seen))
        if data.spec.task != "forecasting":
            yield _numbers("steps", steps.lengths(data.inputs))
    elif kind == "text":
        seen = data.inputs[_spread(data)]
        yield _numbers("words", np.array([len(words_of(text)) for text in seen]))
    elif kind == "audio":
        seen = data.inputs[_spread(data)]
        loudest = np.array([np.abs(one.astype(np.int32)).max() / 32768 for one in seen])
        yield _numbers("loudest sample of 1", loudest)
    else:
        yield from _pixels(data)
    if kind == "boxes":
        yield from _boxes(data)


def _spread(data: Data) -> np.ndarray:
    """Rows spread over the data, so many that `LOOKED_AT` values are looked at."""
    size = _WORDS if data.spec.kind == "text" else int(np.prod(data.inputs.shape[1:]))
    count = min(len(data), max(1, LOOKED_AT // max(1, size)))
    return np.linspace(0, len(data) - 1, count).astype(int)


def _column(column: Column, values: np.ndarray) -> Range:
    if column.kind == "category":
        codes = values[np.isfinite(values)].astype(np.int64)
        counts = np.bincount(codes, minlength=len(column.categories) or 1)
        usual = column.categories[int(counts.argmax())] if counts.any() else ""
        missing = len(values) - len(codes)
        different = int((counts > 0).sum())
        return Range(column.name, missing=missing, different=different, usual=usual, of=len(values))
    found = _numbers(column.name, values)
    if column.kind != "date" or found.low is None:
        return found
    low, middle, high = (as_text(float(v or 0)) for v in (found.low, found.middle, found.high))
    return Range(column.name, low, middle, high, found.missing, of=found.of)


def _numbers(name: str, values: np.ndarray, of: int = 0, missing: int | None = None) -> Range:
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    gone = int((values != values).sum()) if missing is None else missing
    if not len(known):
        return Range(name, missing=gone, of=of or len(values))
    # Through text: a 25.7 of float32 is to be told as 25.7.
    low, middle, high = (float(str(f(known))) for f in (np.min, np.median, np.max))
    return Range(name, low, middle, high, gone, of=of or len(values))


def _pixels(data: Data) -> Iterator[Range]:
    seen = data.inputs[_spread(data)]
    channels = seen.shape[1]
    names = {1: ("grey",), 3: _COLOURS}.get(channels, tuple(str(i + 1) for i in range(channels)))
    for i, name in enumerate(names):
        yield _numbers(f"pixels, {name}", seen[:, i].ravel(), len(seen), 0)


def _boxes(data: Data) -> Iterator[Range]:
    boxes = data.targets
    real = np.isfinite(boxes[:, :, 0])
    yield _numbers("boxes in a picture", real.sum(1))
    for name, low, high in (("width", 1, 3), ("height", 2, 4)):
        yield _numbers(
            f"{name} of a box", (boxes[:, :, high] - boxes[:, :, low])[real], len(data), 0
        )
