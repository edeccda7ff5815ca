"""Optimizers by name: each entry takes parameter groups and its settings.

The penalties' scale is the same everywhere: the mean loss over the examples plus
weight_decay/2 ||w||^2 (+ l1 ||w||_1), on weights and not on biases, normalisation or learned
slopes: `parameter_groups` says which is which. torch's fused kernels are used where it has them:
one call a step instead of several hundred.
"""

from collections.abc import Callable

from torch.optim import Optimizer

from fitwell.optim.adaptive import adadelta, adagrad, adam, adamw, nadam, radam, rmsprop
from fitwell.optim.averaging import moving_average
from fitwell.optim.groups import parameter_groups
from fitwell.optim.muon import muon
from fitwell.optim.sgd import sgd

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adadelta": adadelta,
    "adam": adam,
    "nadam": nadam,
    "adamw": adamw,
    "radam": radam,
    "muon": muon,
}

__all__ = ["OPTIMIZERS", "moving_average", "parameter_groups"]
