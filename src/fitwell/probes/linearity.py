"""Whether a network is a linear function of its input, whatever its layers are called."""

import torch
from torch import Tensor, nn

from fitwell.nn.modes import evaluating
from fitwell.probes.steps import weight_layers
from fitwell.record import Row

_EXAMPLES = 64
_TINY = 1e-12


def linearity(model: nn.Module, x: Tensor) -> Row | None:
    """An evidence row "linearity": how far the output half-way between two inputs is from half-way.

    In evaluation mode, without gradients; modes are put back. Of the first 64 examples each is paired
    with the next.

    Args:
        x: [example, ...] inputs; of words and other codes there is nothing half-way.

    Returns:
        `layers` with weights, and `deviation`: root mean square of f((a + b) / 2) - (f(a) + f(b)) / 2
        over that of f(a) - f(b); 0 for a linear function and a constant shift. None where it cannot be
        told: codes, one example, outputs that do not differ, or that are no tensor.

    >>> row = linearity(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), torch.randn(8, 3))
    >>> row["layers"], row["deviation"] < 1e-5
    (2, True)
    """
    a = x[:_EXAMPLES]
    if not a.is_floating_point() or len(a) < 2:
        return None
    a = a.float()
    with evaluating(model), torch.inference_mode():
        first, middle = model(a), model((a + a.roll(1, 0)) / 2)
    if not isinstance(middle, Tensor) or not middle.is_floating_point():
        return None
    first = first.float()
    last = first.roll(1, 0)
    apart = (first - last).square().mean().sqrt()
    bend = (middle.float() - (first + last) / 2).square().mean().sqrt()
    if not torch.isfinite(apart + bend) or apart <= _TINY * (1 + first.abs().max()):
        return None
    return {
        "experiment": "linearity",
        "layers": len(weight_layers(model)),
        "deviation": float(bend / apart),
    }
