"""LeNet, for images of any size from 4x4."""

from torch import nn

from fitwell.models.parts import assemble, dropout_rates, hidden_layers, image_shape
from fitwell.nn.activations import ACTIVATIONS, MONOTONE
from fitwell.nn.norms import norm_2d
from fitwell.nn.pooling import MaxPool2d
from fitwell.nn.types import Activation, Depth, Dropout, Init, Norm, Pool, Width
from fitwell.spec import Spec

_KERNEL = 5
_MOST_CHANNELS = 8  # times the second convolution's


def lenet(
    spec: Spec,
    *,
    width: Width = 6,
    depth: Depth = 2,
    activation: Activation = "relu",
    pool: Pool = "max",
    norm: Norm = "none",
    dropout: Dropout = 0.0,
    init: Init = "default",
) -> nn.Sequential:
    """LeNet-5: two convolutions with pooling, then three linear layers.

    Formula: conv 5x5 (6) - f - pool - conv 5x5 (16) - f - pool - 120 - f - 84 - f - classes
    Use: small images; the classic to start from
    Weakness: few channels, so it soon underfits; large images make its first linear layer large
    Source: LeCun, Bottou, Bengio and Haffner 1998, Proceedings of the IEEE 86

    Ours differs: ReLU and max pooling by default (nearer the paper: `activation=tanh`, `pool=avg`),
    every channel of the second convolution sees all of the first, and the head is linear. `width`
    is the number of channels of the first convolution and scales all the others; `depth` counts
    convolutions, each after the second with twice the channels, up to 8 times the second's; a list
    of `dropout` has one rate for each of the two hidden linear layers.

    >>> import torch
    >>> model = lenet(Spec("images", "classification", (1, 28, 28), tuple("0123456789")))
    >>> model(torch.zeros(5, 1, 28, 28)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 61706)
    """
    channels, height, across = image_shape(spec, "lenet", smallest=4)
    rates = dropout_rates(dropout, 2, "hidden linear layers")
    layers: dict[str, nn.Module | None] = {}
    for i in range(1, depth + 1):
        out = width if i == 1 else round(width * 16 / 6) * min(2 ** (i - 2), _MOST_CHANNELS)
        # The first is padded, as the paper's 28x28 digits were; so is any map too small for less.
        padding = _KERNEL // 2 if i == 1 or min(height, across) < 2 * _KERNEL else 0
        height, across = (n + 2 * padding - _KERNEL + 1 for n in (height, across))
        layers[f"conv{i}"] = nn.Conv2d(
            channels, out, _KERNEL, padding=padding, bias=norm != "batch"
        )
        layers[f"norm{i}"] = norm_2d(norm, out)
        pooling: nn.Module | None = None
        if min(height, across) > 1:
            pooling = MaxPool2d(2) if pool == "max" else nn.AvgPool2d(2)
            height, across = height // 2, across // 2
        act = ACTIVATIONS[activation]()
        if pool == "max" and activation in MONOTONE:
            # The largest of f(x) is f of the largest x: equal results, a quarter of the calls.
            layers |= {f"pool{i}": pooling, f"activation{i}": act}
        else:
            layers |= {f"activation{i}": act, f"pool{i}": pooling}
        channels = out
    layers["flatten"] = nn.Flatten()
    size = channels * height * across
    widths = (20 * width, 14 * width)
    layers |= hidden_layers(size, widths, rates, activation=activation, norm=norm, first=depth + 1)
    layers["head"] = nn.Linear(widths[-1], spec.num_outputs)
    return assemble(layers, init)
