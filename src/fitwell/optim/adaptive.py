"""Optimizers that give each weight a rate of its own, by the size of its gradients.

Where torch has no fused kernel its next best is asked for: `foreach`, also on a processor. Unless its
formula says otherwise, weight decay is coupled: weight_decay w is added to g beforehand.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch.optim import Optimizer

from fitwell.optim.shared import (
    Beta1,
    Beta2,
    Decay,
    Epsilon,
    Groups,
    Momentum,
    Rate,
    Share,
    can_fuse,
    listed,
)


def adagrad(
    groups: Groups,
    *,
    lr: Rate = 0.01,
    epsilon: Epsilon = 1e-10,
    weight_decay: Decay = 0.0,
) -> Optimizer:
    """Gradient over the root of the sum of all squared gradients so far.

    Formula: s = s + g^2; w = w - lr g / (sqrt(s) + epsilon)
    Use: sparse inputs, where a rare feature should still take long steps
    Weakness: the sum only grows, so the steps fade; a schedule that falls as well ends too early
    Source: Duchi, Hazan and Singer 2011, JMLR 12

    >>> w = torch.nn.Parameter(torch.tensor([[1.0]]))
    >>> optimizer = adagrad([{"params": [w]}], lr=0.1)
    >>> w.square().sum().backward(); optimizer.step(); round(w.item(), 4)
    0.9
    """
    items = listed(groups)
    fused = can_fuse(items, ("cpu",))
    return torch.optim.Adagrad(
        items,
        lr=lr,
        eps=epsilon,
        weight_decay=weight_decay,
        foreach=not fused,
        fused=fused,
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

    Formula: s = alpha s + (1 - alpha) g^2, not centred; v = momentum v + g / (sqrt(s) + epsilon);
        w = w - lr v
    Use: recurrent networks, reinforcement learning
    Weakness: no bias correction, so the first steps are 1/sqrt(1 - alpha) times too long
    Source: Tieleman and Hinton 2012, Coursera lecture 6.5

    >>> w = torch.nn.Parameter(torch.tensor([[1.0]]))
    >>> optimizer = rmsprop([{"params": [w]}], lr=0.01)
    >>> w.square().sum().backward(); optimizer.step(); round(w.item(), 4)
    0.9
    """
    return torch.optim.RMSprop(
        listed(groups),
        lr=lr,
        alpha=alpha,
        momentum=momentum,
        eps=epsilon,
        weight_decay=weight_decay,
        foreach=True,
    )


def adadelta(
    groups: Groups,
    *,
    lr: Rate = 1.0,
    rho: Annotated[
        Share, Field(description="memory of the running means of squared gradients and steps")
    ] = 0.9,
    epsilon: Epsilon = 1e-6,
    weight_decay: Decay = 0.0,
) -> Optimizer:
    """Steps as long as the last steps were, over the root of the running second moment.

    Formula: s = rho s + (1 - rho) g^2; d = g sqrt(u + epsilon) / sqrt(s + epsilon);
        u = rho u + (1 - rho) d^2; w = w - lr d
    Use: where no rate should be chosen: in the paper lr is 1
    Weakness: starts very slowly, since the first steps are of about sqrt(epsilon)
    Source: Zeiler 2012, arXiv:1212.5701, algorithm 1

    >>> w = torch.nn.Parameter(torch.tensor([[1.0]]))
    >>> optimizer = adadelta([{"params": [w]}])
    >>> w.square().sum().backward(); optimizer.step(); round(w.item(), 5)
    0.99684
    """
    return torch.optim.Adadelta(
        listed(groups),
        lr=lr,
        rho=rho,
        eps=epsilon,
        weight_decay=weight_decay,
        foreach=True,
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

    >>> w = torch.nn.Parameter(torch.tensor([[1.0]]))
    >>> optimizer = adam([{"params": [w]}], lr=0.1)
    >>> w.square().sum().backward(); optimizer.step(); round(w.item(), 4)
    0.9
    """
    items = listed(groups)
    return torch.optim.Adam(
        items,
        lr=lr,
        betas=(beta1, beta2),
        eps=epsilon,
        weight_decay=weight_decay,
        fused=can_fuse(items),
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

    >>> w = torch.nn.Parameter(torch.tensor([[1.0]]))
    >>> optimizer = nadam([{"params": [w]}], lr=0.1)
    >>> w.square().sum().backward(); optimizer.step(); w.item() < 1
    True
    """
    return torch.optim.NAdam(
        listed(groups),
        lr=lr,
        betas=(beta1, beta2),
        eps=epsilon,
        momentum_decay=momentum_decay,
        weight_decay=weight_decay,
        foreach=True,
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

    >>> w = torch.nn.Parameter(torch.tensor([[1.0]]))
    >>> optimizer = adamw([{"params": [w]}], lr=0.1, weight_decay=0.5)
    >>> w.square().sum().backward(); optimizer.step(); round(w.item(), 4)
    0.85
    """
    items = listed(groups)
    return torch.optim.AdamW(
        items,
        lr=lr,
        betas=(beta1, beta2),
        eps=epsilon,
        weight_decay=weight_decay,
        fused=can_fuse(items),
    )


def radam(
    groups: Groups,
    *,
    lr: Rate = 1e-3,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    epsilon: Epsilon = 1e-8,
    weight_decay: Decay = 0.0,
) -> Optimizer:
    """Adam with a warm-up of its own: no division by sqrt(s) while s is known too badly.

    Formula: rho = R - 2 t beta2^t / (1 - beta2^t), R = 2 / (1 - beta2) - 1; m and s as Adam's;
        w = w - lr r m / (sqrt(s) + epsilon) with r^2 = (rho - 4)(rho - 2) R / ((R - 4)(R - 2) rho)
        where rho > 5, else w = w - lr m
    Use: where Adam needs a warm-up and none should be tuned
    Weakness: coupled weight decay, as Adam's; the first steps are plain momentum
    Source: Liu et al. 2020, ICLR, algorithm 2, with 5 for the paper's 4, as its authors' code has it

    >>> w = torch.nn.Parameter(torch.tensor([[1.0]]))
    >>> optimizer = radam([{"params": [w]}], lr=0.1)
    >>> w.square().sum().backward(); optimizer.step(); round(w.item(), 4)
    0.8
    """
    return torch.optim.RAdam(
        listed(groups),
        lr=lr,
        betas=(beta1, beta2),
        eps=epsilon,
        weight_decay=weight_decay,
        foreach=True,
    )
