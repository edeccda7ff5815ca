"""Arrays whose rows share memory: hashed, saved and copied by what lies under them. No torch."""

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.lib.stride_tricks import as_strided


def is_view(array: np.ndarray) -> bool:
    """Whether rows of the array share memory, as windows do.

    >>> windows = np.lib.stride_tricks.sliding_window_view(np.arange(9), 4)
    >>> is_view(windows), is_view(windows.copy())
    (True, False)
    """
    low, high = byte_bounds(array)
    return array.nbytes > high - low


def under(array: np.ndarray) -> np.ndarray:
    """[number] what a view of overlapping windows is a view of, from its first number to its last."""
    low, high = byte_bounds(array)
    return as_strided(array, ((high - low) // array.itemsize,), (array.itemsize,), writeable=False)


def view_of(numbers: np.ndarray, shape: list[int], strides: list[int]) -> np.ndarray:
    """The view again that `under` gave the numbers of."""
    return as_strided(numbers, shape, strides)
