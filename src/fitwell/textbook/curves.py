"""The curve of an activation, loss, schedule or init, as numbers."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.inits import INITS
from fitwell.nn.losses import LOSSES
from fitwell.probes.activations import DEAD, SATURATED
from fitwell.schedules import SCHEDULES
from fitwell.spec import Spec
from fitwell.tasks import TASKS

Curve = dict[str, Any]
_SIZE, _BINS = 256, 48
_TWO_CLASSES = Spec("table", "classification", (1,), ("other", "true"))


def curve(kind: str, name: str, settings: Mapping[str, Any]) -> Curve | None:
    """`{"x", "y", "across"}` and where there is one `derivative`; None where a curve says nothing.

    Activations also have `dead` and `saturated`: the stretches, up to the edge of what is drawn,
    where the derivative is nothing, or below 5 % of its largest (as the probes count units).

    >>> curve("activations", "relu", {})["dead"]
    [[-6.0, 0.0]]
    """
    return _CURVES[kind](name, settings) if kind in _CURVES else None


def _activation(name: str, settings: Mapping[str, Any]) -> Curve:
    x, y, derivative = _differentiated(ACTIVATIONS[name](**settings), _steps(6))
    largest = derivative.abs().max()
    return {
        **_listed(x, y, derivative),
        "across": "x",
        "dead": _stretches(x, derivative.abs() <= DEAD * largest),
        "saturated": _stretches(x, derivative.abs() < SATURATED * largest),
    }


def _loss(name: str, settings: Mapping[str, Any]) -> Curve | None:
    """Regression by the error; classification by how far the true one of two classes is ahead."""
    tasks = [task for task, kind in TASKS.items() if name in kind.losses]
    loss = LOSSES[name](**settings)
    if "regression" in tasks:
        x = _steps(3)
        return {
            **_listed(*_differentiated(lambda e: loss(e[:, None], torch.zeros_like(e)), x)),
            "across": "error z - y",
        }
    if "classification" in tasks:
        x = _steps(6)
        one_logit = TASKS["classification"].head(_TWO_CLASSES, name) == 1
        target = torch.full((len(x),), int(one_logit))

        def value(margin: Tensor) -> Tensor:
            logits = [margin] if one_logit else [margin, torch.zeros_like(margin)]
            return loss(torch.stack(logits, 1), target)

        return {**_listed(*_differentiated(value, x)), "across": "margin: true - other logit"}
    return None


def _schedule(name: str, settings: Mapping[str, Any]) -> Curve:
    factor = SCHEDULES[name](**settings)
    x = [i / 200 for i in range(201)]
    return {"x": x, "y": [factor(t) for t in x], "across": "progress of training"}


def _init(name: str, settings: Mapping[str, Any]) -> Curve:
    """How the weights of one layer are spread: a histogram, its area 1."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Linear(_SIZE, _SIZE)
        INITS[name](layer)
    weights = layer.weight.detach().flatten().double()
    edge = float(weights.abs().max()) * 1.05 or 1.0
    width = 2 * edge / _BINS
    counts = torch.histc(weights, _BINS, -edge, edge)
    x = [-edge + (i + 0.5) * width for i in range(_BINS)]
    y = (counts / len(weights) / width).tolist()
    return {"x": x, "y": y, "across": f"weight, {_SIZE} inputs and outputs"}


_CURVES: dict[str, Callable[[str, Mapping[str, Any]], Curve | None]] = {
    "activations": _activation,
    "losses": _loss,
    "schedules": _schedule,
    "inits": _init,
}


def _steps(edge: int) -> Tensor:
    """-edge to edge in tenths, 0 exactly among them."""
    return torch.arange(-10 * edge, 10 * edge + 1) / 10


def _differentiated(
    function: Callable[[Tensor], Tensor], x: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = function(x * 1)  # an activation in place may not touch a leaf
    (derivative,) = torch.autograd.grad(y.sum(), x)
    return x.detach(), y.detach(), derivative


def _listed(x: Tensor, y: Tensor, derivative: Tensor) -> Curve:
    """Six digits: what lies beyond, or far below the largest, differs from machine to machine."""
    noise = [1e-6 * float(values.abs().max()) for values in (x, y, derivative)]
    rounded = (
        [float(f"{v:.6g}") if abs(v) > least else 0.0 for v in values.tolist()]
        for values, least in zip((x, y, derivative), noise, strict=True)
    )
    return dict(zip(("x", "y", "derivative"), rounded, strict=True))


def _stretches(x: Tensor, holds: Tensor) -> list[list[float]]:
    """The stretches from either end of x up to which the condition holds."""
    where = [float(f"{v:.3g}") for v in x.tolist()]
    flags = holds.tolist()
    if all(flags):
        return [[where[0], where[-1]]]
    left, right = flags.index(False), flags[::-1].index(False)
    found = [[where[0], where[left - 1]]] if left else []
    return found + ([[where[-right], where[-1]]] if right else [])
