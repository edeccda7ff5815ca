"""Layers without weights that zero some numbers, or give the same numbers another shape."""

from collections.abc import Sequence
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from fitwell.nn.layers.types import Rate, Size


def dropout(shape: Sequence[int], *, rate: Rate = 0.5) -> nn.Module:
    """Zeroes units at random while training, so that none can lean on another.

    Formula: y = x m / (1 - rate), m = 0 with probability rate, else 1; y = x in evaluation
    Use: behind wide linear layers, against overfitting
    Weakness: needs more epochs; hurts a network that underfits
    Source: Srivastava et al. 2014, Journal of Machine Learning Research 15

    >>> dropout((4,), rate=0.2)
    Dropout(p=0.2, inplace=False)
    """
    return nn.Dropout(rate)


def dropout2d(shape: Sequence[int], *, rate: Rate = 0.5) -> nn.Module:
    """Zeroes whole channels at random while training.

    Formula: y[c] = x[c] m[c] / (1 - rate), m[c] = 0 with probability rate; y = x in evaluation
    Use: between convolutions, where neighbours tell what a single zeroed pixel was
    Weakness: needs more epochs; strong where channels are few
    Source: Tompson et al. 2015, CVPR

    >>> dropout2d((6, 8, 8), rate=0.2)
    Dropout2d(p=0.2, inplace=False)
    """
    return nn.Dropout2d(rate)


def flatten(shape: Sequence[int]) -> nn.Module:
    """All numbers of an example in one row.

    Formula: [channel, height, width] -> [channel height width], rows of pixels one after another
    Use: between convolutions and linear layers
    Weakness: neighbourhood is lost, and the next linear layer is large: see global_avgpool
    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, chapter 9

    >>> import torch
    >>> flatten((2, 3, 3))(torch.zeros(1, 2, 3, 3)).shape
    torch.Size([1, 18])
    """
    return nn.Flatten()


def unflatten(
    shape: Sequence[int],
    *,
    channels: Annotated[Size, Field(description="channels that the row is cut into")] = 1,
) -> nn.Module:
    """A row of numbers as channels with positions: what flatten undoes.

    Formula: [channel position] -> [channel, position]
    Use: a table whose columns are in order (a series, a spectrum) before conv1d
    Weakness: columns without an order have no neighbours
    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, chapter 9

    >>> import torch
    >>> unflatten((6,), channels=2)(torch.zeros(1, 6)).shape
    torch.Size([1, 2, 3])
    """
    return nn.Unflatten(1, (channels, shape[0] // channels))


def tokens(shape: Sequence[int]) -> nn.Module:
    """The positions of a map as a row of tokens, one feature a channel.

    Formula: [channel, height, width] -> [height width, channel]
    Use: between a convolution and attention
    Weakness: tokens do not know where they stood
    Source: Dosovitskiy et al. 2021, ICLR, section 3.1

    >>> import torch
    >>> tokens((6, 2, 2))(torch.zeros(1, 6, 2, 2)).shape
    torch.Size([1, 4, 6])
    """
    return ToTokens()


class ToTokens(nn.Module):
    """What `tokens` builds."""

    def forward(
        self, x: Float[Tensor, "batch channel *position"]
    ) -> Float[Tensor, "batch token channel"]:
        return x.flatten(2).transpose(1, 2)
