"""Learning-rate schedules by name: pure functions of how far training is, and of its losses so far.

Each entry takes its settings and gives `factor(progress, losses)`: progress from 0 (first step) to 1
(end), the recorded validation loss of each epoch that is over; factor from 0 to 1 of `optim.lr`.
Nothing is remembered from step to step, so a resumed run needs no state.
"""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Protocol, TypeAlias

from pydantic import Field

Losses: TypeAlias = Sequence[float | None]


class Schedule(Protocol):
    """What an entry gives. None among the losses is one that was not finite."""

    def __call__(self, progress: float, losses: Losses = ()) -> float: ...


Warmup: TypeAlias = Annotated[
    float, Field(ge=0, lt=1, description="share of training in which the rate rises to optim.lr")
]
Floor: TypeAlias = Annotated[
    float, Field(ge=0, le=1, description="share of optim.lr that is left at the end")
]
Gamma: TypeAlias = Annotated[float, Field(gt=0, le=1, description="what each fall multiplies by")]
# Warm-up starts here and not at 0, so that the first step is not lost (as in Smith and Topin 2019).
_START = 0.04


def constant(*, warmup: Warmup = 0.0) -> Schedule:
    """The same rate from warm-up to end.

    Formula: f = 1
    Use: short looks, and Adam on easy problems
    Weakness: the noise of the last steps stays in the weights
    Source: Robbins and Monro 1951, for why a rate must fall

    >>> constant()(0.7)
    1.0
    """
    return _warmed(warmup, lambda t: 1.0)


def step(
    *,
    warmup: Warmup = 0.0,
    every: Annotated[
        float, Field(gt=0, le=1, description="share of training between two falls")
    ] = 0.3,
    gamma: Gamma = 0.1,
) -> Schedule:
    """Falls by a factor at equal distances.

    Formula: f = gamma^floor(t / every)
    Use: comparing with older papers
    Weakness: two more choices, and never better than cosine by much
    Source: Krizhevsky, Sutskever and Hinton 2012, NeurIPS; He et al. 2016, CVPR

    >>> [round(step()(t), 3) for t in (0.0, 0.29, 0.31, 0.61)]
    [1.0, 1.0, 0.1, 0.01]
    """
    # 1e-9: 0.3 + 0.3 + 0.3 falls short of 0.9 in binary.
    return _warmed(warmup, lambda t: gamma ** math.floor(t / every + 1e-9))


def multistep(
    *,
    warmup: Warmup = 0.0,
    milestones: Annotated[
        list[Annotated[float, Field(gt=0, le=1)]],
        Field(description="where the rate falls: shares of training"),
    ] = [0.5, 0.75],  # noqa: B006 (never changed)
    gamma: Gamma = 0.1,
) -> Schedule:
    """Falls by a factor at chosen places.

    Formula: f = gamma^(number of milestones up to t)
    Use: comparing with older papers: residual networks fell at 1/2 and 3/4
    Weakness: where to fall is one choice a milestone, and never better than cosine by much
    Source: He et al. 2016, CVPR, section 4.2

    >>> [round(multistep()(t), 3) for t in (0.0, 0.5, 0.8)]
    [1.0, 0.1, 0.01]
    """
    return _warmed(warmup, lambda t: gamma ** sum(t >= m - 1e-9 for m in milestones))


def exponential(
    *,
    warmup: Warmup = 0.0,
    floor: Annotated[
        float, Field(gt=0, le=1, description="share of optim.lr that is left at the end")
    ] = 0.01,
) -> Schedule:
    """Falls by the same factor in every step.

    Formula: f = floor^t, t from the end of warm-up: each of n steps multiplies by floor^(1/n)
    Use: where the best length is not known: the rate is never high for long, nor all gone
    Weakness: falls fastest at the start, when a high rate would still help
    Source: Bottou 2012, Stochastic gradient descent tricks, section 5.2, for decay by formula

    >>> [round(exponential()(t), 3) for t in (0.0, 0.5, 1.0)]
    [1.0, 0.1, 0.01]
    """
    return _warmed(warmup, lambda t: floor**t)


