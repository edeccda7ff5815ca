"""TCN: dilated convolutions that see the past alone."""

from typing import Annotated, TypeAlias

from pydantic import Field
from torch import nn

from fitwell.models.parts import dropout_rates
from fitwell.models.sequences import (
    Convolutions,
    Embedding,
    Pooled,
    Tied,
    draw_steps,
    pooled_alone,
    step_inputs,
    symbol_head,
)
from fitwell.nn.convolutions import ConvBlock, Residual
from fitwell.nn.types import Activation, Dropout, Init, Norm, Width
from fitwell.spec import Spec

Kernel: TypeAlias = Annotated[
    int, Field(ge=2, le=64, description="steps that a convolution reads, dilation left out")
]
NumBlocks: TypeAlias = Annotated[
    int,
    Field(
        ge=1, le=16, description="residual blocks; each has twice the dilation of the one before it"
    ),
]


def tcn(
    spec: Spec,
    *,
    width: Width = 64,
    depth: NumBlocks = 6,
    kernel: Kernel = 3,
    pooling: Pooled = "mean",
    activation: Activation = "relu",
    norm: Norm = "layer",
    dropout: Dropout = 0.0,
    embedding: Embedding = 0,
    tied: Tied = False,
    init: Init = "default",
) -> nn.Module:
    """Temporal convolutional network: each step is computed from the past, ever longer ago.

    Formula: block i: x = f(x + F(x)), F two convolutions over the steps t, t - 2^i, ..., t - 2^i (k - 1),
        each with normalisation and activation; it sees 1 + 2 (k - 1) (2^depth - 1) steps; z = W x_t + b
    Use: long sequences, at all steps in parallel; forecasting and language
    Weakness: sees so far back and no further
    Source: Bai, Kolter and Koltun 2018, arXiv 1803.01271

    Ours differs: normalisation as `norm` says instead of that of weights, over each step by default, so
    that no step learns of a later one. Dropout of channels stands behind each convolution; a list has one
    rate a block.

    >>> import torch
    >>> model = tcn(Spec("series", "regression", (2, 30)), width=8)
    >>> model(torch.randn(5, 2, 30)).shape
    torch.Size([5, 1])
    """
    rates = dropout_rates(dropout, depth, "residual blocks (model.depth)")
    inputs, size = step_inputs(spec, "tcn", width, embedding=embedding, tied=tied)
    pooled_alone(spec, pooling, usual="mean")
    blocks: list[nn.Module] = []
    for place, rate in enumerate(rates):
        inner = [
            ConvBlock(
                before,
                width,
                kernel,
                activation=activation,
                norm=norm,
                rate=rate,
                dilation=2**place,
                causal=True,
            )
            for before in (size, width)
        ]
        blocks.append(Residual(inner, size, width, activation=activation, norm=norm))
        size = width
    if spec.task == "language":
        model = Convolutions(inputs, blocks, symbol_head(spec, inputs, width, tied=tied), None)
    else:
        model = Convolutions(inputs, blocks, nn.Linear(width, spec.num_outputs), pooling)
    return draw_steps(model, init)
