"""Losses by name: an entry takes its settings and gives `loss(outputs, target) -> values [batch]`.

One value an example: the task averages, weighs and records them. Outputs are raw; whatever
precision the network computed in, a loss is computed in float32 at least.
"""

import math
from collections.abc import Callable
from typing import Annotated, TypeAlias

import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Logits: TypeAlias = Float[Tensor, "batch class"]
Classes: TypeAlias = Int[Tensor, " batch"]
Numbers: TypeAlias = Float[Tensor, " batch"] | Float[Tensor, "batch output"]
Values: TypeAlias = Float[Tensor, " batch"]


def cross_entropy(
    *,
    label_smoothing: Annotated[
        float, Field(ge=0, lt=1, description="share of the target spread evenly over all classes")
    ] = 0.0,
) -> Loss:
    """Surprise at the true class, in nats.

    Formula: -sum_k q_k log softmax(z)_k, with q_k = (1 - s) [k = target] + s / K
    Use: classification, on raw logits; s of about 0.1 against overconfidence and a few wrong labels
    Weakness: one wrong label with a confident answer costs without bound
    Source: Szegedy et al. 2016, CVPR, section 7 (label smoothing)

    >>> import torch
    >>> cross_entropy()(torch.zeros(1, 10), torch.tensor([3]))
    tensor([2.3026])
    """

    def loss(outputs: Logits, target: Classes) -> Values:
        return F.cross_entropy(
            _wide(outputs), target, reduction="none", label_smoothing=label_smoothing
        )

    return loss


def mse() -> Loss:
    """Squared error.

    Formula: (z - y)^2
    Use: regression where large errors are worse than many small ones; predicts the mean
    Weakness: a few outliers rule the fit
    Source: Gauss 1809; Bishop 2006, section 1.2.5

    >>> import torch
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

    >>> import torch
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

    >>> import torch
    >>> huber()(torch.tensor([[0.5], [3.0]]), torch.zeros(2))
    tensor([0.1250, 2.5000])
    """

    def loss(outputs: Numbers, target: Numbers) -> Values:
        error = _error(outputs, target)
        return _mean(F.huber_loss(error, error.new_zeros(()).expand_as(error), "none", delta))

    return loss


def log_cosh() -> Loss:
    """Smooth relative of the absolute error.

    Formula: log cosh(e) = |e| + softplus(-2 |e|) - log 2, with e = z - y
    Use: regression with some outliers, where the loss should be smooth everywhere
    Weakness: no scale of its own: targets must be standardised
    Source: Green 1990, IEEE Transactions on Medical Imaging 9

    The second form is what is computed: cosh overflows in float32 at an error of 90.

    >>> import torch
    >>> log_cosh()(torch.tensor([[0.0], [100.0]]), torch.zeros(2)).tolist()
    [0.0, 99.30685424804688]
    """

    def loss(outputs: Numbers, target: Numbers) -> Values:
        size = _error(outputs, target).abs()
        return _mean(size + F.softplus(-2 * size) - math.log(2))

    return loss


LOSSES: dict[str, Callable[..., Loss]] = {
    "cross_entropy": cross_entropy,
    "mse": mse,
    "mae": mae,
    "huber": huber,
    "log_cosh": log_cosh,
}


def _wide(outputs: Tensor) -> Tensor:
    """At least float32: under bfloat16 autocast a loss would keep three digits."""
    return outputs if outputs.element_size() >= 4 else outputs.float()


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
    return _wide(outputs) - target


def _mean(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1) if values.dim() > 1 else values
