"""Regression: one number an example, or several, standardised while training, told in its own unit."""

from collections.abc import Callable

import numpy as np

from fitwell.spec import Spec
from fitwell.tasks.kind import Decoded, Task, per_example


def decode(
    outputs: np.ndarray, target: object, restore: Callable[[np.ndarray], np.ndarray]
) -> Decoded:
    """The numbers in the targets' own units.

    >>> decode(np.array([[0.5]]), None, lambda numbers: 10 * numbers).prediction
    array([5.])
    """
    return Decoded(restore(outputs if outputs.shape[1] > 1 else outputs[:, 0]), None)


def metric(spec: Spec) -> str:
    """Of several numbers the share of their variance, since each may have a unit of its own."""
    return "r2" if spec.targets else "rmse"


def trivial(seen: np.ndarray, examples: int) -> np.ndarray:
    """The mean.

    >>> trivial(np.array([1.0, 3.0]), 2)
    array([2., 2.])
    """
    return np.repeat(seen.mean(0, keepdims=True, dtype=np.float64), examples, axis=0)


REGRESSION = Task(
    name="regression",
    losses=("mse", "mae", "huber", "log_cosh", "quantile"),
    head=lambda spec, loss: max(1, len(spec.targets)),
    metric=metric,
    decode=decode,
    trivial=trivial,
    normaliser=per_example,
)
