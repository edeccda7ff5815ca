"""Whether a network is a linear function of its input, whatever its layers are called."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fitwell.nn.modes import evaluating
from fitwell.probes.steps import weight_layers
from fitwell.record import Row

_EXAMPLES = 64
_SUMS = 1e-3  # that the sum of a softmax may be off
_TINY = 1e-12


def linearity(model: nn.Module, x: Tensor) -> Row | None:
    """An evidence row "linearity": how far the output half-way between two inputs is from half-way.

    In evaluation mode, without gradients; modes are put back. Of the first 64 examples each is paired
    with the next.

    Args:
        x: [example, ...] inputs; of words and other codes there is nothing half-way.

    Returns:
        `layers` with weights, and `deviation`: root mean square of f((a + b) / 2) - (f(a) + f(b)) / 2
        over that of f(a) - f(b); 0 for a linear function and a constant shift; of a sigmoid or softmax at
        the end, of what goes into it. `joined`: pairs of layers of
        which the second reads just what the first says, so that both together are one linear layer. None
        where it cannot be told: codes, one example, outputs that do not differ, or that are no tensor.

    >>> row = linearity(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), torch.randn(8, 3))
    >>> row["layers"], row["deviation"] < 1e-5, row["joined"]
    (2, True, [('0', '1')])
    """
    a = x[:_EXAMPLES]
    if not a.is_floating_point() or len(a) < 2:
        return None
    a = a.float()
    with evaluating(model), torch.inference_mode():
        with _noting_joins(model) as joined:
            first = model(a)
        middle = model((a + a.roll(1, 0)) / 2)
    if not isinstance(middle, Tensor) or not middle.is_floating_point():
        return None
    deviations = [_deviation(first.float(), middle.float())]
    if (logits := _logits(first, middle)) is not None:
        deviations.append(_deviation(*logits))
    known = [value for value in deviations if value is not None]
    if not known:
        return None
    return {
        "experiment": "linearity",
        "layers": len(weight_layers(model)),
        "deviation": min(known),
        "joined": joined,
    }


def _deviation(first: Tensor, middle: Tensor) -> float | None:
    """How far outputs half-way between two inputs are from half-way; None where outputs do not differ."""
    last = first.roll(1, 0)
    apart = (first - last).square().mean().sqrt()
    bend = (middle - (first + last) / 2).square().mean().sqrt()
    if not torch.isfinite(apart + bend) or apart <= _TINY * (1 + first.abs().max()):
        return None
    return float(bend / apart)


def _logits(*outputs: Tensor) -> list[Tensor] | None:
    """What went into a sigmoid or softmax at the end, up to a shift; None where the outputs come from none:
    numbers between 0 and 1, of a softmax with the sum 1."""
    if any(out.dim() != 2 or not ((out > 0) & (out < 1)).all() for out in outputs):
        return None
    doubles = [out.double() for out in outputs]
    if outputs[0].shape[1] > 1 and all((out.sum(1) - 1).abs().max() < _SUMS for out in doubles):
        return [out.log() - out.log().mean(1, keepdim=True) for out in doubles]
    return [out.logit() for out in doubles]


@contextmanager
def _noting_joins(model: nn.Module) -> Iterator[list[tuple[str, str]]]:
    """Pairs of layers that follow each other with nothing but a change of shape between."""
    joined: list[tuple[str, str]] = []
    last: list[tuple[str, Tensor]] = []

    def enter(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            x = inputs[0] if inputs else None
            if last and isinstance(x, Tensor) and x.numel() == last[0][1].numel():
                if torch.equal(x.flatten(), last[0][1].flatten()):
                    joined.append((last[0][0], name))

        return hook

    def leave(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            # A copy: an activation in place would change it.
            last[:] = [(name, output.detach().clone())] if isinstance(output, Tensor) else []

        return hook

    handles = []
    for name, module in model.named_modules():
        # A convolution of groups is half of a separable one, which is meant.
        if (
            isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
            and getattr(module, "groups", 1) == 1
        ):
            handles += [
                module.register_forward_pre_hook(enter(name)),
                module.register_forward_hook(leave(name)),
            ]
    try:
        yield joined
    finally:
        for handle in handles:
            handle.remove()
