"""Batch normalisation by the whole batch, where each process holds a share of it.

PyTorch's `SyncBatchNorm` does this on accelerators only, and takes the place of the modules; here they
stay what they are and compute otherwise for a while.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fitwell.nn.losses.parts import wide

_PLAIN = _BatchNorm.forward


@contextmanager
def whole_batch_norm(model: nn.Module) -> Iterator[None]:
    """Inside, the batch normalisations of a model in training mode take the mean and the variance of all
    processes' rows. One with a `forward` of its own is left alone."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and type(m).forward is _PLAIN]
    for layer in layers:
        layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _forward(layer: _BatchNorm, x: Tensor) -> Tensor:
    """[batch, channel, ...] -> the same, normalised; as torch's `batch_norm` of the joined batch."""
    if not layer.training:
        return _PLAIN(layer, x)
    channels, others = x.shape[1], [0, *range(2, x.dim())]
    per_channel = [1, channels, *[1] * (x.dim() - 2)]
    values = wide(x)
    here = values.new_tensor([x.numel() // channels])
    total, count = _summed(torch.cat([values.sum(others), here])).split([channels, 1])
    mean = total / count
    # Two passes: the mean of the squares less the square of the mean would lose digits.
    away = values - mean.view(per_channel)
    variance = _summed(away.square().sum(others)) / count
    _remember(layer, mean.detach(), variance.detach(), count.detach())
    out = away * torch.rsqrt(variance + layer.eps).view(per_channel)
    if layer.weight is not None:
        out = out * layer.weight.view(per_channel)
    if layer.bias is not None:
        out = out + layer.bias.view(per_channel)
    return out.to(x.dtype)


@torch.no_grad()
def _remember(layer: _BatchNorm, mean: Tensor, variance: Tensor, count: Tensor) -> None:
    """Move the running statistics towards those of this batch."""
    if not layer.track_running_stats or layer.running_mean is None:
        return
    assert layer.running_var is not None and layer.num_batches_tracked is not None
    layer.num_batches_tracked += 1
    share = layer.momentum
    if share is None:  # of all batches alike
        share = 1 / float(layer.num_batches_tracked)
    layer.running_mean.lerp_(mean, share)
    layer.running_var.lerp_(variance * (count / (count - 1)), share)


class _Sum(torch.autograd.Function):
    """The sum over all processes, through which each loss depends on every process's rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def _summed(x: Tensor) -> Tensor:
    return _Sum.apply(x)
