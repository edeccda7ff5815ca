"""Layers that multiply by weights: linear, convolution, attention."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import Field
from torch import nn

from fitwell.nn.arithmetic import each
from fitwell.nn.attention import SelfAttention
from fitwell.nn.layers.types import (
    Bias,
    Channels,
    ConvPadding1d,
    ConvPadding2d,
    Groups,
    Kernel2d,
    Rate,
    Size,
    Sizes,
    Stride,
    Stride2d,
)

PaddingMode: TypeAlias = Annotated[
    Literal["zeros", "reflect", "replicate", "circular"],
    Field(description="what the padding holds: zeros, or the input mirrored, repeated or wrapped"),
]


def linear(
    shape: Sequence[int],
    *,
    out_features: Annotated[Size, Field(description="outputs, each a weighted sum")] = 1,
    bias: Bias = True,
) -> nn.Module:
    """Fully connected layer: each output is a weighted sum of all inputs of the last axis.

    Formula: y = W x + b, with n_out (n_in + 1) parameters
    Use: tables, and the last layers of most networks
    Weakness: knows nothing of neighbourhood; many weights on large inputs
    Source: Rosenblatt 1958, Psychological Review 65

    >>> linear((4,), out_features=3)
    Linear(in_features=4, out_features=3, bias=True)
    """
    return nn.Linear(shape[-1], out_features, bias)


def conv1d(
    shape: Sequence[int],
    *,
    out_channels: Channels = 1,
    kernel: Annotated[Size, Field(description="length of the window")] = 3,
    stride: Stride = 1,
    padding: ConvPadding1d = 0,
    dilation: Annotated[Size, Field(description="distance of the window's taps")] = 1,
    groups: Groups = 1,
    bias: Bias = True,
    padding_mode: PaddingMode = "zeros",
) -> nn.Module:
    """Convolution along one axis: the same few weights at every position.

    Formula: y[o, i] = b[o] + sum_c sum_u w[o, c, u] x[c, s i + d u - p];
        n_out = floor((n + 2p - d(k - 1) - 1) / s) + 1
    Use: series, sound and text, where a pattern may stand anywhere
    Weakness: sees no further than its window; stack or dilate it for more
    Source: Waibel et al. 1989, IEEE Transactions on Acoustics, Speech and Signal Processing 37

    >>> import torch
    >>> conv1d((2, 10), out_channels=4, kernel=3, dilation=2)(torch.zeros(1, 2, 10)).shape
    torch.Size([1, 4, 6])
    """
    return nn.Conv1d(
        shape[0],
        out_channels,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
        padding_mode=padding_mode,
    )


def conv2d(
    shape: Sequence[int],
    *,
    out_channels: Channels = 1,
    kernel: Kernel2d = 3,
    stride: Stride2d = 1,
    padding: ConvPadding2d = 0,
    dilation: Annotated[
        Sizes, Field(description="distance of the window's taps: a number, or [down, across]")
    ] = 1,
    groups: Groups = 1,
    bias: Bias = True,
    padding_mode: PaddingMode = "zeros",
) -> nn.Module:
    """Convolution of images: the same few weights at every position.

    Formula: y[o, i, j] = b[o] + sum_c sum_u sum_v w[o, c, u, v] x[c, s i + d u - p, s j + d v - p];
        n_out = floor((n + 2p - d(k - 1) - 1) / s) + 1 along each axis
    Use: images, where a pattern may stand anywhere; a kernel of 1 mixes channels alone
    Weakness: sees no further than its window; stack, stride or dilate it for more
    Source: LeCun et al. 1989, Neural Computation 1; Dumoulin and Visin 2016, arXiv:1603.07285

    It is a cross-correlation, as everywhere in the field: the kernel is not flipped. The padding p
    counts one side; books that count both sides together write n + p. padding=same adds d(k - 1) to
    both sides together, of an odd number the larger half behind, and takes a stride of 1 alone.

    >>> import torch
    >>> conv2d((1, 28, 28), out_channels=6, kernel=5, padding=2)(torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 6, 28, 28])
    """
    return nn.Conv2d(
        shape[0],
        out_channels,
        each(kernel, 2),  # type: ignore[arg-type]
        stride=each(stride, 2),  # type: ignore[arg-type]
        padding=padding if isinstance(padding, str) else each(padding, 2),  # type: ignore[arg-type]
        dilation=each(dilation, 2),  # type: ignore[arg-type]
        groups=groups,
        bias=bias,
        padding_mode=padding_mode,
    )


def attention(
    shape: Sequence[int],
    *,
    heads: Annotated[Size, Field(description="parts of the features that attend apart")] = 1,
    dropout: Rate = 0.0,
    bias: Bias = True,
) -> nn.Module:
    """Multi-head self-attention: each token becomes a mean of all tokens, weighed by likeness.

    Formula: concat over heads of softmax(Q K^T / sqrt(d / heads)) V, times W_o;
        Q, K, V = X W_q, X W_k, X W_v, biases left out
    Use: tokens whose order does not matter, or that hold their place; sees everything at once
    Weakness: work grows with the square of the tokens; knows no order by itself
    Source: Vaswani et al. 2017, NeurIPS, section 3.2

    >>> import torch
    >>> attention((7, 8), heads=2)(torch.zeros(1, 7, 8)).shape
    torch.Size([1, 7, 8])
    """
    return SelfAttention(shape[-1], heads, dropout=dropout, bias=bias)
