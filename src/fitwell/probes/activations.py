"""Share of dead and of saturated units of every activation, from its derivative."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fitwell.record import Row

# Not functions of one number, so they have no derivative a unit.
_NOT_ELEMENTWISE = (
    nn.MultiheadAttention,
    nn.Softmax,
    nn.Softmax2d,
    nn.Softmin,
    nn.LogSoftmax,
    nn.GLU,
)
# A unit counts as dead only where it gives no gradient at all; 1e-6 absorbs rounding.
DEAD = 1e-6
SATURATED = 0.05


@dataclass
class _Units:
    """What was seen of one activation: a number a unit, summed over the rows on the device."""

    activation: str
    maximum: Tensor
    largest: Tensor | None = None  # [unit] largest |derivative| on any row and position
    total: Tensor | None = None  # [unit] sum of |derivative|
    values: int = 0  # derivatives a unit
    rows: int = 0


@dataclass
class Activations:
    """Derivatives of every activation, gathered while a block runs."""

    units: dict[str, _Units] = field(default_factory=dict)
    _calls: dict[str, int] = field(default_factory=dict)
    _last: list[str] = field(default_factory=list)  # called after the last layer with weights
    _features_last: bool = False

    def attach(self, model: nn.Module) -> list[RemovableHandle]:
        handles = [model.register_forward_pre_hook(self._start)]
        for name, module in model.named_modules():
            if is_activation(module):
                handles.append(module.register_forward_pre_hook(self._measure(name)))
            elif isinstance(module, nn.Linear | nn.LayerNorm | nn.modules.conv._ConvNd):
                handles.append(module.register_forward_pre_hook(self._note_axis))
        return handles

    def rows(self, step: int, epoch: int) -> list[Row]:
        """One row an activation, in the order of the forward pass."""
        return [
            _activation_row(step, epoch, name, index, seen) | {"head": name in self._last}
            for index, (name, seen) in enumerate(self.units.items())
            if seen.largest is not None
        ]

    def _start(self, *_: object) -> None:
        self._calls = {}

    def _note_axis(self, module: nn.Module, *_: object) -> None:
        # [batch, token, feature] and [batch, channel, position] look alike; the layer before tells.
        self._features_last = isinstance(module, nn.Linear | nn.LayerNorm)
        self._last = []

    def _measure(self, name: str) -> Any:
        # Before the call, not after it: an activation in place has overwritten its input by then.
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            call = self._calls[name] = self._calls.get(name, 0) + 1
            # One module used at several places is several activations.
            key = name if call == 1 else f"{name}#{call}"
            self._last.append(key)
            if key not in self.units:
                self.units[key] = _Units(
                    type(module).__name__.lower(), largest_derivative(module, args[0])
                )
            _add(self.units[key], derivative(module, args[0]), self._features_last)

        return hook


def is_activation(module: nn.Module) -> bool:
    """Whether the module is a function of one number, applied to each."""
    home = type(module).__module__
    listed = home == "torch.nn.modules.activation" or home.startswith("fitwell.nn.activations")
    return listed and not isinstance(module, _NOT_ELEMENTWISE)


def derivative(module: nn.Module, x: Tensor) -> Tensor:
    """|derivative| of an activation at its pre-activations, same shape as `x`, float32.

    Closed forms for the cheap ones; autograd for every other, slopes that are learned included.
    """
    # Outside inference mode, on a copy: the pass that is watched keeps no graph and is not touched.
    with torch.inference_mode(False), torch.autocast(x.device.type, enabled=False):
        z = x.detach().clone().float()
        if type(module) is nn.ReLU:
            return (z > 0).float()
        if type(module) is nn.Sigmoid:
            y = torch.sigmoid(z)
            return y * (1 - y)
        if type(module) is nn.Tanh:
            return 1 - torch.tanh(z).square()
        with torch.enable_grad():
            z.requires_grad_(True)
            # `forward`, not the call: no hooks. `z * 1`: in place may not touch a leaf.
            y = module.forward(z * 1)
            if not y.requires_grad:
                return torch.zeros_like(z)
            return torch.autograd.grad(y.sum(), z)[0].abs()


def largest_derivative(module: nn.Module, like: Tensor) -> Tensor:
    """The largest |derivative| that the activation has anywhere (scalar), from a fine grid."""
    grid = torch.linspace(-10, 10, 4001, device=like.device)
    if isinstance(module, nn.PReLU):
        grid = grid[:, None].expand(-1, module.num_parameters)
    return derivative(module, grid).max()


def _add(seen: _Units, slope: Tensor, features_last: bool) -> None:
    """Add the derivatives of a batch; units are features, or channels of [batch, channel, ...]."""
    axis = slope.dim() - 1 if slope.dim() < 3 or features_last else 1
    by_unit = slope.movedim(axis, 0).flatten(1)  # [unit, value]
    largest, total = by_unit.amax(1), by_unit.double().sum(1)
    seen.largest = largest if seen.largest is None else torch.maximum(seen.largest, largest)
    seen.total = total if seen.total is None else seen.total + total
    seen.values += by_unit.shape[1]
    seen.rows += slope.shape[0]


def _activation_row(step: int, epoch: int, name: str, index: int, seen: _Units) -> Row:
    assert seen.largest is not None and seen.total is not None
    dead = (seen.largest <= DEAD * seen.maximum).float().mean()
    saturated = (seen.total / seen.values < SATURATED * seen.maximum).float().mean()
    return {
        "step": step,
        "epoch": epoch,
        "layer": name,
        "index": index,
        "kind": "epoch",
        "activation": seen.activation,
        "dead": dead.item(),
        "saturated": saturated.item(),
        "units": seen.largest.numel(),
        "rows": seen.rows,
    }
