"""What the model families share: reading the spec, dropout by layer, drawing the weights."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from fitwell.errors import SettingError
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.inits import draw_weights
from fitwell.nn.norms import norm_1d
from fitwell.nn.types import Init, NormName
from fitwell.spec import Spec

Network = TypeVar("Network", bound=nn.Module)


def example_inputs(spec: Spec, count: int) -> Tensor:
    """Inputs of the kind that a model of the spec reads, to try it on: standard normal numbers, or words
    drawn at random.

    >>> example_inputs(Spec("table", "regression", (3,)), 2).shape
    torch.Size([2, 3])
    """
    if spec.kind == "text":
        return torch.randint(1, spec.vocabulary, (count, *spec.input_shape), dtype=torch.int32)
    return torch.randn(count, *spec.input_shape)


def image_shape(spec: Spec, model: str, *, smallest: int) -> tuple[int, int, int]:
    """(channel, height, width) of the input.

    Raises:
        SettingError: the input is no image, or smaller than the model can take.
    """
    if len(spec.input_shape) != 3:
        raise SettingError(
            f"model.name={model} needs images, and {what_it_is(spec)}. Set model.name=mlp.",
            setting="model.name",
        )
    channels, height, width = spec.input_shape
    if min(height, width) < smallest:
        larger = f"data.image_size={max(smallest, 8)}"
        if spec.kind == "audio":  # 10 ms a frame
            larger = f"data.seconds={smallest / 100:g} or more and data.mels={smallest} or more"
        raise SettingError(
            f"model.name={model} needs images of at least {smallest}x{smallest}, and these are "
            f"{height}x{width}. Set {larger}, or model.name=mlp.",
            setting="model.name",
        )
    return channels, height, width


def check_heads(heads: int, width: int) -> None:
    """Refuse attention heads that do not share the width evenly.

    Raises:
        SettingError: they do not.
    """
    if width % heads:
        raise SettingError(
            f"model.heads={heads} do not share model.width={width} evenly. "
            f"Set model.width={heads * max(1, round(width / heads))}.",
            setting="model.heads",
        )


def what_it_is(spec: Spec) -> str:
    """What the data is where images are needed, for a sentence."""
    if spec.kind in ("images", "table"):
        return f"the input is a table of shape {spec.input_shape}"
    return f"these are {spec.examples}"


def dropout_rates(dropout: float | Sequence[float], places: int, what: str) -> list[float]:
    """One rate a place, from a number or a list.

    Raises:
        SettingError: the list has another length than the model has places for dropout.

    >>> dropout_rates(0.5, 2, "hidden layers")
    [0.5, 0.5]
    """
    rates = list(dropout) if isinstance(dropout, Sequence) else [dropout] * places
    if len(rates) != places:
        raise SettingError(
            f"model.dropout={rates} has {len(rates)} rates, and this model has {places} {what}. "
            "Give one number, or one rate for each.",
            setting="model.dropout",
        )
    return rates


def in_order(layers: Mapping[str, nn.Module | None]) -> nn.Sequential:
    """The layers in order under their names, without those that are None."""
    model = nn.Sequential()
    for name, layer in layers.items():
        if layer is not None:
            model.add_module(name, layer)
    return model


def assemble(layers: Mapping[str, nn.Module | None], init: Init) -> nn.Sequential:
    """The layers in order, their weights drawn: a whole model."""
    return draw(in_order(layers), init)


def hidden_layers(
    size: int,
    widths: Sequence[int],
    rates: Sequence[float],
    *,
    activation: str,
    norm: NormName,
    first: int = 1,
) -> dict[str, nn.Module | None]:
    """Linear layers, each with normalisation, activation and dropout behind it, under their names.

    Args:
        size: numbers that go into the first.
        widths, rates: units and dropout of each.
        first: number of the first, in its name.

    >>> list(hidden_layers(4, [8], [0.5], activation="relu", norm="none"))
    ['linear1', 'norm1', 'activation1', 'dropout1']
    """
    layers: dict[str, nn.Module | None] = {}
    for i, (width, rate) in enumerate(zip(widths, rates, strict=True), first):
        # Batch normalisation subtracts the mean, so a bias before it would never matter.
        layers[f"linear{i}"] = nn.Linear(size, width, bias=norm != "batch")
        layers[f"norm{i}"] = norm_1d(norm, width)
        layers[f"activation{i}"] = ACTIVATIONS[activation]()
        layers[f"dropout{i}"] = dropout_1d(rate)
        size = width
    return layers


def draw(model: Network, init: Init) -> Network:
    """The model, its weights drawn."""
    draw_weights(model, init)
    return model


def dropout_1d(rate: float) -> nn.Module | None:
    """Dropout of units; None at rate 0, since an idle module costs a call a step."""
    return nn.Dropout(rate) if rate > 0 else None


def dropout_2d(rate: float) -> nn.Module | None:
    """Dropout of whole channels; None at rate 0."""
    return nn.Dropout2d(rate) if rate > 0 else None
