"""The data of a trial whose recipe reads it otherwise: pictures with boxes at another size."""

from dataclasses import replace

import numpy as np

from fitwell.data import read
from fitwell.data.types import Data
from fitwell.errors import DataError
from fitwell.recipe import Recipe

# The last one, since trials of an arm follow each other: fingerprint of the data and how it is read -> it.
_last: dict[tuple[str, str], Data] = {}


def read_for(data: Data, recipe: Recipe) -> Data:
    """The data as the recipe reads it: the same pictures, boxes and parts, at its `data.image_size`.

    Overlaps of boxes do not change with the size of a picture, so scores are compared as they are.

    Raises:
        DataError: the source cannot be read any more, or holds other pictures by now.
    """
    side = recipe.get("data.image_size")
    if data.spec.kind != "boxes" or not side or side == data.spec.input_shape[-1]:
        return data
    source = str(recipe.get("source", ""))
    options = {**recipe.section("data"), "seed": recipe["train.seed"]}
    place = data.fingerprint, repr((source, sorted(options.items())))
    if place in _last:
        return _last[place]
    found = read(source, options)
    if not np.array_equal(found.keys, data.keys):
        raise DataError(
            f"{source} holds other pictures than it did when the trials began. Start again.",
            where=source,
        )
    spec = replace(data.spec, input_shape=found.spec.input_shape)
    pixels = {"inputs": found.inputs, "targets": found.targets, "fingerprint": found.fingerprint}
    _last.clear()
    _last[place] = replace(data, spec=spec, **pixels)
    return _last[place]
