"""Networks of two of the programs under `tests/faults`, for recipes: their faults are settings here."""

from faults.programs import cifar_convolutions, mnist_convolutions
from torch import nn

from fitwell.nn.inits import draw_weights
from fitwell.spec import Spec


def mnist(spec: Spec, *, init: str = "xavier_uniform") -> nn.Module:
    """`zeros`: the first layer's weights alone, as in the mutant."""
    model = mnist_convolutions(zeros=init == "zeros")()
    if init not in ("zeros", "xavier_uniform"):
        draw_weights(model, init)
    return model


def cifar(spec: Spec) -> nn.Module:
    return cifar_convolutions()
