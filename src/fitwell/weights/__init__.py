"""Files of weights: saving and loading without code, and weights from elsewhere into a model."""

from fitwell.weights.files import (
    RUN_WEIGHTS,
    copies,
    read_tensors,
    read_weights,
    write_tensors,
)
from fitwell.weights.fitting import Fitted, fit_weights, load_exactly
from fitwell.weights.objects import load, save
from fitwell.weights.pretrained import load_pretrained, moments, network_of, poor_source

__all__ = [
    "RUN_WEIGHTS",
    "Fitted",
    "copies",
    "fit_weights",
    "load",
    "load_exactly",
    "load_pretrained",
    "moments",
    "network_of",
    "poor_source",
    "read_tensors",
    "read_weights",
    "save",
    "write_tensors",
]
