"""What the forecasting families share: reading the spec, going on from their own forecasts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, TypeAlias

from pydantic import Field
from torch import nn

from fitwell.errors import SettingError
from fitwell.nn.forecasts import Recursive, Subtracted
from fitwell.spec import Spec

Individual: TypeAlias = Annotated[
    bool, Field(description="weights of its own for each channel; off: all share theirs")
]
Subtract: TypeAlias = Annotated[
    Subtracted,
    Field(
        description="what is taken off each channel of a window before, and put back after: its last value "
        "(as NLinear does), or its mean, with its deviation divided by (instance normalisation)"
    ),
]


def target_channels(spec: Spec, model: str) -> list[int]:
    """The channels that are forecast, by number.

    Raises:
        SettingError: nothing is forecast.
    """
    if not spec.horizon:
        raise SettingError(
            f"model.name = {model}: forecasts a long series, and these are {spec.examples}. Set "
            "model.name=mlp.",
            setting="model.name",
        )
    names = [column.name for column in spec.columns]
    if not names:  # a spec made by hand: every channel
        return list(range(max(1, len(spec.targets))))
    return [names.index(name) for name in spec.targets or (spec.target,)]


def recursive(spec: Spec, build: Callable[[Spec], nn.Module]) -> nn.Module:
    """The model of `build`, for `spec.at_once` steps, applied to its own forecasts.

    >>> from fitwell.models.linear import linear
    >>> spec = Spec("series", "forecasting", (2, 9), targets=("a", "b"), horizon=6, at_once=2)
    >>> recursive(spec, linear)
    Recursive(...)
    """
    model = build(replace(spec, horizon=spec.at_once, at_once=0, head=0))
    targets = target_channels(spec, "recursive")
    places = [targets.index(channel) for channel in range(spec.input_shape[0])]
    return Recursive(model, places, spec.horizon // spec.at_once)
