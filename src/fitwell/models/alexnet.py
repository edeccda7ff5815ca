"""AlexNet: five convolutions, three linear layers."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field
from torch import nn

from fitwell.models.parts import assemble, dropout_1d, dropout_rates, in_order
from fitwell.models.stems import Stem, scaled, stem_for
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.norms import norm_2d
from fitwell.nn.pooling import MaxPool2d
from fitwell.nn.types import Activation, Dropout, Init, Norm, Width
from fitwell.spec import Spec

AlexNetVersion: TypeAlias = Annotated[
    Literal["original", "torchvision"],
    Field(
        description="channels of the 2012 paper, or the fewer of the 2014 one, for which "
        "torchvision has weights"
    ),
]
_WIDTH = 96  # of the paper
_CHANNELS = {"original": (96, 256, 384, 384, 256), "torchvision": (64, 192, 384, 256, 256)}
_PADDING = {"original": 1, "torchvision": 2}  # of the first convolution
_SMALLEST = {"original": 65, "torchvision": 63}  # one position is left after the last pool


def alexnet(
    spec: Spec,
    *,
    width: Width = _WIDTH,
    version: AlexNetVersion = "original",
    stem: Stem = "auto",
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: Dropout = 0.5,
    init: Init = "he",
) -> nn.Sequential:
    """The network of 2012: wide kernels first, overlapping max pools, two large linear layers.

    Formula: conv 11x11/4 - f - pool - conv 5x5 - f - pool - 3 times (conv 3x3 - f) - pool -
        linear 4096 - f - linear 4096 - f - linear; pools 3x3 with stride 2
    Use: to see what changed in 2012; beside VGG and ResNet
    Weakness: needs a small rate, as it has no normalisation; large linear layers
    Source: Krizhevsky, Sutskever and Hinton 2012, NeurIPS, figure 2; Krizhevsky 2014,
        arXiv:1404.5997, for `version=torchvision`

    `stem=small` begins with a 5x5 convolution of stride 2, pads its pools and has hidden linear
    layers of 1,024 units. `width` is the number of channels of the original's first convolution, and
    scales all others. A list of `dropout` has one rate for each of the two hidden linear layers.

    Ours differs: one tower instead of two on two processors, no local response normalisation, He
    initialisation. `version=torchvision` averages to 6x6 positions, and has torchvision's names for
    its parameters.

    >>> import torch
    >>> model = alexnet(Spec("images", "regression", (1, 9, 7)), width=4)
    >>> model(torch.zeros(5, 1, 9, 7)).shape
    torch.Size([5, 1])
    """
    (channels, height, across), small = stem_for(
        spec, "alexnet", stem, smallest=(1, _SMALLEST[version])
    )
    rates = dropout_rates(dropout, 2, "hidden linear layers")
    c1, c2, c3, c4, c5 = (scaled(c, width, of=_WIDTH) for c in _CHANNELS[version])
    convolutions = (  # channels, kernel, stride, padding, whether a pool follows
        (c1, 5, 2, 2, True) if small else (c1, 11, 4, _PADDING[version], True),
        (c2, 5, 1, 2, True),
        (c3, 3, 1, 1, False),
        (c4, 3, 1, 1, False),
        (c5, 3, 1, 1, True),
    )
    features = nn.Sequential()
    for out, kernel, stride, padding, pooled in convolutions:
        features.append(nn.Conv2d(channels, out, kernel, stride, padding))
        if normed := norm_2d(norm, out):
            features.append(normed)
        features.append(ACTIVATIONS[activation]())
        height, across = ((n + 2 * padding - kernel) // stride + 1 for n in (height, across))
        if pooled:
            features.append(MaxPool2d(3, stride=2, padding=int(small)))
            height, across = ((n + 2 * small - 3) // 2 + 1 for n in (height, across))
        channels = out
    averaged = not small and version == "torchvision"
    positions = 6 * 6 if averaged else height * across
    hidden = scaled(1024 if small else 4096, width, of=_WIDTH)
    classifier: dict[str, nn.Module | None] = {
        "1": nn.Linear(channels * positions, hidden),
        "2": ACTIVATIONS[activation](),
        "dropout1": dropout_1d(rates[0]),
        "4": nn.Linear(hidden, hidden),
        "5": ACTIVATIONS[activation](),
        "dropout2": dropout_1d(rates[1]),
        "6": nn.Linear(hidden, spec.num_outputs),
    }
    layers: dict[str, nn.Module | None] = {
        "features": features,
        "avgpool": nn.AdaptiveAvgPool2d(6) if averaged else None,
        "flatten": nn.Flatten(),
        "classifier": in_order(classifier),
    }
    return assemble(layers, init)
