"""Series from Python and from .npz: arrays, and lists of arrays of unequal length. No torch."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fitwell.data.files import PARTS
from fitwell.data.numbers import to_numpy
from fitwell.data.types import BadData, Options, Problem, refuse, some
from fitwell.spec import Spec

Notes: TypeAlias = list[Problem]
_LENGTHS = ("len", "lens", "length", "lengths")


def as_series(
    x: Any, where: str, options: Options, like: Spec | None = None
) -> tuple[np.ndarray, Notes] | None:
    """([example, channel, time] float32 with NaN behind the end of shorter series, notes); None where X is
    to be read as something else.

    X is series where `data.kind` or the model says so. Otherwise arrays of unequal length are, and numbers
    [example, channel, time] of which some are NaN or which have one channel, unless they are the whole
    numbers from 0 to 255 of images.

    Raises:
        BadData: it is to be series, and has another shape.
    """
    wanted = like.kind if like else options["kind"]
    if wanted not in ("auto", "series") or hasattr(x, "tocsr"):
        return None
    sure = wanted == "series"
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
    if not sure and not _are_series(array):
        return None
    notes: Notes = []
    if array.ndim == 2 and (like is None or like.input_shape[0] == 1):
        text = f"{where} is read as series of 1 channel and {array.shape[1]:,} steps."
        mend = "Give [example, channel, time] for more channels, or data.kind=table for columns."
        if like is None:
            notes.append(Problem("read_as_series", "note", (where,), text, mend))
        array = array[:, None]
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
    return _float32(array), notes


def _are_series(array: np.ndarray) -> bool:
    """Whether numbers are series without being called so."""
    if array.ndim != 3 or not array.size or array.dtype == np.uint8 or array.dtype.kind == "b":
        return False
    if array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255:
        return False
    return array.shape[1] == 1 or (array.dtype.kind == "f" and bool(np.isnan(array).any()))


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
        row[:, : array.shape[1]] = _float32(array)
    return out


def _float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def npz_panels(
    arrays: Mapping[str, np.ndarray],
    parts: Mapping[str, np.ndarray],
    options: Options,
    like: Spec | None,
    where: str,
) -> list[np.ndarray] | None:
    """The inputs of each part of an archive as series of one length, NaN behind their ends; None where they
    are no series.

    Args:
        arrays: all of the archive; those called `len_train`, `lengths` and so on say how many steps of each
            series are its own.
        parts: inputs by the name of their part.
    """
    wanted = like.kind if like else options["kind"]
    inputs = [x[:, None] if x.ndim == 2 and wanted == "series" else x for x in parts.values()]
    ends = [_length_array(arrays, part) for part in parts]
    series = wanted == "series" or (
        wanted == "auto"
        and any(end is not None or _are_series(x) for x, end in zip(inputs, ends, strict=True))
    )
    if not series or any(x.ndim != 3 or x.dtype.kind not in "iufb" for x in inputs):
        return None
    if len({x.shape[1] for x in inputs}) > 1:
        raise refuse(
            "channels_differ",
            f"{where}: its parts hold series of {some(str(x.shape[1]) for x in inputs)} channels.",
            "Save series of the same channels, as [example, channel, time].",
            where,
        )
    time = max(x.shape[2] for x in inputs)
    found = []
    for x, end in zip(inputs, ends, strict=True):
        out = np.full((*x.shape[:2], time), np.nan, np.float32)
        out[:, :, : x.shape[2]] = _float32(x)
        if end is not None:
            if end.shape != (len(x),) or end.dtype.kind not in "iu" or (end > x.shape[2]).any():
                raise refuse(
                    "lengths_differ",
                    f"{where}: the lengths of its series are {list(end.shape)} numbers up to "
                    f"{end.max() if end.size else 0}, for {len(x):,} series of {x.shape[2]:,} steps.",
                    "Save one whole number a series, no larger than its last axis.",
                    where,
                )
            out[np.broadcast_to((np.arange(time) >= end[:, None])[:, None], out.shape)] = np.nan
        found.append(out)
    return found


def _length_array(arrays: Mapping[str, np.ndarray], part: str) -> np.ndarray | None:
    """The array that says how many steps the series of a part have."""
    for name, array in arrays.items():
        words = re.findall(r"[a-z]+", name.lower())
        rest = [word for word in words if word not in _LENGTHS]
        own = [PARTS.get(word, word) for word in rest] == ([part] if part else [])
        if own and len(rest) < len(words):
            return array
    return None
