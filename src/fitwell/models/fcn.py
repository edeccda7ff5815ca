"""FCN: three convolutions along time and the mean of what they find."""

from torch import nn

from fitwell.models.parts import dropout_rates
from fitwell.models.sequences import Convolutions, Embedding, draw_steps, row_head, step_inputs
from fitwell.nn.convolutions import ConvBlock
from fitwell.nn.types import Activation, Depth, Dropout, Init, Norm, Width
from fitwell.spec import Spec

KERNELS = (8, 5, 3)  # of the blocks in order; the last of all that follow


def fcn(
    spec: Spec,
    *,
    width: Width = 128,
    depth: Depth = 3,
    activation: Activation = "relu",
    norm: Norm = "batch",
    dropout: Dropout = 0.0,
    embedding: Embedding = 0,
    init: Init = "default",
) -> nn.Module:
    """Fully convolutional network: what shapes stand in a series, wherever in time.

    Formula: three times x = f(norm(conv(x))) with 128, 256, 128 channels and kernels of 8, 5, 3 steps;
        z = W mean over time of x + b
    Use: the first network to try on series with a class each
    Weakness: sees some 14 steps at once, and not in which order what it finds comes
    Source: Wang, Yan and Oates 2017, IJCNN

    `width` is that of the first and the last block; those between have twice as many channels. Dropout of
    channels stands behind each block. What stands behind the end of a shorter sequence changes nothing,
    neither in the convolutions nor in normalisation or mean.

    >>> import torch
    >>> model = fcn(Spec("series", "classification", (2, 30), ("no", "yes")), width=8)
    >>> model(torch.randn(5, 2, 30)).shape
    torch.Size([5, 2])
    """
    rates = dropout_rates(dropout, depth, "blocks (model.depth)")
    inputs, size = step_inputs(spec, "fcn", width, embedding=embedding)
    blocks: list[nn.Module] = []
    for place, rate in enumerate(rates):
        out = width if place in (0, depth - 1) else 2 * width
        kernel = KERNELS[min(place, len(KERNELS) - 1)]
        blocks.append(ConvBlock(size, out, kernel, activation=activation, norm=norm, rate=rate))
        size = out
    model = Convolutions(inputs, blocks, row_head(spec, "fcn", width), "mean")
    return draw_steps(model, init)
