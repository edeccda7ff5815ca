"""Series from Python: arrays, and lists of arrays of unequal length. No torch."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from fitwell.data.numbers import to_numpy
from fitwell.data.steps import lengths
from fitwell.data.types import BadData, Options, Problem, many, refuse, some
from fitwell.spec import Spec

Notes: TypeAlias = list[Problem]


def as_series(
    x: Any, where: str, options: Options, like: Spec | None = None
) -> tuple[np.ndarray, Notes] | None:
    """([example, channel, time] float32 with NaN behind the end of shorter series, notes); None where X is
    to be read as something else.

    X is series where `data.kind` or the model says so. Otherwise arrays of unequal length are, and numbers
    [example, channel, time] of which some end in NaN or which have one channel, unless they are the whole
    numbers from 0 to 255 of images.

    Raises:
        BadData: it is to be series, and has another shape; or NaN stands elsewhere, and nothing says
            whether these are series or images.
    """
    wanted = like.kind if like else options["kind"]
    if wanted not in ("auto", "series") or hasattr(x, "tocsr"):
        return None
    sure = wanted == "series"
    if getattr(getattr(x, "dtype", None), "kind", "") == "O" and x.ndim == 1:
        x = list(x)
    if isinstance(x, list | tuple) and (found := _of_unequal(x, where, sure)):
        return found
    try:
        array = to_numpy(x)
        if array.dtype.kind in "OUS" and sure:
            array = array.astype(np.float64)
    except (ValueError, TypeError):
        return None  # `inputs_array` says what is wrong
    if array.dtype.kind not in "iufb":
        return None
    if not sure and not are_series([array], where):
        return None
    notes: Notes = [] if sure else [read_as_series(where, array)]
    if array.ndim == 2 and (like is None or like.input_shape[0] == 1):
        array = array[:, None]
        if like is None:
            notes.append(read_as_series(where, array, "data.kind=table for columns"))
    if array.ndim != 3:
        raise refuse(
            "wrong_shape",
            f"{where} has shape {list(array.shape)}; series are [example, channel, time], or "
            "[example, time] of one channel.",
            "Reshape it; one series alone is X[None].",
            where,
        )
    if 0 in array.shape:
        raise refuse(
            "empty",
            f"{where} has shape {list(array.shape)}: no series, or none of their steps.",
            "Give at least one series of two steps; several hundred for training.",
            where,
        )
    if array.shape[1] > array.shape[2] and like is None:
        text = f"{where} is read as {array.shape[1]:,} channels of {array.shape[2]:,} steps."
        mend = "If the steps come first, give X.transpose(0, 2, 1)."
        notes.append(Problem("more_channels_than_steps", "note", (where,), text, mend))
    return as_float32(array), notes


def read_as_series(
    where: str, array: np.ndarray, otherwise: str = "data.kind=images for grey images"
) -> Problem:
    """The note that [example, channel, time] was taken for series without being called so."""
    text = f"{where} is read as series of {many(array.shape[1], 'channel')} and {array.shape[2]:,} steps."
    mend = f"Set data.kind=series to be sure, or {otherwise}; series are [example, channel, time]."
    return Problem("read_as_series", "note", (where,), text, mend)


def are_series(arrays: Sequence[np.ndarray], where: str) -> bool:
    """Whether numbers are series without being called so: of any of these, the parts of one source.

    Raises:
        BadData: they have NaN inside alone, which images cannot have, and series may.
    """
    if any(_one_channel(array) or _ends_in_nan(array) for array in arrays):
        return True
    rows = [
        i
        for array in arrays
        if array.ndim == 3 and array.dtype.kind == "f"
        for i in np.flatnonzero(np.isnan(array).any((1, 2))).tolist()
    ]
    if rows:
        names = [f"row {i}" for i in rows]
        raise refuse(
            "nonfinite_inputs",
            f"{where}: {len(rows)} of {sum(map(len, arrays))} examples hold NaN ({some(names)}), which "
            "images cannot have.",
            "If these are images, fill them in or leave those rows out; if they are series "
            "[example, channel, time] with missing values, set data.kind=series.",
            names,
            setting="data.kind",
        )
    return False


def _one_channel(array: np.ndarray) -> bool:
    """Whether the channel axis is 1, unless these are the brightnesses of images."""
    if array.ndim != 3 or not array.size or array.dtype == np.uint8 or array.dtype.kind == "b":
        return False
    if array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255:
        return False
    return array.shape[1] == 1


def _ends_in_nan(array: np.ndarray) -> bool:
    """Whether NaN stands behind the end of some series."""
    if array.ndim != 3 or not array.size or array.dtype.kind != "f":
        return False
    ends = lengths(array)
    return bool(((ends > 0) & (ends < array.shape[2])).any())


def _of_unequal(x: Sequence[Any], where: str, sure: bool) -> tuple[np.ndarray, Notes] | None:
    """Of a list of arrays of unequal length; None where it is something else."""
    plain = (list, tuple) if sure else ()
    if not x or not all(hasattr(each, "ndim") or isinstance(each, plain) for each in x):
        return None
    try:
        arrays = [to_numpy(each) for each in x]
        kinds = {array.dtype.kind for array in arrays}
    except (ValueError, TypeError):
        return None
    dimensions = {array.ndim for array in arrays}
    if dimensions not in ({1}, {2}) or not kinds <= set("iufb"):
        return None
    if not sure and kinds <= set("ub"):  # images of several sizes
        return None
    if len({array.shape for array in arrays}) == 1:
        return None
    notes: Notes = []
    if dimensions == {1}:
        arrays = [array[None] for array in arrays]
    elif len({len(array) for array in arrays}) > 1:
        if len({array.shape[1] for array in arrays}) > 1:
            if sure:
                raise _channels_differ(arrays, where)
            return None
        text = (
            f"{where} holds arrays that agree in their second axis, which is read as the channels."
        )
        mend = "Give each as [channel, time] if that is wrong."
        notes = [Problem("series_transposed", "note", (where,), text, mend)]
        arrays = [array.T for array in arrays]
    return padded(arrays), notes


def _channels_differ(arrays: Sequence[np.ndarray], where: str) -> BadData:
    odd = next(i for i, array in enumerate(arrays) if len(array) != len(arrays[0]))
    return refuse(
        "channels_differ",
        f"{where}: row 0 has {len(arrays[0])} channels, row {odd} {len(arrays[odd])}.",
        "Give every series the same channels, as [channel, time].",
        ("row 0", f"row {odd}"),
    )


def padded(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """[example, channel, time] float32 of arrays [channel, time], NaN behind the end of shorter ones.

    >>> padded([np.ones((1, 2)), np.ones((1, 3))])[0].tolist()
    [[1.0, 1.0, nan]]
    """
    shape = (len(arrays), len(arrays[0]), max(array.shape[1] for array in arrays))
    out = np.full(shape, np.nan, np.float32)
    for row, array in zip(out, arrays, strict=True):
        row[:, : array.shape[1]] = as_float32(array)
    return out


def as_float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return array.astype(np.float32)
