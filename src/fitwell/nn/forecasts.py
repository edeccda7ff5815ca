"""What forecasting models are made of: trend, offset, one linear forecast a channel, and going on."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Series: TypeAlias = Float[Tensor, "batch channel time"]
Steps: TypeAlias = Float[Tensor, "batch channel step"]
Outputs: TypeAlias = Float[Tensor, "batch output"]
Subtracted: TypeAlias = Literal["none", "last", "mean"]

_SMALL = 1e-5  # a variance below which a window is flat


class MovingAverage(nn.Module):
    """The mean over `kernel` steps around each; beyond both ends the end value goes on.

    >>> MovingAverage(3)(torch.tensor([[[0.0, 3.0, 6.0]]])).tolist()
    [[[1.0, 3.0, 5.0]]]
    """

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Series) -> Series:
        before = (self.kernel - 1) // 2
        padded = F.pad(x, (before, self.kernel - 1 - before), mode="replicate")
        return F.avg_pool1d(padded, self.kernel, stride=1)


class Last(nn.Module):
    """The last steps of each channel."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Series) -> Steps:
        return x[:, :, -self.steps :]


class ChannelLinear(nn.Module):
    """Each channel's steps ahead, linear in its own past.

    Formula: z = W x + b for each channel

    Args:
        own: weights of its own for each channel; otherwise all share theirs.

    >>> ChannelLinear(2, 9, 3, own=True)(torch.zeros(4, 2, 9)).shape
    torch.Size([4, 2, 3])
    """

    def __init__(self, channels: int, steps: int, ahead: int, *, own: bool = False) -> None:
        super().__init__()
        # A window as long as the series: one linear layer a channel, drawn as such.
        self.linear: nn.Module = nn.Linear(steps, ahead)
        if own:
            self.linear = nn.Conv1d(channels, channels * ahead, steps, groups=channels)
        self.own, self.ahead = own, ahead

    def forward(self, x: Series) -> Steps:
        if not self.own:
            return self.linear(x)
        return self.linear(x).unflatten(1, (-1, self.ahead)).squeeze(3)


class Decomposition(nn.Module):
    """A forecast of the moving average plus one of what it leaves.

    Args:
        trend, rest: from [batch, channel, time] to [batch, channel, step].
    """

    def __init__(self, kernel: int, trend: nn.Module, rest: nn.Module) -> None:
        super().__init__()
        self.average, self.trend, self.rest = MovingAverage(kernel), trend, rest

    def forward(self, x: Series) -> Steps:
        average = self.average(x)
        return self.trend(average) + self.rest(x - average)


class Channels(nn.Module):
    """A forecast channel by channel as the outputs of a model: step by step, the targets beside each other.

    Args:
        body: from [batch, channel, time] to [batch, channel, step].
        targets: the channels that are forecast, by number; the others are not read.
        subtract: what is taken off each channel of a window before, and put back after: its last value, or
            its mean, with its deviation divided by; so that the model follows a level that moves.
    """

    def __init__(self, body: nn.Module, targets: Sequence[int], subtract: Subtracted) -> None:
        super().__init__()
        self.body, self.subtract = body, subtract
        self.targets: Tensor
        self.register_buffer("targets", torch.tensor(targets), persistent=False)

    def forward(self, x: Series) -> Outputs:
        x = x[:, self.targets]
        if self.subtract == "none":
            return self.body(x).transpose(1, 2).flatten(1)
        offset, scale = x[:, :, -1:], 1.0
        if self.subtract == "mean":
            offset = x.mean(2, keepdim=True)
            scale = (x.var(2, keepdim=True, correction=0) + _SMALL).sqrt()
        ahead = self.body((x - offset) / scale) * scale + offset
        return ahead.transpose(1, 2).flatten(1)


class Recursive(nn.Module):
    """A model that forecasts a few steps, applied to its own forecasts until the horizon is reached.

    Args:
        model: from [batch, channel, time] to [batch, output], the next steps of every channel.
        places: of each channel among the targets that the model gives.
        times: how often it is applied.
    """

    def __init__(self, model: nn.Module, places: Sequence[int], times: int) -> None:
        super().__init__()
        self.model, self.times = model, times
        self.places: Tensor
        self.register_buffer("places", torch.tensor(places), persistent=False)

    def forward(self, x: Series) -> Outputs:
        found = []
        for _ in range(self.times):
            ahead = self.model(x)
            found.append(ahead)
            steps = ahead.unflatten(1, (-1, len(self.places)))[:, :, self.places]
            x = torch.cat([x, steps.transpose(1, 2)], dim=2)[:, :, steps.shape[1] :]
        return torch.cat(found, dim=1)
