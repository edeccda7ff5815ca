"""DLinear: a trend and what it leaves, each forecast by one linear layer."""

from typing import Annotated

from pydantic import Field
from torch import nn

from fitwell.models.forecasters import Individual, Subtract, target_channels
from fitwell.models.parts import assemble
from fitwell.nn.forecasts import ChannelLinear, Channels, Decomposition
from fitwell.nn.types import Init
from fitwell.spec import Spec

Kernel = Annotated[
    int,
    Field(ge=1, le=10_000, description="steps that the moving average, the trend, is taken over"),
]


def dlinear(
    spec: Spec,
    *,
    kernel: Kernel = 25,
    individual: Individual = False,
    subtract: Subtract = "none",
    init: Init = "default",
) -> nn.Sequential:
    """A linear forecast of the trend plus one of the rest, each channel from its own past.

    Formula: t = moving average of x over `kernel` steps; z = W_t t + b_t + W_r (x - t) + b_r, a channel
    Use: the first network to try for forecasting, and the one that larger ones have to beat
    Weakness: a channel does not see the others, and nothing bends; it needs a long look-back
    Source: Zeng, Chen, Zhang and Xu 2023, AAAI

    >>> import torch
    >>> model = dlinear(Spec("series", "forecasting", (2, 9), targets=("a", "b"), horizon=3), kernel=5)
    >>> model(torch.zeros(4, 2, 9)).shape
    torch.Size([4, 6])
    """
    targets = target_channels(spec, "dlinear")
    trend, rest = (
        ChannelLinear(len(targets), spec.input_shape[1], spec.horizon, own=individual)
        for _ in range(2)
    )
    body = Decomposition(kernel, trend, rest)
    return assemble({"channels": Channels(body, targets, subtract)}, init)
