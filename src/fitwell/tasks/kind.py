"""What a task is: the few things that the loop and the report need to know of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from fitwell.spec import Spec, TaskName


@dataclass(frozen=True)
class Decoded:
    """Raw outputs as a person reads them.

    Args:
        prediction: [example] class index, or the number in the target's own unit.
        probabilities: [example, class], or None where the task has none.
    """

    prediction: np.ndarray
    probabilities: np.ndarray | None


@dataclass(frozen=True)
class Task:
    """One task.

    Args:
        name: its name in `Spec.task`.
        losses: the losses that suit it, its default first.
        head: (spec, loss's name) -> units of the model's head.
        metric: the default score for data of this spec.
        decode: (outputs [example, output] float32, restore) -> Decoded; `restore` brings numbers
            back to the target's own unit.
        normaliser: (values [batch], target) -> what the sum of the losses is divided by.
    """

    name: TaskName
    losses: tuple[str, ...]
    head: Callable[[Spec, str], int]
    metric: Callable[[Spec], str]
    decode: Callable[[np.ndarray, Callable[[np.ndarray], np.ndarray]], Decoded]
    normaliser: Callable[[Tensor, Tensor], float]


def per_example(values: Tensor, target: Tensor) -> float:
    """Average over the examples of the batch."""
    return float(values.shape[0])
