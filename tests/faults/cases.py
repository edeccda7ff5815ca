"""The eleven programs by name, faulty and mended."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from faults.programs import (
    Loss,
    Program,
    accuracy,
    cifar_convolutions,
    constant_vectors,
    dense,
    fashion,
    mnist_convolutions,
    noisy_parabola,
    normal_linear,
    parabola,
    r_squared,
    umlaut_convolutions,
    words,
)
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adam, Optimizer, RMSprop


def plain(loss: Loss) -> Callable[[nn.Module], Loss]:
    return lambda model: loss


def of_probabilities(said: Tensor, y: Tensor) -> Tensor:
    """Keras' cross-entropy of what a softmax or another function gave, brought to a sum of one."""
    shares = said / said.sum(1, keepdim=True).clamp(min=1e-7)
    return F.nll_loss(shares.clamp(1e-7, 1 - 1e-7).log(), y)


def hinge(said: Tensor, y: Tensor) -> Tensor:
    """Keras' hinge of probabilities, with classes as 0 and 1 where it asks for -1 and 1."""
    return (1 - F.one_hot(y, said.shape[1]) * said).clamp(min=0).mean()


def with_l1(model: nn.Module) -> Loss:
    first = model[0]  # type: ignore[index]
    return lambda said, y: F.cross_entropy(said, y) + 0.01 * first.weight.abs().sum()


def _program(name: str, causes: tuple[str, ...], **parts: Any) -> Program:
    """Of classes and their cross-entropy, unless told otherwise."""
    usual: dict[str, Any] = {"loss": plain(F.cross_entropy), "score": accuracy}
    return Program(name, causes, **{**usual, **parts})


def _adadelta(lr: float) -> Callable[[nn.Module], Optimizer]:
    return lambda model: Adadelta(model.parameters(), lr, rho=0.95, eps=1e-7)


def _adam(model: nn.Module) -> Optimizer:
    return Adam(model.parameters(), 1e-3, eps=1e-7)


_D1: dict[str, Any] = {
    "data": constant_vectors,
    "batch": 32,
    "epochs": 1,
    "optimizer": lambda m: RMSprop(m.parameters(), 1e-3, alpha=0.9, eps=1e-7),
    "loss": plain(F.binary_cross_entropy),
}
_D1_BODY = (
    nn.Linear(128, 50),
    nn.ReLU(),
    nn.Dropout(0.2),
    nn.Linear(50, 50),
    nn.ReLU(),
    nn.Dropout(0.2),
    nn.Linear(50, 1),
)
_MNIST_MENDED = _program(
    "MNIST mended",
    (),
    data=fashion(3000, 14),
    model=mnist_convolutions(),
    optimizer=_adadelta(1.0),
    batch=32,
    epochs=6,
)
_CIFAR_MENDED = _program(
    "CIFAR mended",
    (),
    data=fashion(2000, 32, colour=True),
    model=cifar_convolutions,
    optimizer=_adam,
    batch=32,
    epochs=8,
)
_UMLAUT_MENDED = replace(
    _CIFAR_MENDED,
    name="UMLAUT mended",
    data=fashion(2000, 16, colour=True),
    model=umlaut_convolutions(activation=True),
)
_WORDS: dict[str, Any] = {
    "data": words,
    "batch": 32,
    "epochs": 3,
    "optimizer": _adam,
}
_WORDS_BODY = (nn.Linear(2000, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 46))

