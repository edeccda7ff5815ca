"""Networks with a fault in their code, for `benchmarks.false_alarms`: no setting makes them."""

import torch
from torch import Tensor, nn

from fitwell.spec import Spec


def _body(spec: Spec, width: int = 64) -> nn.Sequential:
    inputs = 1
    for side in spec.input_shape:
        inputs *= side
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
    )


def softmax_head(spec: Spec) -> nn.Module:
    """Gives probabilities to a loss of logits."""
    return nn.Sequential(*_body(spec), nn.Linear(64, spec.head), nn.Softmax(1))


def sigmoid_head(spec: Spec) -> nn.Module:
    """Gives numbers between 0 and 1 where others are asked for."""
    return nn.Sequential(*_body(spec), nn.Linear(64, spec.head), nn.Sigmoid())


def no_activation(spec: Spec) -> nn.Module:
    """Three layers, and nothing between them."""
    body = [layer for layer in _body(spec) if not isinstance(layer, nn.ReLU)]
    return nn.Sequential(*body, nn.Linear(64, spec.head))


class Detached(nn.Module):
    """The body's output leaves the graph."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.body, self.head = _body(spec), nn.Linear(64, spec.head)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).data)


def detached(spec: Spec) -> nn.Module:
    return Detached(spec)


def dead_units(spec: Spec, *, bias: float = -10.0) -> nn.Module:
    """Units of the second layer that fire on nothing."""
    body = _body(spec)
    with torch.no_grad():
        body[3].bias.fill_(bias)  # type: ignore[union-attr, operator]
    return nn.Sequential(*body, nn.Linear(64, spec.head))


def saturated_units(spec: Spec, *, gain: float = 30.0) -> nn.Module:
    """Units of tanh at their flat ends from the start."""
    body = _body(spec)
    body[2], body[4] = nn.Tanh(), nn.Tanh()
    with torch.no_grad():
        body[1].weight.mul_(gain)  # type: ignore[union-attr, operator]
        body[3].weight.mul_(gain)  # type: ignore[union-attr, operator]
    return nn.Sequential(*body, nn.Linear(64, spec.head))


def one_number(spec: Spec) -> nn.Module:
    """All that the head reads of an example is one number."""
    body = _body(spec)
    return nn.Sequential(*body[:2], nn.ReLU(), nn.Linear(64, 1), nn.ReLU(), nn.Linear(1, spec.head))
