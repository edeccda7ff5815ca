"""Losses by name: an entry takes its settings and gives `loss(outputs, target) -> values [batch]`.

One value an example: the task averages, weighs and records them. Outputs are raw; whatever
precision the network computed in, a loss is computed in float32 at least.
"""

from collections.abc import Callable

from fitwell.nn.losses.classification import (
    binary_cross_entropy,
    cross_entropy,
    focal,
    gce,
    hinge,
)
from fitwell.nn.losses.detection import boxes
from fitwell.nn.losses.parts import Loss, training_loss
from fitwell.nn.losses.regression import huber, log_cosh, mae, mse, quantile

LOSSES: dict[str, Callable[..., Loss]] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "focal": focal,
    "hinge": hinge,
    "gce": gce,
    "mse": mse,
    "mae": mae,
    "huber": huber,
    "log_cosh": log_cosh,
    "quantile": quantile,
    "boxes": boxes,
}

__all__ = ["LOSSES", "Loss", "training_loss"]
