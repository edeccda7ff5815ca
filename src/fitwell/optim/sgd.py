"""Stochastic gradient descent, the one optimizer here whose `l1` gives exact zeros."""

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch.optim import Optimizer

from fitwell.errors import SettingError
from fitwell.optim.shared import Decay, Groups, Momentum, Rate, can_fuse, listed, update_of

_UPDATE = update_of(torch.optim.SGD)


def sgd(
    groups: Groups,
    *,
    lr: Rate = 0.05,
    momentum: Momentum = 0.9,
    nesterov: Annotated[bool, Field(description="take the gradient one step ahead")] = False,
    weight_decay: Decay = 5e-4,
    l1: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="penalty on absolute weights; gives exact zeros",
            json_schema_extra={
                "formula": "loss + l1 ||w||_1: w = sign(w) max(|w| - lr l1 / (1 - momentum), 0) "
                "after each step",
                "use": "which features matter: with model.name=linear this is the lasso, with "
                "weight_decay beside it the elastic net",
                "weakness": "shrinks what it keeps; of features that go together it keeps any one",
                "source": "Tibshirani 1996, Journal of the Royal Statistical Society B 58; Duchi and "
                "Singer 2009, JMLR 10; Zou and Hastie 2005 for both penalties",
            },
        ),
    ] = 0.0,
) -> Optimizer:
    """Stochastic gradient descent with momentum, and exact zeros where `l1` asks for them.

    Formula: g = g + weight_decay w; v = momentum v + g; w = w - lr v, or with Nesterov's look ahead
        w = w - lr (g + momentum v)
    Use: the default for convolution networks, with a schedule
    Weakness: one rate for all weights, so layers of different scale want normalisation
    Source: Polyak 1964; Nesterov 1983; Sutskever et al. 2013, ICML; Duchi and Singer 2009 for l1

    `l1` is a proximal step after each step: w = sign(w) max(|w| - lr l1 / (1 - momentum), 0). The
    divisor is there because a steady gradient g moves a weight by lr g / (1 - momentum): without it
    momentum would make the penalty weaker than the loss it is weighed against.

    >>> w = torch.nn.Parameter(torch.tensor([[1.0]]))
    >>> optimizer = sgd([{"params": [w]}], lr=0.5, momentum=0.0, weight_decay=0.0)
    >>> w.square().sum().backward(); optimizer.step(); w.item()
    0.0
    """
    items = listed(groups)
    if nesterov and momentum == 0:
        raise SettingError(
            "optim.nesterov=true looks ahead along the momentum, which is 0. "
            "Set optim.momentum=0.9, or optim.nesterov=false.",
            setting="optim.nesterov",
        )
    kind = _ProximalSGD if l1 > 0 else torch.optim.SGD
    if l1 > 0:
        for group in items:
            group.setdefault("l1", l1 if group.get("penalised", True) else 0.0)
    return kind(
        items,
        lr=lr,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        fused=can_fuse(items),
    )


def start_momentum(optimizer: Optimizer) -> None:
    """Momentum 0 for weights that join those in motion: PyTorch's fused update takes the momentum of all
    weights of a group, or of none. The first step is the same: v = momentum 0 + g."""
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        if not (group["momentum"] and group["fused"]):
            continue
        for weight in group["params"]:
            if weight.requires_grad and optimizer.state[weight].get("momentum_buffer") is None:
                optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)


class _ProximalSGD(torch.optim.SGD):
    """SGD with a soft threshold after each step, on groups whose `l1` is above 0."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        value = _UPDATE(self, closure)
        for group in self.param_groups:
            if not group.get("l1"):
                continue
            threshold = group["lr"] * group["l1"] / (1 - group["momentum"])
            for weight in group["params"]:
                if weight.grad is not None:
                    # Exact: what lies within the threshold becomes 0, the rest moves towards 0.
                    weight.copy_(torch.nn.functional.softshrink(weight, float(threshold)))
        return value
