"""The autoregressive model: the next steps linear in the last ones."""

from typing import Annotated

from pydantic import Field
from torch import nn

from fitwell.errors import SettingError
from fitwell.models.forecasters import Individual, Subtract, target_channels
from fitwell.models.parts import assemble
from fitwell.nn.forecasts import ChannelLinear, Channels, Last
from fitwell.nn.types import Init
from fitwell.spec import Spec

Order = Annotated[
    int,
    Field(ge=0, le=100_000, description="so many of the last values are read; 0: data.look_back"),
]


def autoregressive(
    spec: Spec,
    *,
    order: Order = 0,
    individual: Individual = False,
    subtract: Subtract = "none",
    init: Init = "default",
) -> nn.Sequential:
    """Each channel's next steps, linear in its own last values.

    Formula: z = W x + b, x the last `order` values of a channel; with data.at_once=1 the classical AR(p):
        x_t = sum over i of w_i x_{t-i} + b, which goes on from its own forecasts
    Use: the reference of forecasting: what linear dependence on the past explains
    Weakness: a channel does not see the others, and nothing bends
    Source: Yule 1927, Philosophical Transactions A 226; Box and Jenkins 1970, chapter 3

    >>> import torch
    >>> model = autoregressive(Spec("series", "forecasting", (1, 9), horizon=3), order=4)
    >>> model(torch.zeros(4, 1, 9)).shape
    torch.Size([4, 3])
    """
    targets = target_channels(spec, "autoregressive")
    steps = spec.input_shape[1]
    if order > steps:
        raise SettingError(
            f"model.order = {order}: more values than the {steps} that are read. Choose at most {steps}, "
            "or set a larger data.look_back.",
            setting="model.order",
        )
    order = order or steps
    linear = ChannelLinear(len(targets), order, spec.horizon, own=individual)
    body = nn.Sequential(Last(order), linear) if order < steps else linear
    return assemble({"channels": Channels(body, targets, subtract)}, init)
