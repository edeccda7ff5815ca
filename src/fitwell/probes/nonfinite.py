"""Which layer first gives NaN or infinity."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fitwell.nn.modes import evaluating


@torch.no_grad()
def name_nonfinite(model: nn.Module, x: Any) -> str:
    """Which layer first gives NaN or infinity, as part of a sentence; changes nothing.

    Weights are looked at first, then a forward pass in evaluation mode. Empty where all is finite
    (then the loss itself, or the gradient, was not).
    """
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            layer, _, own = name.rpartition(".")
            return f"layer {layer or own}: its {own} is not finite"
    if any(not torch.isfinite(t).all() for t in _tensors(x)):
        return "the input batch: it is not finite"
    first: list[str] = []

    def check(name: str) -> Any:
        def hook(module: nn.Module, _: object, output: object) -> None:
            if not first and any(not torch.isfinite(t).all() for t in _tensors(output)):
                kind = type(module).__name__
                first.append(f"layer {name or 'model'} ({kind}): its output is not finite")

        return hook

    handles = [m.register_forward_hook(check(name)) for name, m in model.named_modules()]
    try:
        with evaluating(model):  # no batch statistics are updated, no random numbers are drawn
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return first[0] if first else ""


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
