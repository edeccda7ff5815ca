"""Digits that numbers need: float32, or float64 where that makes different ones equal. No torch."""

import numpy as np

LOOKED_AT = 20_000  # values of a column, half of them in a row and half from all over it
MERGED = 0.002  # share of the different values that may become equal: that many do by chance
ROUNDING = 1e-13  # relative: what differs by less differs by how it was computed


def single(numbers: np.ndarray) -> np.ndarray:
    """The numbers as float32, too large ones infinite."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)


def as_few(numbers: np.ndarray) -> np.ndarray:
    """[row] or [row, column] float32; float64 where that would make different values of a column equal.

    >>> as_few(np.arange(3.0)).dtype.name, as_few(1.6e9 + np.arange(3.0)).dtype.name
    ('float32', 'float64')
    """
    narrow = single(numbers)
    if np.array_equal(narrow, numbers, equal_nan=True):
        return narrow
    columns = numbers.T if numbers.ndim == 2 else [numbers]
    return np.asarray(numbers, np.float64) if any(map(_merge, columns)) else narrow


def _merge(numbers: np.ndarray) -> bool:
    """Whether float32 makes different values equal: some of few, or more of many than chance does."""
    seen = numbers
    if len(numbers) > LOOKED_AT:
        half = LOOKED_AT // 2
        seen = np.concatenate([numbers[:half], numbers[half :: -(-len(numbers) // half)]])
    values = np.unique(seen[np.isfinite(single(seen))]).astype(np.float64)
    differ = np.diff(values) > ROUNDING * np.abs(values[1:])
    merged = (np.diff(single(values)) == 0) & differ
    return bool(merged.sum() > MERGED * len(values))
