"""The residual network of series."""

from torch import nn

from fitwell.models.fcn import KERNELS
from fitwell.models.parts import dropout_rates
from fitwell.models.sequences import Convolutions, Embedding, draw_steps, row_head, step_inputs
from fitwell.nn.convolutions import ConvBlock, Residual
from fitwell.nn.types import Activation, Depth, Dropout, Init, Norm, Width
from fitwell.spec import Spec


def resnet1d(
    spec: Spec,
    *,
    width: Width = 64,
    depth: Depth = 3,
    activation: Activation = "relu",
    norm: Norm = "batch",
    dropout: Dropout = 0.0,
    embedding: Embedding = 0,
    init: Init = "default",
) -> nn.Module:
    """Residual network along time: blocks of three convolutions, each with a way past it.

    Formula: three times x = f(F(x) + s(x)), F three convolutions of 8, 5, 3 steps with normalisation, the
        first two with activation, s the identity or a convolution of one step; 64, 128, 128 channels; z =
        W mean over time of x + b
    Use: series with a class each, where an FCN underfits
    Weakness: on the few series that there usually are it overfits sooner than an FCN
    Source: Wang, Yan and Oates 2017, IJCNN

    `depth` counts the blocks; the first has `width` channels, those behind it twice as many. Dropout of
    channels stands behind the convolutions of a block, before the sum. Ours differs: no normalisation on
    a way past that changes nothing.

    >>> import torch
    >>> model = resnet1d(Spec("series", "classification", (2, 30), ("no", "yes")), width=8)
    >>> model(torch.randn(5, 2, 30)).shape
    torch.Size([5, 2])
    """
    rates = dropout_rates(dropout, depth, "residual blocks (model.depth)")
    inputs, size = step_inputs(spec, "resnet1d", width, embedding=embedding)
    blocks: list[nn.Module] = []
    for place, rate in enumerate(rates):
        out = 2 * width if place else width
        inner, before = [], size
        for kernel in KERNELS:
            last = kernel == KERNELS[-1]
            inner.append(
                ConvBlock(
                    before,
                    out,
                    kernel,
                    activation=None if last else activation,
                    norm=norm,
                    rate=rate if last else 0.0,
                )
            )
            before = out
        blocks.append(Residual(inner, size, out, activation=activation, norm=norm))
        size = out
    model = Convolutions(inputs, blocks, row_head(spec, "resnet1d", size), "mean")
    return draw_steps(model, init)