def cosine(
    *,
    warmup: Warmup = 0.0,
    floor: Floor = 0.0,
    restarts: Annotated[
        int, Field(ge=0, le=100, description="how often the rate jumps back up, at equal distances")
    ] = 0,
) -> Schedule:
    """Falls along half a cosine: slowly, fast, slowly; with restarts, several times.

    Formula: f = floor + (1 - floor) (1 + cos(pi u)) / 2, u = (restarts + 1) t modulo 1
    Use: a good default with AdamW; restarts where one descent ends in a poor place
    Weakness: the length must be known; stopping early, or before a restart's end, leaves it high
    Source: Loshchilov and Hutter 2017, ICLR, equation 5, with cycles of equal length

    >>> [round(cosine()(t), 3) for t in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    >>> [round(cosine(restarts=1)(t), 3) for t in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.5, 1.0, 0.0]
    """

    def factor(t: float) -> float:
        cycle = min(math.floor((restarts + 1) * t + 1e-9), restarts)  # the end ends the last one
        return _cosine((restarts + 1) * t - cycle, floor)

    return _warmed(warmup, factor)


def one_cycle(*, warmup: Warmup = 0.1, floor: Floor = 1e-4) -> Schedule:
    """Rises in a straight line to a high rate, then falls along half a cosine to almost nothing.

    Formula: f = 0.04 + 0.96 p / warmup up to p = warmup, then a cosine from 1 to floor
    Use: the default: allows a higher rate, so fewer epochs
    Weakness: the length must be known; stopping early leaves the rate high
    Source: Smith and Topin 2019, arXiv:1708.07120; momentum is left alone here

    >>> [round(one_cycle()(t), 3) for t in (0.0, 0.1, 0.55, 1.0)]
    [0.04, 1.0, 0.5, 0.0]
    """
    return _warmed(warmup, lambda t: _cosine(t, floor))


def linear(*, warmup: Warmup = 0.0, floor: Floor = 0.0) -> Schedule:
    """Falls in a straight line.

    Formula: f = 1 - (1 - floor) t, t from the end of warm-up
    Use: fine-tuning of transformers, short budgets
    Weakness: the length must be known
    Source: Devlin et al. 2019, NAACL (BERT); Defazio et al. 2023, arXiv:2310.07831

    >>> [linear()(t) for t in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    return _warmed(warmup, lambda t: 1 - (1 - floor) * t)


def plateau(
    *,
    warmup: Warmup = 0.0,
    patience: Annotated[
        int, Field(ge=0, description="epochs without a better validation loss that are forgiven")
    ] = 3,
    gamma: Gamma = 0.3,
    floor: Floor = 1e-3,
) -> Schedule:
    """Falls by a factor whenever the validation loss has stopped getting better.

    Formula: f = max(floor, gamma^k), k times that patience + 1 epochs in a row brought nothing
    Use: where the right length is not known; together with train.patience
    Weakness: waits before each fall; a noisy validation loss makes it fall too soon
    Source: Bengio 2012, Practical recommendations for gradient-based training, section 3.1

    Better is lower by 0.01 % at least, as in torch's ReduceLROnPlateau. Without a validation part the
    training loss is watched.

    >>> [round(plateau(patience=1)(0.5, [3.0, 2.0, *[2.0] * n]), 3) for n in (1, 2, 4)]
    [1.0, 0.3, 0.09]
    """

    def after(_: float, losses: Losses) -> float:
        best, stale, falls = math.inf, 0, 0
        for loss in losses:
            if loss is not None and loss < best * (1 - 1e-4):
                best, stale = loss, 0
            else:
                stale += 1
            if stale > patience:
                stale, falls = 0, falls + 1
        return max(floor, gamma**falls)

    return _watching(warmup, after)


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "step": step,
    "multistep": multistep,
    "exponential": exponential,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "linear": linear,
    "plateau": plateau,
}


def _warmed(warmup: float, after: Callable[[float], float]) -> Schedule:
    """A straight rise over the first share `warmup`, then `after` over the rest, as 0 to 1."""
    return _watching(warmup, lambda t, _: after(t))


def _watching(warmup: float, after: Callable[[float, Losses], float]) -> Schedule:
    """As `_warmed`, with an `after` that looks at the losses too."""

    def factor(progress: float, losses: Losses = ()) -> float:
        progress = min(max(progress, 0.0), 1.0)
        if progress < warmup:
            return _START + (1 - _START) * progress / warmup
        return after((progress - warmup) / (1 - warmup), losses)

    return factor


def _cosine(t: float, floor: float) -> float:
    return floor + (1 - floor) * (1 + math.cos(math.pi * t)) / 2
