"""From what a reader found to `Data`: targets encoded, images sized, spec made. No torch."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from fitwell.data.labelled import Labelled
from fitwell.data.options import target_and_task
from fitwell.data.preprocess import unit_of
from fitwell.data.several import count_classes, encode_targets
from fitwell.data.types import Data, fingerprint, refuse
from fitwell.errors import SettingError
from fitwell.spec import PLURAL, Column, Kind, Spec


def assemble(
    inputs: np.ndarray,
    labelled: Labelled,
    options: Mapping[str, Any],
    *,
    kind: Kind | None = None,
    columns: tuple[Column, ...] = (),
    shape: tuple[int, ...] = (),
    vocabulary: int = 0,
    rate: int = 0,
    samples: int = 0,
    like: Spec | None = None,
) -> Data:
    """`Data` from inputs that a reader brought into shape, and what it knows of them.

    Args:
        inputs: images [example, channel, height, width], a table [example, column], texts [example],
            recordings [example, 1, samples], or series [example, channel, time].
        kind: what the examples are; by default images or a table, by the dimensions.
        columns: the columns of a table, in the order of `inputs`; by default all numeric.
        shape, vocabulary, rate, samples: of a kind whose examples become another shape: see `Spec`.
        like: the spec of a model that exists: its classes are used.
    """
    kind = kind or ("images" if inputs.ndim == 4 else "table")
    images = kind == "images"
    keys = [f"row {i}" for i in range(len(inputs))] if labelled.keys is None else labelled.keys
    keys, values, classes = np.asarray(keys), labelled.values, tuple(labelled.classes)
    inputs = _sized(inputs, options, like, kind)
    if not inputs.flags.c_contiguous:  # what is mapped stays known as mapped
        inputs = np.ascontiguousarray(inputs)
    if classes:
        values = np.asarray(classes)[np.asarray(values)]
    _, task = target_and_task(options, like)
    encoded = encode_targets(
        values,
        keys,
        target=labelled.target,
        targets=tuple(labelled.targets),
        task=task,
        images=kind in ("images", "audio"),
        classes=like.classes if like else classes,
        known=like.several if like else None,
    )
    if kind == "table" and not columns:
        fine = inputs.dtype == np.float64
        columns = tuple(Column(f"x{i}", fine=fine) for i in range(inputs.shape[1]))
    seen = _seen(inputs, options, like) if images else ()
    groups = labelled.groups
    counts = count_classes(encoded.targets, len(encoded.classes))
    if kind == "table":
        shape = (sum(len(column.features) for column in columns),)
    spec = Spec(
        kind=kind,
        task=encoded.task,
        input_shape=(inputs.shape[1], *seen) if images else shape,
        classes=encoded.classes,
        target=labelled.target,
        columns=columns,
        num_examples=len(inputs),
        class_counts=tuple(int(c) for c in counts),
        resize=like.resize if like else options["resize"],
        measured=images and bool(len(inputs)) and not unit_of(inputs, np.arange(len(inputs))),
        targets=encoded.names,
        vocabulary=vocabulary,
        rate=rate,
        samples=samples,
        stored=tuple(inputs.shape[2:]) if images and seen != inputs.shape[2:] else (),
    )
    return Data(
        name=slug(labelled.name),
        spec=spec,
        inputs=inputs,
        targets=encoded.targets,
        keys=keys,
        part=np.full(len(inputs), "", dtype="<U10") if labelled.part is None else labelled.part,
        problems=(*labelled.problems, *encoded.problems),
        fingerprint=fingerprint(inputs, encoded.targets),
        groups=None if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1),
        times=labelled.times,
    )


def slug(name: str) -> str:
    """A name fit for a folder.

    >>> slug("My photos (2024)")
    'my-photos-2024'
    """
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.") or "data"


def _seen(inputs: np.ndarray, options: Mapping[str, Any], like: Spec | None) -> tuple[int, ...]:
    """(height, width) of the part of each image that the model sees.

    Raises:
        SettingError: it is larger than the images.
    """
    if like:
        return like.input_shape[1:]
    side, size = options["crop_size"], inputs.shape[2:]
    if side > min(size):
        raise SettingError(
            f"data.crop_size = {side}: larger than the images, which are kept as {size[0]}x{size[1]}. Set "
            f"data.image_size to more than {side}, or leave it out.",
            setting="data.crop_size",
        )
    return (side, side) if side else tuple(size)


def _sized(
    inputs: np.ndarray, options: Mapping[str, Any], like: Spec | None, kind: Kind
) -> np.ndarray:
    """Images of the size asked for; anything else is left alone."""
    size = options["image_size"]
    if kind != "images":
        if size:
            raise refuse(
                "not_images",
                f"data.image_size = {size}, but this source holds {PLURAL[kind]}.",
                "Leave data.image_size out.",
                "data.image_size",
                setting="data.image_size",
            )
        return inputs
    wanted = like.kept_size if like else ((size, size) if size else inputs.shape[2:])
    if tuple(inputs.shape[2:]) == tuple(wanted) or not len(inputs):
        return inputs
    from fitwell.data.images import resize_array

    resize = like.resize if like else options["resize"]
    return resize_array(inputs, (int(wanted[0]), int(wanted[1])), resize)
