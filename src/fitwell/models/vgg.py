"""VGG: stacks of 3x3 convolutions."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field
from torch import nn

from fitwell.models.parts import assemble, dropout_1d, dropout_rates, in_order
from fitwell.models.stems import Stem, stem_for
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.norms import norm_2d
from fitwell.nn.pooling import MaxPool2d
from fitwell.nn.types import Activation, Dropout, Init, Norm, Width
from fitwell.spec import Spec

VGGDepth: TypeAlias = Annotated[
    Literal[11, 13, 16, 19], Field(description="layers with weights, three of them linear")
]
# Convolutions a stage: configurations A, B, D and E of the paper's table 1.
_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_CHANNELS = (1, 2, 4, 8, 8)  # times width


def vgg(
    spec: Spec,
    *,
    width: Width = 64,
    depth: VGGDepth = 11,
    stem: Stem = "auto",
    activation: Activation = "relu",
    norm: Norm = "batch",
    dropout: Dropout = 0.5,
    init: Init = "default",
) -> nn.Sequential:
    """Five stages of 3x3 convolutions, a max pool after each, and three linear layers.

    Formula: 5 times [n times (conv 3x3 - norm - f) - max pool 2x2], then linear - f - linear - f - linear
    Use: small images, where it is quick for its accuracy; features for other tasks
    Weakness: large: nine tenths of its parameters at 224x224 stand in the first linear layers
    Source: Simonyan and Zisserman 2015, ICLR, table 1

    `stem=large` pools to 7x7 positions and has hidden linear layers of 64 `width` units (4,096), as
    the paper. `small` averages over all positions and has 8 `width`; a map one pixel wide is pooled
    no further. A list of `dropout` has one rate for each of the two hidden linear layers.

    Ours differs: batch normalisation, which the paper lacks (`norm=none` with `init=he` is its
    network). Parameters have torchvision's names.

    >>> import torch
    >>> model = vgg(Spec("images", "regression", (1, 9, 7)), width=4)
    >>> model(torch.zeros(5, 1, 9, 7)).shape
    torch.Size([5, 1])
    """
    (channels, height, across), small = stem_for(spec, "vgg", stem, smallest=(1, 32))
    rates = dropout_rates(dropout, 2, "hidden linear layers")
    features = nn.Sequential()
    for times, convolutions in zip(_CHANNELS, _STAGES[depth], strict=True):
        for _ in range(convolutions):
            # Batch normalisation makes the bias idle; it stays, since torchvision's weights have it.
            features.append(nn.Conv2d(channels, width * times, 3, padding=1))
            if normed := norm_2d(norm, width * times):
                features.append(normed)
            features.append(ACTIVATIONS[activation]())
            channels = width * times
        if min(height, across) > 1:
            features.append(MaxPool2d(2))
            height, across = height // 2, across // 2
    positions, hidden = (1, 8 * width) if small else (7, 64 * width)
    classifier: dict[str, nn.Module | None] = {
        "0": nn.Linear(channels * positions**2, hidden),
        "1": ACTIVATIONS[activation](),
        "2": dropout_1d(rates[0]),
        "3": nn.Linear(hidden, hidden),
        "4": ACTIVATIONS[activation](),
        "5": dropout_1d(rates[1]),
        "6": nn.Linear(hidden, spec.num_outputs),
    }
    layers: dict[str, nn.Module | None] = {
        "features": features,
        "avgpool": nn.AdaptiveAvgPool2d(positions),
        "flatten": nn.Flatten(),
        "classifier": in_order(classifier),
    }
    return assemble(layers, init)
