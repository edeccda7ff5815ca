"""Optimizers by name: each entry takes parameter groups and its settings.

The penalties' scale is the same everywhere: the mean loss over the examples plus
weight_decay/2 ||w||^2 (+ l1 ||w||_1), on weights and not on biases, normalisation or learned
slopes: `parameter_groups` says which is which. torch's fused kernels are used where it has them:
one call a step instead of several hundred.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from fitwell.errors import SettingError
from fitwell.nn.inits import named_weights

Group: TypeAlias = dict[str, Any]
Groups: TypeAlias = Iterable[Group] | Iterable[Tensor]
Rate: TypeAlias = Annotated[
    float, Field(gt=0, le=100, description="learning rate: the peak of the schedule")
]
Decay: TypeAlias = Annotated[
    float,
    Field(ge=0, le=10, description="lambda of the penalty lambda/2 ||w||^2, on weights only"),
]
Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Momentum: TypeAlias = Annotated[
    Share, Field(description="share of the last step that is kept: the running direction")
]
Beta1: TypeAlias = Annotated[Share, Field(description="memory of the running mean of gradients")]
Beta2: TypeAlias = Annotated[
    Share, Field(description="memory of the running mean of squared gradients")
]
Epsilon: TypeAlias = Annotated[
    float, Field(gt=0, le=1, description="added to the root, against division by nothing")
]

_FUSED_DEVICES = {"cpu", "cuda", "mps", "xpu"}


def sgd(
    groups: Groups,
    *,
    lr: Rate = 0.05,
    momentum: Momentum = 0.9,
    nesterov: Annotated[bool, Field(description="take the gradient one step ahead")] = False,
    weight_decay: Decay = 5e-4,
    l1: Annotated[
        float, Field(ge=0, le=10, description="penalty on absolute weights; gives exact zeros")
    ] = 0.0,
) -> Optimizer:
    """Stochastic gradient descent with momentum, and exact zeros where `l1` asks for them.

    Formula: v = momentum v + g + weight_decay w; w = w - lr v (Nesterov: w - lr (g + momentum v))
    Use: the default for convolution networks, with a schedule
    Weakness: one rate for all weights, so layers of different scale want normalisation
    Source: Polyak 1964; Nesterov 1983; Sutskever et al. 2013, ICML; Duchi and Singer 2009 for l1

    `l1` is a proximal step after each step: w = sign(w) max(|w| - lr l1 / (1 - momentum), 0). The
    divisor is there because a steady gradient g moves a weight by lr g / (1 - momentum): without it
    momentum would make the penalty weaker than the loss it is weighed against.

    >>> w = nn.Parameter(torch.tensor([[1.0]]))
    >>> optimizer = sgd([{"params": [w]}], lr=0.5, momentum=0.0, weight_decay=0.0)
    >>> w.square().sum().backward(); optimizer.step(); w.item()
    0.0
    """
    listed = _listed(groups)
    if nesterov and momentum == 0:
        raise SettingError(
            "optim.nesterov=true looks ahead along the momentum, which is 0. "
            "Set optim.momentum=0.9, or optim.nesterov=false.",
            setting="optim.nesterov",
        )
    kind = _ProximalSGD if l1 > 0 else torch.optim.SGD
    if l1 > 0:
        for group in listed:
            group.setdefault("l1", l1 if group.get("penalised", True) else 0.0)
    return kind(
        listed,
        lr=lr,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        fused=_can_fuse(listed),
    )


def adam(
    groups: Groups,
    *,
    lr: Rate = 1e-3,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    epsilon: Epsilon = 1e-8,
    weight_decay: Decay = 0.0,
) -> Optimizer:
    """Steps of about `lr` for every weight, whatever the scale of its gradient.

    Formula: w = w - lr m / (sqrt(s) + epsilon), m and s the bias-corrected means of g and g^2
    Use: a first try on anything; sparse or badly scaled gradients
    Weakness: weight decay is divided by sqrt(s) too, so it hardly works: see adamw
    Source: Kingma and Ba 2015, ICLR, algorithm 1

    >>> w = nn.Parameter(torch.tensor([[1.0]]))
    >>> optimizer = adam([{"params": [w]}], lr=0.1)
    >>> w.square().sum().backward(); optimizer.step(); round(w.item(), 4)
    0.9
    """
    listed = _listed(groups)
    return torch.optim.Adam(
        listed,
        lr=lr,
        betas=(beta1, beta2),
        eps=epsilon,
        weight_decay=weight_decay,
        fused=_can_fuse(listed),
    )


def adamw(
    groups: Groups,
    *,
    lr: Rate = 1e-3,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    epsilon: Epsilon = 1e-8,
    weight_decay: Decay = 0.01,
) -> Optimizer:
    """Adam with weight decay apart from the gradient.

    Formula: w = w - lr weight_decay w, then Adam's step on the loss's gradient alone
    Use: the default for transformers, and for tables
    Weakness: the decay a step depends on lr, so the two must be tuned together
    Source: Loshchilov and Hutter 2019, ICLR, algorithm 2

    >>> w = nn.Parameter(torch.tensor([[1.0]]))
    >>> optimizer = adamw([{"params": [w]}], lr=0.1, weight_decay=0.5)
    >>> w.square().sum().backward(); optimizer.step(); round(w.item(), 4)
    0.85
    """
    listed = _listed(groups)
    return torch.optim.AdamW(
        listed,
        lr=lr,
        betas=(beta1, beta2),
        eps=epsilon,
        weight_decay=weight_decay,
        fused=_can_fuse(listed),
    )


def rmsprop(
    groups: Groups,
    *,
    lr: Rate = 1e-3,
    alpha: Annotated[Share, Field(description="memory of the running mean of squares")] = 0.99,
    momentum: Momentum = 0.0,
    epsilon: Epsilon = 1e-8,
    weight_decay: Decay = 0.0,
) -> Optimizer:
    """Gradient over the root of its running second moment.

    Formula: s = alpha s + (1 - alpha) g^2; w = w - lr g / (sqrt(s) + epsilon); s is not centred
    Use: recurrent networks, reinforcement learning
    Weakness: no bias correction, so the first steps are 1/sqrt(1 - alpha) times too long
    Source: Tieleman and Hinton 2012, Coursera lecture 6.5

    >>> w = nn.Parameter(torch.tensor([[1.0]]))
    >>> optimizer = rmsprop([{"params": [w]}], lr=0.01)
    >>> w.square().sum().backward(); optimizer.step(); round(w.item(), 4)
    0.9
    """
    return torch.optim.RMSprop(
        _listed(groups),
        lr=lr,
        alpha=alpha,
        momentum=momentum,
        eps=epsilon,
        weight_decay=weight_decay,
        foreach=True,  # torch has no fused kernel; this is its next best, also on a CPU
    )


def nadam(
    groups: Groups,
    *,
    lr: Rate = 1e-3,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    epsilon: Epsilon = 1e-8,
    momentum_decay: Annotated[
        float, Field(ge=0, le=1, description="how fast the momentum reaches beta1")
    ] = 4e-3,
    weight_decay: Decay = 0.0,
) -> Optimizer:
    """Adam that looks one step ahead, as Nesterov's momentum does.

    Formula: m_hat = mu_{t+1} m / (1 - prod_{i<=t+1} mu_i) + (1 - mu_t) g / (1 - prod_{i<=t} mu_i),
        mu_t = beta1 (1 - 0.5 * 0.96^(t momentum_decay)); w = w - lr m_hat / (sqrt(s_hat) + epsilon)
    Use: where Adam works but turns corners slowly
    Weakness: coupled weight decay, as Adam's
    Source: Dozat 2016, ICLR workshop, algorithm 2

    >>> w = nn.Parameter(torch.tensor([[1.0]]))
    >>> optimizer = nadam([{"params": [w]}], lr=0.1)
    >>> w.square().sum().backward(); optimizer.step(); w.item() < 1
    True
    """
    return torch.optim.NAdam(
        _listed(groups),
        lr=lr,
        betas=(beta1, beta2),
        eps=epsilon,
        momentum_decay=momentum_decay,
        weight_decay=weight_decay,
        foreach=True,  # torch has no fused kernel; this is its next best, also on a CPU
    )


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
    "nadam": nadam,
}


def parameter_groups(model: nn.Module, weight_decay: float) -> list[Group]:
    """What is trained, in two groups: weights with decay; biases, norms and slopes without.

    Each group also has `names` (the parameters' names, in the order of `params`) and `penalised`.
    A parameter that is shared is in it once; one without `requires_grad` not at all.

    Raises:
        SettingError: the model has nothing to train.

    >>> groups = parameter_groups(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), 0.01)
    >>> [(g["names"], g["weight_decay"]) for g in groups]
    [(['0.weight'], 0.01), (['0.bias', '1.weight', '1.bias'], 0.0)]
    """
    trained = [entry for entry in named_weights(model) if entry[1].requires_grad]
    if not trained:
        raise SettingError(
            "model.name: the model has no parameter to train (none, or all frozen).",
            setting="model.name",
        )
    groups: list[Group] = []
    for penalised in (True, False):
        members = [(name, p) for name, p, weight in trained if weight == penalised]
        if members:
            groups.append(
                {
                    "params": [p for _, p in members],
                    "names": [name for name, _ in members],
                    "penalised": penalised,
                    "weight_decay": weight_decay if penalised else 0.0,
                }
            )
    return groups


class _ProximalSGD(torch.optim.SGD):
    """SGD with a soft threshold after each step, on groups whose `l1` is above 0."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        value = super().step(closure)
        for group in self.param_groups:
            if not group.get("l1"):
                continue
            threshold = group["lr"] * group["l1"] / (1 - group["momentum"])
            for weight in group["params"]:
                if weight.grad is not None:
                    # Exact: what lies within the threshold becomes 0, the rest moves towards 0.
                    weight.copy_(torch.nn.functional.softshrink(weight, float(threshold)))
        return value


def _listed(groups: Groups) -> list[Group]:
    """Copies of the groups, to leave the caller's alone; plain parameters become one group."""
    items = list(groups)
    named = [dict(item) for item in items if isinstance(item, dict)]
    return named or [{"params": items}]


def _can_fuse(groups: Iterable[Group]) -> bool:
    """Whether torch's fused kernels take all of these parameters."""
    parameters: list[Tensor] = [p for g in groups for p in g["params"]]
    return all(p.device.type in _FUSED_DEVICES and p.is_floating_point() for p in parameters)
