"""The averaged copy of the weights (`train.ema`)."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]
Average: TypeAlias = Callable[[Tensors, Tensors, Tensor | int], None]


def moving_average(decay: float) -> Average:
    """What torch's `AveragedModel` calls after each step: exponential, with a short memory at first.

    Formula and source: `fitwell explain ema`. With `decay` alone from the first step on, a short
    training would end as an average of mostly its first weights.

    >>> average, now = torch.zeros(1), torch.ones(1)
    >>> moving_average(0.98)([average], [now], 8)  # half of it
    >>> average
    tensor([0.5000])
    """

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, steps: Tensor | int) -> None:
        seen = int(steps)
        share = min(decay, (1 + seen) / (10 + seen))
        torch._foreach_lerp_(averaged, current, 1 - share)

    return update
