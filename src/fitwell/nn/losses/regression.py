"""Losses of numbers: outputs [batch, 1], [batch] or [batch, output] against as many targets.

Several outputs are averaged. Targets are standardised while training, and so are the errors.
"""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from fitwell.nn.losses.parts import Loss, Numbers, Values, wide


def mse() -> Loss:
    """Squared error.

    Formula: (z - y)^2
    Use: regression where large errors are worse than many small ones; predicts the mean
    Weakness: a few outliers rule the fit
    Source: Gauss 1809; Bishop 2006, section 1.2.5

    >>> mse()(torch.tensor([[3.0]]), torch.tensor([1.0]))
    tensor([4.])
    """

    def loss(outputs: Numbers, target: Numbers) -> Values:
        return _mean(_error(outputs, target).square())

    return loss


def mae() -> Loss:
    """Absolute error.

    Formula: |z - y|
    Use: regression with outliers; predicts the median
    Weakness: its gradient does not shrink near the target, so the rate must
    Source: Laplace 1774; Huber 1964

    >>> mae()(torch.tensor([[3.0]]), torch.tensor([1.0]))
    tensor([2.])
    """

    def loss(outputs: Numbers, target: Numbers) -> Values:
        return _mean(_error(outputs, target).abs())

    return loss


def huber(
    *,
    delta: Annotated[
        float, Field(gt=0, description="error, in standard deviations, where square turns straight")
    ] = 1.0,
) -> Loss:
    """Squared error near the target, absolute error far from it.

    Formula: e^2 / 2 for |e| <= delta, else delta (|e| - delta / 2), with e = z - y
    Use: regression with some outliers
    Weakness: delta is one more choice
    Source: Huber 1964, Annals of Mathematical Statistics 35

    >>> huber()(torch.tensor([[0.5], [3.0]]), torch.zeros(2))
    tensor([0.1250, 2.5000])
    """

    def loss(outputs: Numbers, target: Numbers) -> Values:
        error = _error(outputs, target)
        return _mean(F.huber_loss(error, error.new_zeros(()).expand_as(error), "none", delta))

    return loss


def log_cosh() -> Loss:
    """Smooth relative of the absolute error: e^2 / 2 for small errors, |e| - log 2 for large ones.

    Formula: log cosh(e) = |e| + softplus(-2 |e|) - log 2, with e = z - y
    Use: regression with some outliers, where the loss should be smooth everywhere
    Weakness: no scale of its own: targets must be standardised
    Source: Green 1990, IEEE Transactions on Medical Imaging 9

    cosh overflows in float32 at an error of 90, and the sum above cancels near 0: below 1 it is
    log(1 + 2 sinh(e/2)^2), which is the same.

    >>> log_cosh()(torch.tensor([[1e-8], [100.0]]), torch.zeros(2)).tolist()
    [5.0000000843119176e-17, 99.30685424804688]
    """

    def loss(outputs: Numbers, target: Numbers) -> Values:
        size = _error(outputs, target).abs()
        near = torch.log1p(2 * torch.sinh(size.clamp(max=1) / 2).square())
        far = size + F.softplus(-2 * size) - math.log(2)
        return _mean(torch.where(size < 1, near, far))

    return loss


def quantile(
    *,
    tau: Annotated[
        float, Field(gt=0, lt=1, description="share of the targets that should lie below")
    ] = 0.5,
) -> Loss:
    """Absolute error that costs more on one side: predicts a quantile.

    Formula: tau (y - z) for z <= y, else (1 - tau)(z - y)
    Use: bounds of what may happen (tau 0.05 and 0.95); tau 0.5 is the median, half the absolute error
    Weakness: needs many examples near the ends; two bounds trained apart may cross
    Source: Koenker and Bassett 1978, Econometrica 46

    >>> quantile(tau=0.9)(torch.tensor([[1.0], [3.0]]), torch.full((2,), 2.0))
    tensor([0.9000, 0.1000])
    """

    def loss(outputs: Numbers, target: Numbers) -> Values:
        error = _error(outputs, target)
        return _mean(torch.maximum(-tau * error, (1 - tau) * error))

    return loss


def _error(outputs: Tensor, target: Tensor) -> Tensor:
    """Outputs minus target, [batch] or [batch, output].

    Raises:
        ValueError: the shapes differ by more than the head's single output; broadcasting
            [batch, 1] against [batch] would silently compare every pair of examples.
    """
    if outputs.dim() == target.dim() + 1 and outputs.shape[-1] == 1:
        outputs = outputs.squeeze(-1)
    if outputs.shape != target.shape:
        raise ValueError(f"outputs {tuple(outputs.shape)} and target {tuple(target.shape)} differ")
    return wide(outputs) - target


def _mean(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1) if values.dim() > 1 else values
