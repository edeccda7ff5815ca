"""Regression: one number an example, standardised while training, told in its own unit."""

from collections.abc import Callable

import numpy as np

from fitwell.tasks.kind import Decoded, Task, per_example


def decode(outputs: np.ndarray, restore: Callable[[np.ndarray], np.ndarray]) -> Decoded:
    """The number in the target's own unit.

    >>> decode(np.array([[0.5]]), lambda numbers: 10 * numbers).prediction
    array([5.])
    """
    return Decoded(restore(outputs[:, 0]), None)


REGRESSION = Task(
    name="regression",
    losses=("mse", "mae", "huber", "log_cosh", "quantile"),
    head=lambda spec, loss: 1,
    metric=lambda spec: "rmse",
    decode=decode,
    normaliser=per_example,
)
