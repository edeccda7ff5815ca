"""By what a search asks for its next point and gives a trial up: the samplers and pruners of Optuna."""

import itertools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from fitwell.search.space import Dimension

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("wilcoxon", "median", "none")
# Folds before the first decision. The smallest p-value of n pairs is 2^-n: below 3 none could be told.
FIRST_FOLDS = {"wilcoxon": 3, "median": 2}
# After three folds that means: worse than the best on every one of them, which an equal setting is once
# in eight times. A stricter test would wait for a fifth fold, of five.
P_VALUE = 0.15
STARTUP = 5  # trials before the median is one of anything


def sampler_of(name: str, seeds: Sequence[int]) -> Any:
    """A fresh one for each question: what it says depends on the seeds and on the trials so far alone, so
    that a search that was interrupted goes on as it would have.

    Args:
        seeds: of the search, and how many trials there are.
    """
    from optuna import samplers

    seed = int(np.random.SeedSequence(list(seeds)).generate_state(1)[0])
    if name == "tpe":
        # Trials under way count as bad ones, so that those of a batch are not asked for side by side.
        return samplers.TPESampler(seed=seed, constant_liar=True)
    return samplers.RandomSampler(seed=seed)


def pruner_of(name: str) -> Any:
    from optuna import pruners

    if name == "wilcoxon":
        first = FIRST_FOLDS[name]
        return pruners.WilcoxonPruner(p_threshold=P_VALUE, n_startup_steps=first)
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=FIRST_FOLDS[name] - 1)
    return pruners.NopPruner()


def grid(space: Sequence[Dimension], seed: int) -> list[dict[str, Any]]:
    """The points of the grid, shuffled: one that is cut short is then cut evenly.

    >>> space = [Dimension("optim.name", choices=("sgd", "adam"))]
    >>> sorted(point["optim.name"] for point in grid(space, 0))
    ['adam', 'sgd']
    """
    names = [d.name for d in space]
    points = [
        dict(zip(names, p, strict=True)) for p in itertools.product(*map(Dimension.levels, space))
    ]
    random.Random(seed).shuffle(points)
    return points
