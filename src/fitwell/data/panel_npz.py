"""Series in `.npz` archives: how long each is, and parts of different lengths. No torch."""

import re
from collections.abc import Mapping

import numpy as np

from fitwell.data.names import PARTS
from fitwell.data.panel_arrays import are_series, as_float32
from fitwell.data.types import Options, refuse, some
from fitwell.spec import Spec

_LENGTHS = ("len", "lens", "length", "lengths")


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
    sure = wanted == "series"
    ends = [
        _length_array(arrays, part, len(x), sure) for part, x in zip(parts, inputs, strict=True)
    ]
    series = sure or (
        wanted == "auto" and (any(end is not None for end in ends) or are_series(inputs, where))
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
        out[:, :, : x.shape[2]] = as_float32(x)
        if end is not None:
            _refuse_lengths(end, x, where)
            out[np.broadcast_to((np.arange(time) >= end[:, None])[:, None], out.shape)] = np.nan
        found.append(out)
    return found


def _refuse_lengths(end: np.ndarray, x: np.ndarray, where: str) -> None:
    """Refuse lengths that are not a whole number a series, from 1 to as many as there are steps."""
    what = ""
    if end.shape != (len(x),):
        what = f"have shape {list(end.shape)}"
    elif end.dtype.kind not in "iuf":
        what = f"are of type {end.dtype}"
    elif (odd := np.flatnonzero(~((end >= 1) & (end <= x.shape[2]) & (end == np.floor(end))))).size:
        what = f"hold {some([f'{end[i]} for row {i}' for i in odd.tolist()])}"
    if what:
        raise refuse(
            "lengths_differ",
            f"{where}: the lengths of its series {what}, and there are {len(x):,} series of "
            f"{x.shape[2]:,} steps.",
            "Save one whole number a series, from 1 to the size of its last axis.",
            where,
        )


def _length_array(
    arrays: Mapping[str, np.ndarray], part: str, count: int, sure: bool
) -> np.ndarray | None:
    """The array that says how many steps each of the `count` series of a part has.

    Args:
        sure: these are series; otherwise an array of another shape says something else.
    """
    for name, array in arrays.items():
        if not array.ndim or not (sure or array.shape == (count,)):
            continue
        words = re.findall(r"[a-z]+", name.lower())
        rest = [word for word in words if word not in _LENGTHS]
        own = [PARTS.get(word, word) for word in rest] == ([part] if part else [])
        if own and len(rest) < len(words):
            return array
    return None
