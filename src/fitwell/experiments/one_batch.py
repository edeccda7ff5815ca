"""Can it learn one batch by heart? A network that cannot has a fault that no amount of data mends."""

import math
import time
from collections.abc import Callable, Sequence

from fitwell.experiments.range_test import StepFunction
from fitwell.record import Row

# One training on one batch: a step at a learning rate that gives the loss before it, and how well
# the batch is fitted by now, from 0 (as by always saying the same) to 1.
Start = Callable[[int], tuple[StepFunction, Callable[[], float]]]

FACTORS = (1.0, 0.1, 10.0, 0.01)  # of the learning rate
_LOOK_EVERY = 20  # steps
_LEARNED = 0.99


def one_batch(
    start: Start,
    *,
    lr: float,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 200,
    seconds: float = math.inf,
) -> list[Row]:
    """One evidence row a seed and learning rate: how well one batch is fitted in the end.

    Args:
        start: seed -> a fresh training on one fixed batch without random changes of it: a step, and
            the measure of the fit.
        lr: the recipe's learning rate; multiples of it (`FACTORS`) are tried as well, since a rate
            that does not suit is another fault.
        steps: at most so many; a training ends early where the batch is learned, or where the loss is
            not finite.
        seconds: that it may take; a seed that is not through by then leaves no rows, since of a rate that
            was not tried nothing is known.

    Returns:
        Rows `{"experiment": "one_batch", "seed", "lr", "steps", "first", "last", "fit"}`; losses that
        are not finite are None, and the fit is 0 then. Of a seed that learned the batch at one rate,
        further rates are not tried.

    Source: Karpathy 2019, A recipe for training neural networks ("overfit one batch")
    """
    rows: list[Row] = []
    until = time.monotonic() + seconds
    for seed in seeds:
        own: list[Row] = []
        for rate in (lr * factor for factor in FACTORS):
            row = _one(start(seed), seed, rate, steps, until)
            if row is None:
                return rows
            own.append(row)
            if row["fit"] >= _LEARNED:
                break
        rows += own
    return rows


def _one(
    training: tuple[StepFunction, Callable[[], float]],
    seed: int,
    lr: float,
    steps: int,
    until: float,
) -> Row | None:
    """The row of one training; None where its time is up first."""
    step, fit = training
    losses, reached = [], 0.0
    for number in range(1, steps + 1):
        if time.monotonic() > until:
            return None
        losses.append(float(step(lr)))
        if not math.isfinite(losses[-1]):
            reached = 0.0
            break
        if number % _LOOK_EVERY == 0 or number == steps:
            reached = float(fit())
            if reached >= _LEARNED:
                break
    first, last = losses[0], losses[-1]
    return {
        "experiment": "one_batch",
        "seed": seed,
        "lr": lr,
        "steps": len(losses),
        "first": first if math.isfinite(first) else None,
        "last": last if math.isfinite(last) else None,
        "fit": reached if math.isfinite(reached) else 0.0,
    }
