"""Pooling layers: a window becomes one number."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from fitwell.nn import pooling
from fitwell.nn.arithmetic import each, strides
from fitwell.nn.layers.types import CeilMode, Kernel2d, Padding2d, PoolStride2d


def maxpool2d(
    shape: Sequence[int],
    *,
    kernel: Kernel2d = 2,
    stride: PoolStride2d = 0,
    padding: Padding2d = 0,
    ceil_mode: CeilMode = False,
) -> nn.Module:
    """Largest number of each window.

    Formula: y[c, i, j] = max over u, v < k of x[c, s i + u - p, s j + v - p];
        n_out = floor((n + 2p - k) / s) + 1
    Use: smaller maps that keep the strongest answer, and a little independence of position
    Weakness: throws position away; the gradient goes to one position of each window
    Source: Riesenhuber and Poggio 1999, Nature Neuroscience 2

    >>> import torch
    >>> maxpool2d((1, 4, 6), kernel=[2, 3])(torch.arange(24.0).view(1, 1, 4, 6)).tolist()
    [[[[8.0, 11.0], [20.0, 23.0]]]]
    """
    return pooling.MaxPool2d(
        each(kernel, 2), strides(stride, kernel, 2), each(padding, 2), ceil_mode=ceil_mode
    )


def avgpool2d(
    shape: Sequence[int],
    *,
    kernel: Kernel2d = 2,
    stride: PoolStride2d = 0,
    padding: Padding2d = 0,
    ceil_mode: CeilMode = False,
) -> nn.Module:
    """Mean of each window, padding counted as zeros.

    Formula: y[c, i, j] = 1/k^2 sum over u, v < k of x[c, s i + u - p, s j + v - p];
        n_out = floor((n + 2p - k) / s) + 1
    Use: LeNet as it was; smoother than the maximum
    Weakness: dilutes a strong answer by its weak neighbours
    Source: LeCun et al. 1989, Neural Computation 1

    >>> import torch
    >>> avgpool2d((1, 2, 2))(torch.arange(4.0).view(1, 1, 2, 2)).item()
    1.5
    """
    return nn.AvgPool2d(
        each(kernel, 2),  # type: ignore[arg-type]
        strides(stride, kernel, 2),  # type: ignore[arg-type]
        each(padding, 2),  # type: ignore[arg-type]
        ceil_mode,
    )


def global_avgpool(shape: Sequence[int]) -> nn.Module:
    """Mean of each channel over all positions: a map becomes a row of numbers.

    Formula: y[c] = 1/(h w) sum_i sum_j x[c, i, j]
    Use: before the head, instead of flatten: far fewer weights, and any image size
    Weakness: where something stands is lost
    Source: Lin, Chen and Yan 2014, ICLR (network in network)

    >>> import torch
    >>> global_avgpool((2, 3, 3))(torch.ones(1, 2, 3, 3)).tolist()
    [[1.0, 1.0]]
    """
    return GlobalAvgPool()


class GlobalAvgPool(nn.Module):
    """What `global_avgpool` builds."""

    def forward(
        self, x: Float[Tensor, "batch channel *position"]
    ) -> Float[Tensor, "batch channel"]:
        return x.flatten(2).mean(2)