PROGRAMS = (
    _program(
        "D1-31880720",
        ("head_loss_mismatch",),
        model=dense(*_D1_BODY, nn.Softmax(1)),
        **_D1,
        mended=_program("D1 mended", (), model=dense(*_D1_BODY, nn.Sigmoid()), **_D1),
    ),
    _program(
        "D4-48385830",
        ("lr_too_high", "head_loss_mismatch", "linear_network", "bad_init"),
        data=fashion(3000, 28, flat=True, hot=True),
        model=normal_linear(activation=False),
        loss=plain(F.mse_loss),
        optimizer=lambda m: SGD(m.parameters(), 3.0),
        batch=10,
        epochs=10,
        mended=_program(
            "D4 mended",
            (),
            data=fashion(3000, 28, flat=True),
            model=normal_linear(activation=True),
            optimizer=lambda m: SGD(m.parameters(), 0.1),
            batch=10,
            epochs=10,
        ),
    ),
    replace(
        _MNIST_MENDED,
        name="M-zeros-init",
        causes=("bad_init",),
        model=mnist_convolutions(zeros=True),
        mended=_MNIST_MENDED,
    ),
    replace(
        _MNIST_MENDED,
        name="M-lr-low",
        causes=("lr_too_low",),
        optimizer=_adadelta(0.001),
        mended=_MNIST_MENDED,
    ),
    replace(
        _CIFAR_MENDED,
        name="C-one-epoch",
        causes=("stopped_too_early",),
        epochs=1,
        mended=_CIFAR_MENDED,
    ),
    _program(
        "R-l1",
        ("over_regularised",),
        model=dense(*_WORDS_BODY),
        loss=with_l1,
        **_WORDS,
        mended=_program(
            "R-l1 mended", (), model=dense(*_WORDS_BODY), loss=plain(F.cross_entropy), **_WORDS
        ),
    ),
    _program(
        "R-hinge",
        ("head_loss_mismatch",),
        model=dense(*_WORDS_BODY, nn.Softmax(1)),
        loss=plain(hinge),
        **_WORDS,
        mended=_program(
            "R-hinge mended", (), model=dense(*_WORDS_BODY), loss=plain(F.cross_entropy), **_WORDS
        ),
    ),
    _program(
        "DL-48221692",
        ("unreachable_targets", "saturated_activation"),
        data=parabola,
        model=dense(nn.Linear(1, 5), nn.Sigmoid(), nn.Linear(5, 1), nn.Sigmoid()),
        loss=plain(F.mse_loss),
        optimizer=lambda m: SGD(m.parameters(), 0.01),
        batch=150,
        epochs=1000,
        score=r_squared,
        mended=_program(
            "DL-48221692 mended",
            (),
            data=parabola,
            scaled=True,
            model=dense(nn.Linear(1, 5), nn.Sigmoid(), nn.Linear(5, 1)),
            loss=plain(F.mse_loss),
            optimizer=lambda m: SGD(m.parameters(), 0.1),
            batch=150,
            epochs=4000,
            score=r_squared,
        ),
    ),
    _program(
        "DL-48934338",
        ("lr_too_high", "exploding_gradient", "dying_relu"),
        data=noisy_parabola,
        model=dense(nn.Linear(1, 50), nn.ReLU(), nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 1)),
        loss=plain(F.mse_loss),
        optimizer=lambda m: SGD(m.parameters(), 0.1),
        batch=32,
        epochs=1000,
        score=r_squared,
        mended=_program(
            "DL-48934338 mended",
            (),
            data=noisy_parabola,
            scaled=True,
            model=dense(
                nn.Linear(1, 50), nn.ReLU(), nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 1)
            ),
            loss=plain(F.mse_loss),
            optimizer=lambda m: SGD(m.parameters(), 0.01),
            batch=32,
            epochs=1000,
            score=r_squared,
        ),
    ),
    _program(
        "DL-55328966",
        ("unscaled_inputs", "lr_too_low", "head_loss_mismatch"),
        data=fashion(5000, 28, divide=1, flat=True),
        model=dense(
            nn.Linear(784, 784), nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10), nn.Sigmoid()
        ),
        loss=plain(of_probabilities),
        optimizer=lambda m: SGD(m.parameters(), 1e-4),
        batch=32,
        epochs=10,
        mended=_program(
            "DL-55328966 mended",
            (),
            data=fashion(5000, 28, flat=True),
            model=dense(
                nn.Linear(784, 784), nn.ReLU(), nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10)
            ),
            optimizer=lambda m: SGD(m.parameters(), 0.05),
            batch=32,
            epochs=10,
        ),
    ),
    replace(
        _UMLAUT_MENDED,
        name="UM-eval-b",
        causes=("linear_network", "lr_too_high"),
        model=umlaut_convolutions(activation=False),
        mended=_UMLAUT_MENDED,
    ),
)
