"""Layers by textbook name: each entry is a builder `(shape, *, settings) -> nn.Module`.

`shape` is what one example looks like when it arrives, the batch left out: no layer has to be
told how many channels or features come in.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from fitwell.nn.arithmetic import cost
from fitwell.nn.layers.normalising import batchnorm1d, batchnorm2d, groupnorm, layernorm
from fitwell.nn.layers.shaping import dropout, dropout2d, flatten, tokens, unflatten
from fitwell.nn.layers.weights import attention, conv1d, conv2d, linear
from fitwell.nn.layers.windows import avgpool2d, global_avgpool, maxpool2d
from fitwell.settings import arguments

LAYERS: dict[str, Callable[..., nn.Module]] = {
    "linear": linear,
    "conv1d": conv1d,
    "conv2d": conv2d,
    "maxpool2d": maxpool2d,
    "avgpool2d": avgpool2d,
    "global_avgpool": global_avgpool,
    "batchnorm1d": batchnorm1d,
    "batchnorm2d": batchnorm2d,
    "layernorm": layernorm,
    "groupnorm": groupnorm,
    "dropout": dropout,
    "dropout2d": dropout2d,
    "flatten": flatten,
    "unflatten": unflatten,
    "tokens": tokens,
    "attention": attention,
}


def layer(name: str, shape: Sequence[int], settings: Mapping[str, Any]) -> nn.Module:
    """A layer for an input of this shape, after its settings were checked against it.

    Raises:
        SettingError: a setting is wrong, or does not go with the shape.

    >>> layer("conv2d", (3, 8, 8), {"out_channels": 6, "kernel": [3, 1]})
    Conv2d(3, 6, kernel_size=(3, 1), stride=(1, 1))
    """
    values = arguments("layers", name, settings)
    cost(name, shape, values)  # refuses what torch would refuse later, in words
    return LAYERS[name](shape, **values)
