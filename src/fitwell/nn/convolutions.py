"""Convolutions along the steps of sequences, in which what lies behind an end counts as nothing."""

from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.norms import norm_1d

Rows: TypeAlias = Float[Tensor, "batch channel time"]
Wider: TypeAlias = Float[Tensor, "batch wider time"]
There: TypeAlias = (
    Bool[Tensor, "batch time"] | None
)  # None: every sequence is as long as the longest


class StepConv1d(nn.Conv1d):
    """A convolution that keeps the number of steps: zeros on both sides, or before the first step alone.

    Args:
        causal: no step sees a later one.

    >>> StepConv1d(1, 4, 8)(torch.zeros(2, 1, 30)).shape
    torch.Size([2, 4, 30])
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        *,
        dilation: int = 1,
        causal: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__(n_in, n_out, kernel, dilation=dilation, bias=bias)
        reach = dilation * (kernel - 1)
        self.around = (reach, 0) if causal else (reach // 2, reach - reach // 2)

    def forward(self, input: Rows) -> Wider:
        return super().forward(F.pad(input, self.around))


class StepNorm(nn.Module):
    """Normalisation a step: of a channel over all steps of the batch (batch), or of the channels of a step
    over themselves (layer, group).

    Formula: y = (x - mean) / sqrt(var + eps) * scale + shift, over steps before the ends alone
    Use: between a convolution and its activation
    Weakness: layer and group see one step, so how large a step is as a whole is lost
    Source: Ioffe and Szegedy 2015, ICML; Ba, Kiros and Hinton 2016, arXiv 1607.06450

    >>> x = torch.tensor([[[1.0, 3.0, 0.0]]])
    >>> norm, there = StepNorm("batch", 1), torch.tensor([[True, True, False]])
    >>> norm(x, there).detach().round(decimals=3).tolist()
    [[[-1.0, 1.0, 0.0]]]
    """

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.norm = norm_1d(name, channels) or nn.Identity()

    def forward(self, x: Rows, there: There) -> Rows:
        if there is None and isinstance(self.norm, nn.BatchNorm1d | nn.Identity):
            return self.norm(x)
        steps = x.transpose(1, 2)
        # No statistics are taken while exporting, so those behind the ends may be normalised, too.
        if there is None or torch.compiler.is_exporting():
            return self.norm(steps.flatten(0, 1)).view(steps.shape).transpose(1, 2)
        known = self.norm(steps[there])
        out = known.new_zeros(steps.shape)
        out[there] = known
        return out.transpose(1, 2)


class ConvBlock(nn.Module):
    """Convolution, normalisation, activation and dropout of whole channels.

    >>> block = ConvBlock(3, 8, 5, activation="relu", norm="batch", rate=0.0)
    >>> block(torch.randn(2, 3, 30), None).shape
    torch.Size([2, 8, 30])
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        *,
        activation: str | None,
        norm: str,
        rate: float,
        dilation: int = 1,
        causal: bool = False,
    ) -> None:
        super().__init__()
        # Batch normalisation subtracts the mean, so a bias before it would never matter.
        bias = norm != "batch"
        self.conv = StepConv1d(n_in, n_out, kernel, dilation=dilation, causal=causal, bias=bias)
        self.norm = StepNorm(norm, n_out)
        self.activation = ACTIVATIONS[activation]() if activation else nn.Identity()
        self.dropout = nn.Dropout1d(rate) if rate else nn.Identity()

    def forward(self, x: Rows, there: There) -> Wider:
        return cut(self.dropout(self.activation(self.norm(self.conv(x), there))), there)


class Residual(nn.Module):
    """Blocks with a way past them, added before the last activation.

    Formula: y = f(F(x) + s(x)), s the identity, or a convolution of one step where the channels change
    Use: deep networks; what a block need not change goes past it
    Weakness: the sum grows with the depth unless it is normalised
    Source: He, Zhang, Ren and Sun 2016, CVPR

    >>> block = ConvBlock(3, 8, 5, activation=None, norm="batch", rate=0.0)
    >>> Residual([block], 3, 8, activation="relu", norm="batch")(torch.randn(2, 3, 30), None).shape
    torch.Size([2, 8, 30])
    """

    def __init__(
        self, blocks: list[ConvBlock], n_in: int, n_out: int, *, activation: str, norm: str
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.shortcut = (
            ConvBlock(n_in, n_out, 1, activation=None, norm=norm, rate=0.0)
            if n_in != n_out
            else None
        )
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Rows, there: There) -> Wider:
        past = x if self.shortcut is None else self.shortcut(x, there)
        for block in self.blocks:
            x = block(x, there)
        return cut(self.activation(x + past), there)


def cut(x: Rows, there: There) -> Rows:
    """0 behind the end of each sequence, as a shorter one has zeros around it."""
    return x if there is None else x * there[:, None]
