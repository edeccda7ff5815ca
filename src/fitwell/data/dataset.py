"""Torch Datasets, read once into memory. Torch is not imported: items are known by duck."""

from typing import Any

import numpy as np

from fitwell.data.arrays import read_arrays
from fitwell.data.assemble import slug
from fitwell.data.images import choose_size, pixels
from fitwell.data.numbers import to_numpy
from fitwell.data.panel_arrays import as_series
from fitwell.data.types import Data, Problem, refuse
from fitwell.spec import Spec


def read_dataset(dataset: Any, options: dict[str, Any], *, like: Spec | None = None) -> Data:
    """`Data` of a map-style Dataset of (input, target) items.

    Each item is read once: what its transforms draw at random stays as drawn.

    Raises:
        BadData: no length, items that are not pairs, or inputs of different shapes.
    """
    name = type(dataset).__name__
    try:
        length = len(dataset)
    except TypeError:
        raise refuse(
            "no_length",
            f"{name} has no length, so it cannot be split.",
            "Give a Dataset with __len__ and __getitem__, or arrays (X, y).",
            name,
        ) from None
    if not length:
        raise refuse("empty", f"{name} is empty.", "Give at least one example.", name)
    tensors = getattr(dataset, "tensors", None)
    if isinstance(tensors, tuple) and len(tensors) == 2:
        return read_arrays(*tensors, options, name=slug(name), where=name, like=like)
    inputs, targets = [], []
    for i in range(length):
        try:
            item = dataset[i]
        except Exception as error:  # of a class that is somebody else's
            raise refuse(
                "unreadable_example",
                f"{name}[{i}] of {length:,} cannot be read: {type(error).__name__}: {error}.",
                "Mend its __getitem__, or leave that index out (torch.utils.data.Subset).",
                f"row {i}",
            ) from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise refuse(
                "not_a_pair",
                f"{name}[{i}] is a {type(item).__name__}, not a pair (input, target).",
                "Return (input, target) from __getitem__.",
                f"row {i}",
            )
        inputs.append(item[0])
        targets.append(item[1])
    x = _stack(inputs, name, options, like)
    y = np.array([to_numpy(t).item() if _is_scalar(t) else to_numpy(t) for t in targets])
    classes = getattr(dataset, "classes", None)
    whole = y.ndim == 1 and y.dtype.kind in "iu"
    named = isinstance(classes, list | tuple) and whole and y.min() >= 0 and y.max() < len(classes)
    data = read_arrays(
        x,
        y,
        {**options, "image_size": 0} if x.dtype == np.uint8 and not like else options,
        name=slug(name),
        where=name,
        classes=[str(c) for c in classes]
        if named and classes and options["task"] != "regression"
        else (),
        like=like,
    )
    if getattr(dataset, "transform", None) is None and getattr(dataset, "transforms", None) is None:
        return data
    text = f"{name} was read once; random transforms of it stay as they were drawn."
    note = Problem("read_once", "note", (name,), text, "Use augment.* for fresh ones each epoch.")
    return data.with_problems([*data.problems, note])


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, str) and np.ndim(to_numpy(value)) == 0


def _stack(inputs: list[Any], name: str, options: dict[str, Any], like: Spec | None) -> np.ndarray:
    """[example, ...] of tensors, arrays, numbers or PIL images."""
    if all(hasattr(x, "getexif") for x in inputs):
        side = options["image_size"]
        size = (side, side) if side else choose_size([(x.height, x.width) for x in inputs])
        grey = all(x.mode in ("1", "L", "I", "I;16", "F") for x in inputs)
        if like:
            size, grey = like.kept_size, like.input_shape[0] == 1
        resize = like.resize if like else options["resize"]
        return np.stack([pixels(x, size, grey, resize) for x in inputs])
    arrays = [to_numpy(x) for x in inputs]
    shapes = {a.shape for a in arrays}
    wanted = like.kind if like else options["kind"]
    if len(shapes) > 1 and wanted == "series" and (found := as_series(arrays, name, options, like)):
        return found[0]
    if len(shapes) > 1:
        odd = next(i for i, a in enumerate(arrays) if a.shape != arrays[0].shape)
        raise refuse(
            "sizes_differ",
            f"{name}: row 0 has shape {[*arrays[0].shape]}, row {odd} {[*arrays[odd].shape]}.",
            "Resize them in the Dataset's transform.",
            ("row 0", f"row {odd}"),
        )
    stacked = np.stack(arrays)
    return stacked[:, None] if stacked.ndim == 1 else stacked
