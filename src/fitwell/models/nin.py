"""Network in network: 1x1 convolutions instead of linear layers."""

from torch import nn

from fitwell.models.parts import assemble, dropout_2d, dropout_rates
from fitwell.models.stems import Stem, scaled, stem_for
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.norms import norm_2d
from fitwell.nn.pooling import MaxPool2d
from fitwell.nn.types import Activation, Dropout, Init, Norm, Width
from fitwell.spec import Spec

_WIDTH = 96  # of the paper


def nin(
    spec: Spec,
    *,
    width: Width = 48,
    stem: Stem = "auto",
    activation: Activation = "relu",
    norm: Norm = "batch",
    dropout: Dropout = 0.5,
    init: Init = "default",
) -> nn.Sequential:
    """Each convolution is followed by two of 1x1: a small MLP at every position.

    Formula: 4 blocks of conv - f - conv 1x1 - f - conv 1x1 - f, a max pool 3x3/2 between them; the last
        convolution has the classes as channels and no f; mean over positions
    Use: few parameters for its accuracy: the mean over positions replaces linear layers
    Weakness: without normalisation it is slow to begin to learn
    Source: Lin, Chen and Yan 2014, ICLR, section 3

    The first kernels of the blocks are 11x11 with stride 4, 5x5, 3x3 and 3x3; `stem=small` begins with
    5x5 and stride 1, and pads its pools. `width` is the number of channels of the first block and scales
    all others: 96 gives 96, 256, 384 and 384. Dropout of whole channels stands before the last block.

    Ours differs: half as wide by default; batch normalisation, which the paper lacks; no activation
    behind the last convolution, so that outputs may be negative.

    >>> import torch
    >>> model = nin(Spec("images", "regression", (1, 9, 7)), width=4)
    >>> model(torch.zeros(5, 1, 9, 7)).shape
    torch.Size([5, 1])
    """
    (channels, _, _), small = stem_for(spec, "nin", stem, smallest=(1, 67))
    (rate,) = dropout_rates(dropout, 1, "place for it: before the last block")
    bias = norm != "batch"
    c1, c2, c3 = (scaled(c, width, of=_WIDTH) for c in (96, 256, 384))
    convolutions = (  # name, channels, kernel, stride, padding
        ("1_1", c1, 5, 1, 2) if small else ("1_1", c1, 11, 4, 0),
        ("1_2", c1, 1, 1, 0),
        ("1_3", c1, 1, 1, 0),
        ("2_1", c2, 5, 1, 2),
        ("2_2", c2, 1, 1, 0),
        ("2_3", c2, 1, 1, 0),
        ("3_1", c3, 3, 1, 1),
        ("3_2", c3, 1, 1, 0),
        ("3_3", c3, 1, 1, 0),
        ("4_1", c3, 3, 1, 1),
        ("4_2", c3, 1, 1, 0),
    )
    layers: dict[str, nn.Module | None] = {}
    for name, out, kernel, stride, padding in convolutions:
        layers[f"conv{name}"] = nn.Conv2d(channels, out, kernel, stride, padding, bias=bias)
        layers[f"norm{name}"] = norm_2d(norm, out)
        layers[f"activation{name}"] = ACTIVATIONS[activation]()
        if name.endswith("_3"):
            layers[f"pool{name[0]}"] = MaxPool2d(3, stride=2, padding=int(small))
        if name == "3_3":
            layers["dropout"] = dropout_2d(rate)
        channels = out
    layers["conv4_3"] = nn.Conv2d(channels, spec.num_outputs, 1)
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    return assemble(layers, init)
