"""What is wrong with a model and its optimizer before any step."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from fitwell.errors import SettingError

_DEEPEST = 3  # modules within each other


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside of what compiles or distributes it."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and type(model).__name__ in ("DistributedDataParallel", "DataParallel"):
            inner = getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def called_modules(model: nn.Module) -> list[nn.Module]:
    """The model, and what a loop may call in its place: the one child that holds all of its parameters
    (as of a LightningModule), and likewise of that; not within what compiles or distributes."""
    found = [model]
    while unwrapped(found[-1]) is found[-1] and len(found) < _DEEPEST:
        held = {id(p) for p in found[-1].parameters()}
        below = [c for c in found[-1].children() if {id(p) for p in c.parameters()} == held]
        if len(below) != 1:
            break
        found.append(below[0])
    return found


def optimizers_in(given: Any) -> list[Optimizer]:
    """The optimizers of what was given: one, several, or such as wrap one.

    Raises:
        SettingError: it is none.
    """
    found: list[Optimizer] = []
    for each in given if isinstance(given, list | tuple) else [given] if given is not None else []:
        inner = each
        # Those that wrap one may call themselves optimizers, and have no hooks.
        while isinstance(getattr(inner, "optimizer", None), Optimizer):
            inner = inner.optimizer
        if not isinstance(inner, Optimizer):
            raise SettingError(
                f"optimizer: {type(each).__name__} is no torch optimizer. Give the "
                "torch.optim.Optimizer whose step() is called, or leave it out.",
                setting="optimizer",
            )
        found.append(inner)
    return found


def check_model(model: nn.Module) -> None:
    """Refuse what cannot be trained.

    Raises:
        SettingError: no module, or one without parameters.
    """
    if not isinstance(model, nn.Module):
        raise SettingError(
            f"model: {type(model).__name__} is no torch module. Give the nn.Module that is trained.",
            setting="model",
        )
    if not any(True for _ in model.parameters()):
        raise SettingError(
            f"model: {type(model).__name__} has no parameters, so there is nothing to train. Give the "
            "module that holds the weights.",
            setting="model",
        )


def check_optimizer(optimizer: Optimizer) -> None:
    """Refuse settings with which no step can be right.

    Raises:
        SettingError: a learning rate below zero, or of zero with no scheduler that would raise it; a
            setting that is not a number; nothing to train.
    """
    if not any(group["params"] for group in optimizer.param_groups):
        raise SettingError(
            f"{type(optimizer).__name__} has no parameters. Give it model.parameters().",
            setting="optimizer",
        )
    for number, group in enumerate(optimizer.param_groups):
        place = f"group {number} of {type(optimizer).__name__}"
        for name, value in group.items():
            numbers = value if isinstance(value, tuple | list) else [value]
            if name != "params" and any(_is_nan(v) for v in numbers):
                raise SettingError(f"{name} = {value} in {place}: must be a number.", setting=name)
        rate = float(group.get("lr", 1.0))
        if rate < 0:
            raise SettingError(
                f"lr = {rate:g} in {place}: below zero each step climbs the loss. Give a rate above "
                "0, such as 0.01 for SGD and 0.001 for Adam.",
                setting="lr",
            )
        if rate == 0 and "initial_lr" not in group:
            raise SettingError(
                f"lr = 0 in {place}, and no scheduler is attached that would raise it: nothing would move. "
                "Give a rate above 0.",
                setting="lr",
            )


def _is_nan(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and bool(value.isnan())
    return isinstance(value, float) and math.isnan(value)


def not_in_optimizer(model: nn.Module, optimizers: Sequence[Optimizer]) -> list[str]:
    """Names of the parameters that are to be trained and that no optimizer has."""
    held = {id(p) for o in optimizers for group in o.param_groups for p in group["params"]}
    return [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in held]
