"""Learning-rate schedules by name: pure functions of how far training is.

Each entry takes its settings and gives `factor(progress)`, progress from 0 (first step) to 1 (end),
factor from 0 to 1 of `optim.lr`. Nothing is remembered from step to step, so a resumed run needs no
state.
"""

import math
from collections.abc import Callable
from typing import Annotated, TypeAlias

from pydantic import Field

Schedule: TypeAlias = Callable[[float], float]
Warmup: TypeAlias = Annotated[
    float, Field(ge=0, lt=1, description="share of training in which the rate rises to optim.lr")
]
Floor: TypeAlias = Annotated[
    float, Field(ge=0, le=1, description="share of optim.lr that is left at the end")
]
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
    gamma: Annotated[float, Field(gt=0, le=1, description="what each fall multiplies by")] = 0.1,
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


def cosine(*, warmup: Warmup = 0.0, floor: Floor = 0.0) -> Schedule:
    """Falls along half a cosine: slowly, fast, slowly.

    Formula: f = floor + (1 - floor) (1 + cos(pi t)) / 2, t from the end of warm-up
    Use: a good default with AdamW
    Weakness: the length must be known; stopping early leaves the rate high
    Source: Loshchilov and Hutter 2017, ICLR, equation 5, without restarts

    >>> [round(cosine()(t), 3) for t in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    return _warmed(warmup, lambda t: _cosine(t, floor))


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


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "linear": linear,
}


def _warmed(warmup: float, after: Schedule) -> Schedule:
    """A straight rise over the first share `warmup`, then `after` over the rest, as 0 to 1."""

    def factor(progress: float) -> float:
        progress = min(max(progress, 0.0), 1.0)
        if progress < warmup:
            return _START + (1 - _START) * progress / warmup
        return after((progress - warmup) / (1 - warmup))

    return factor


def _cosine(t: float, floor: float) -> float:
    return floor + (1 - floor) * (1 + math.cos(math.pi * t)) / 2
