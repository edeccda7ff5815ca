"""Muon: matrices move along an orthogonal matrix, everything else by AdamW."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from fitwell.optim.shared import (
    Beta1,
    Beta2,
    Decay,
    Epsilon,
    Group,
    Groups,
    Momentum,
    Rate,
    can_fuse,
    listed,
    update_of,
)

_ADAMW = update_of(torch.optim.AdamW)
# Of the quintic a x + b x^3 + c x^5, chosen for its slope at 0 (Jordan et al. 2024).
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def muon(
    groups: Groups,
    *,
    lr: Rate = 1e-3,
    momentum: Momentum = 0.95,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    epsilon: Epsilon = 1e-8,
    weight_decay: Decay = 0.01,
) -> Optimizer:
    """Momentum whose singular values are all set to about 1, for hidden weights; AdamW for the rest.

    Formula: v = momentum v + g; w = w - lr weight_decay w - 0.2 lr sqrt(max(rows, columns)) O,
        O = U V^T of g + momentum v = U S V^T, by five Newton-Schulz iterations
    Use: wide hidden layers and convolutions, where few directions rule the gradient
    Weakness: five matrix products a weight and step; the singular values lie in 0.7 to 1.2 only
    Source: Jordan et al. 2024, Muon; Liu et al. 2025, arXiv:2502.16982 (the factor 0.2, so that a
        step is as long as AdamW's, and one rate serves both)

    Hidden weights are all weights but the last one, which is the output layer; a convolution's
    kernel is taken as a matrix with a row an output channel. `momentum` is of these, `beta1`, `beta2`
    and `epsilon` are AdamW's. torch's own Muon takes matrices only, and iterates in bfloat16.

    >>> hidden, head = (torch.nn.Parameter(torch.eye(2)) for _ in range(2))
    >>> optimizer = muon([{"params": [hidden, head]}], lr=0.1, weight_decay=0.0)
    >>> (hidden.sum() + head.sum()).backward(); optimizer.step(); head.detach()
    tensor([[ 0.9000, -0.1000],
            [-0.1000,  0.9000]])
    """
    items = _hidden_apart(listed(groups))
    return _Muon(
        items,
        lr=lr,
        betas=(beta1, beta2),
        eps=epsilon,
        weight_decay=weight_decay,
        momentum=momentum,
        fused=can_fuse(items),
    )


def orthogonalised(matrix: Tensor) -> Tensor:
    """U V^T of a matrix U S V^T, nearly: the singular values come to lie between 0.7 and 1.2.

    >>> [round(s, 1) for s in orthogonalised(torch.diag(torch.tensor([5.0, 1.0]))).diag().tolist()]
    [0.7, 0.8]
    """
    a, b, c = _QUINTIC
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix  # the smaller product
    x = wide / wide.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def _hidden_apart(groups: list[Group]) -> list[Group]:
    """The groups, each cut in two: `hidden` weights, and what AdamW takes."""
    penalised = [g for g in groups if g.get("penalised", True)]
    weights = [p for g in penalised for p in g["params"] if p.dim() >= 2]
    hidden = {id(p) for p in weights[:-1]}
    apart = []
    for group in groups:
        for wanted in (True, False):
            chosen = [i for i, p in enumerate(group["params"]) if (id(p) in hidden) == wanted]
            lists = {
                key: [group[key][i] for i in chosen] for key in ("params", "names") if key in group
            }
            if chosen:
                apart.append({**group, **lists, "hidden": wanted})
    return apart


class _Muon(torch.optim.AdamW):
    """AdamW, but for the groups that are `hidden`."""

    def __init__(self, groups: list[Group], *, momentum: float, **options: Any) -> None:
        super().__init__([{"momentum": momentum, **group} for group in groups], **options)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            for weight in group["params"] if group["hidden"] else ():
                if weight.grad is not None:
                    self._turn(weight, group)
                    weight.grad = None  # AdamW, next, passes over what has no gradient
        _ADAMW(self)
        return value

    def _turn(self, weight: Tensor, group: Group) -> None:
        state = self.state[weight]
        if not state:
            # AdamW expects a count wherever there is state, when it loads one.
            state["step"] = torch.zeros(())
            state["momentum"] = torch.zeros_like(weight)
        state["step"] += 1
        state["momentum"].mul_(group["momentum"]).add_(weight.grad)
        ahead = weight.grad + group["momentum"] * state["momentum"]
        turned = orthogonalised(ahead.flatten(1)).reshape(weight.shape)
        scale = 0.2 * math.sqrt(max(weight.shape[0], weight[0].numel()))
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(turned, alpha=-group["lr"] * scale)
