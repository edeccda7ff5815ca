"""Many series, each with a target, to `Data`. No torch."""

from collections.abc import Sequence

import numpy as np

from fitwell.data.assemble import assemble
from fitwell.data.labelled import Labelled
from fitwell.data.steps import lengths
from fitwell.data.types import BadData, Data, Options, Problem, listed, many, refuse, some
from fitwell.spec import Spec


def series_data(
    array: np.ndarray,
    labelled: Labelled,
    options: Options,
    *,
    where: str,
    like: Spec | None = None,
) -> Data:
    """`Data` of series; those without a value are left out and listed.

    Args:
        array: [example, channel, time] float32, NaN behind the end and where a value is missing.
        where: what to call it in messages.
        like: the spec of a model: its channels are needed, and so many steps as it has are read.

    Raises:
        BadData: none has a value, or there are other channels than the model reads.
    """
    assert labelled.keys is not None
    inputs, kept, found = fitted(array, labelled.keys, where, like)
    shape = inputs.shape[1:]
    return assemble(
        inputs, labelled.only(kept, found), options, kind="series", shape=shape, like=like
    )


def fitted(
    array: np.ndarray, keys: Sequence[str] | np.ndarray, where: str, like: Spec | None
) -> tuple[np.ndarray, np.ndarray, list[Problem]]:
    """(series that have a value, as long as the longest or as the model reads them; [example] which these
    are; notes)."""
    ends = lengths(array)
    kept = ends > 0
    empty = [str(key) for key, stays in zip(keys, kept, strict=True) if not stays]
    what = ("series without a single value left out",) * 2
    found = listed("empty_series", "warning", what, "Fill them in, or remove them.", empty)
    if not kept.any():
        text = f"None of the {len(array):,} series of {where} has a value."
        first = Problem("no_series", "error", (where,), text, "Give series of numbers.")
        raise BadData([first, *found])
    refuse_other_channels(array.shape[1], where, like)
    time = like.input_shape[1] if like is not None else int(ends.max())
    long = tuple(str(key) for key, end in zip(keys, ends, strict=True) if end > time)
    if long:
        text = f"Of {len(long):,} series only the first {time:,} steps are read: {some(long)}."
        mend = "The model was trained on series no longer than that; train it on longer ones."
        found.append(Problem("series_cut", "warning", long, text, mend))
    array = array[kept, :, :time]
    if array.shape[2] < time:
        more = ((0, 0), (0, 0), (0, time - array.shape[2]))
        array = np.pad(array, more, constant_values=np.nan)
    array = np.ascontiguousarray(array, np.float32)
    array[np.isnan(array)] = np.nan  # of one bit pattern, so that copies are equal byte for byte
    return array, kept, found


def refuse_other_channels(channels: int, where: str, like: Spec | None) -> None:
    """Refuse series of other channels than a model reads."""
    if like is not None and channels != like.input_shape[0]:
        raise refuse(
            "wrong_shape",
            f"{where} holds series of {many(channels, 'channel')}, and this model reads "
            f"{like.input_shape[0]}.",
            "Give it as the training data was.",
            where,
        )
