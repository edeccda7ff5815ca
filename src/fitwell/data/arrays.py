"""Arrays and tensors from Python: `(X, y)`. Torch is not imported: tensors are known by duck."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fitwell.data.assemble import assemble
from fitwell.data.digits import as_few, single
from fitwell.data.labelled import Labelled
from fitwell.data.numbers import to_numpy
from fitwell.data.options import target_and_task
from fitwell.data.panel_arrays import as_series
from fitwell.data.panels import series_data
from fitwell.data.texts import as_objects, text_data
from fitwell.data.types import Data, Problem, refuse, some
from fitwell.data.waves import are_waves, as_waves, waves_data
from fitwell.settings import is_number
from fitwell.spec import Spec


def read_arrays(
    x: Any,
    y: Any,
    options: dict[str, Any],
    *,
    name: str = "arrays",
    where: str = "X",
    keys: Sequence[str] | None = None,
    part: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
    target: str = "target",
    classes: Sequence[str] = (),
    like: Spec | None = None,
) -> Data:
    """`Data` of inputs X and targets y.

    Args:
        x: [example] texts, [example, feature], series [example, channel, time] or a list of [channel, time]
            of unequal length (see `as_series`), with `data.kind=audio` recordings (see `as_waves`), or
            images [example, height, width], [example, channel, height, width] or
            [example, height, width, channel]; numpy, torch, or anything numpy reads.
        y: [example] class labels (numbers, text, switches) or numbers; one-hot too; [example, target]
            several numbers, or 0 and 1 for labels of which an example may have several.
        where: what to call X in messages, such as a file.

    Raises:
        BadData: shapes that do not fit, NaN, infinite values, text, missing targets.
    """
    waves = as_waves(x, where, keys) if are_waves(options, like) else None
    texts = as_texts(x) if waves is None else None
    known: Any = texts if waves is None else waves
    series = as_series(x, where, options, like) if known is None else None
    array, notes = (known, []) if known is not None else series or inputs_array(x, where)
    _, task = target_and_task(options, like)
    values, more = targets_array(y, where, task)
    if len(array) != len(values):
        raise refuse(
            "lengths_differ",
            f"{where} has {len(array)} examples but y has {len(values)} targets.",
            "Give one target an example.",
            where,
        )
    if keys is None:
        keys = [f"row {i}" for i in range(len(array))]
    labelled = Labelled(
        name,
        values,
        keys,
        target=target,
        classes=classes,
        part=part,
        groups=groups,
        times=times,
        problems=[*notes, *more],
    )
    if waves is not None:
        return waves_data(waves, labelled, options, where=where, like=like)
    if texts is not None:
        return text_data(texts.tolist(), labelled, options, like=like)
    if series is not None:
        return series_data(array, labelled, options, where=where, like=like)
    refuse_nonfinite(array, keys, where)
    return assemble(array, labelled, options, like=like)


def as_texts(x: Any, *, numbers: bool = False) -> np.ndarray | None:
    """[example] objects where X is a list or an array of texts; what is missing is an empty one.

    Args:
        numbers: take texts that are all numbers too.
    """
    if not isinstance(x, list | tuple):
        array = to_numpy(x)
        if array.ndim != 1 or array.dtype.kind not in "OU":
            return None
        x = array.tolist()
    said = [text for text in x if isinstance(text, str)]
    if not said or not all(isinstance(v, str) or v is None or v != v for v in x):
        return None
    if not numbers and all(is_number(text) for text in said):
        return None
    return as_objects([text if isinstance(text, str) else "" for text in x])


def inputs_array(x: Any, where: str, like: Spec | None = None) -> tuple[np.ndarray, list[Problem]]:
    """X as images [example, channel, height, width] or a table [example, column], and notes.

    Args:
        like: what a network knows of its columns: how many digits it needs is not asked of a few rows.
    """
    if hasattr(x, "tocsr"):
        raise refuse(
            "sparse",
            f"{where} is a sparse matrix, which fitwell does not read.",
            "Pass X.toarray().",
            where,
        )
    try:
        array = to_numpy(x)
    except ValueError as error:
        raise refuse(
            "ragged",
            f"{where} is not a rectangular array: {error}.",
            "Give examples of equal shape.",
            where,
        ) from None
    array = _numeric(array, where, like)
    notes: list[Problem] = []
    if array.ndim == 3:
        array = array[:, None]
        size = f"{array.shape[2]}x{array.shape[3]}"
        text = f"{where} has 3 dimensions and is read as grey images of {size}."
        mend = "Flatten X for a table; set data.kind=series for series [example, channel, time]."
        notes = [Problem("read_as_images", "note", (where,), text, mend)]
    elif array.ndim == 4 and array.shape[1] not in (1, 3, 4) and array.shape[3] in (1, 3, 4):
        array = array.transpose(0, 3, 1, 2)
        text = f"{where} is read as [example, height, width, channel], from its shape."
        notes = [Problem("channels_moved", "note", (where,), text, "Transpose X if that is wrong.")]
    elif array.ndim not in (2, 4):
        raise refuse(
            "wrong_shape",
            f"{where} has shape {list(array.shape)}; inputs have 2 dimensions (a table), "
            "3 or 4 (images).",
            "Reshape it: X.reshape(-1, 1) is one feature an example, X.reshape(1, -1) one example.",
            where,
        )
    if 0 in array.shape:
        raise refuse(
            "empty",
            f"{where} has shape {list(array.shape)}: no examples, or none of their features.",
            "Give at least one example and one feature; several hundred for training.",
            where,
        )
    return array, notes


def refuse_nonfinite(array: np.ndarray, keys: Sequence[str], where: str) -> None:
    """Refuse NaN and infinite inputs by row."""
    if array.dtype.kind != "f":
        return
    bad = np.logical_not(np.isfinite(single(array).reshape(len(array), -1)).all(axis=1))
    if bad.any():
        names = [str(keys[i]) for i in np.flatnonzero(bad).tolist()]
        raise refuse(
            "nonfinite_inputs",
            f"{where}: {len(names)} of {len(array)} examples hold NaN or infinite values "
            f"({some(names)}), or numbers too large for float32.",
            "Fill them in or leave those rows out; a CSV or DataFrame may have missing inputs.",
            names,
        )


def _numeric(array: np.ndarray, where: str, like: Spec | None) -> np.ndarray:
    """uint8 for images of whole numbers from 0 to 255; otherwise float32, or float64 of a table whose
    numbers need it."""
    if array.dtype.kind == "c":
        raise refuse(
            "complex",
            f"{where}: Complex data not supported; inputs are real numbers.",
            "Pass real and imaginary part as two features.",
            where,
        )
    if array.dtype.kind in "OUS":
        try:
            array = array.astype(np.float64)
        except (ValueError, TypeError):
            raise refuse(
                "not_numeric",
                f"{where} holds text or objects ({array.dtype}); an array of inputs holds numbers.",
                "Pass a DataFrame with categories, or encode the text as numbers.",
                where,
            ) from None
    if array.ndim >= 3 and array.dtype.kind in "iub" and array.size:
        if array.dtype == np.uint8:
            return array
        if array.min() >= 0 and array.max() <= 255:
            return array.astype(np.uint8) * (255 if array.dtype.kind == "b" else 1)
    if array.ndim != 2:
        return single(array)
    if like is None:
        return as_few(array)
    fine = any(column.fine for column in like.columns)
    return array.astype(np.float64) if fine else single(array)


def targets_array(y: Any, where: str, task: str = "auto") -> tuple[np.ndarray, list[Problem]]:
    """y as [example] or [example, target], and notes."""
    values = to_numpy(y)
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0], []
    one_hot = task in ("auto", "classification") and values.ndim == 2
    if one_hot and values.dtype.kind in "iufb" and len(values):
        if np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all():
            text = f"y of {where} is one-hot; the column of the 1 is the class."
            mend = "If an example may have several of its columns, set data.task=multilabel."
            note = Problem("one_hot_target", "note", ("y",), text, mend)
            return values.argmax(1), [note]
    if values.ndim not in (1, 2) or 0 in values.shape[1:]:
        raise refuse(
            "wrong_target_shape",
            f"y of {where} has shape {list(values.shape)}; it has a class or number an example, or a row "
            "of several.",
            "Give y with one or two dimensions.",
            "y",
        )
    return values, []
