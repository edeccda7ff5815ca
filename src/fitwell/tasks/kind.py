"""What a task is: the few things that the loop and the report need to know of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from fitwell.data.types import Data
from fitwell.record import Predictions, Row
from fitwell.spec import Spec, TaskName

Standardised: TypeAlias = Callable[[np.ndarray], np.ndarray]
Measure: TypeAlias = Callable[[Data, Mapping[str, Predictions], Standardised], list[Row]]


def nothing(
    data: Data, predictions: Mapping[str, Predictions], standardised: Standardised
) -> list[Row]:
    """What most tasks measure beyond their scores."""
    return []


@dataclass(frozen=True)
class Decoded:
    """Raw outputs as a person reads them.

    Args:
        prediction: [example] class index, or the number in the target's own unit; [example, label] 0
            or 1; [example, target] several numbers; of language [example, 2] what the tokens of a chunk
            cost, in nats, and how many of them were the likeliest; of detection [example, box, 6] class,
            corners in pixels and score, nan where there are fewer boxes.
        probabilities: [example, class or label], or None where the task has none.
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
        trivial: (targets that were seen, how many examples) -> what is said of each without looking at
            it: the most frequent class, the mean.
        decode: (outputs [example, output] float32, target of each or None, restore) -> Decoded;
            `restore` brings numbers back to the target's own unit.
        normaliser: (values [batch], target) -> what the sum of the losses is divided by.
        weight: (targets as recorded) -> [example] how much each counts in the mean loss; None: alike.
        measure: (data, predictions by part, what brings numbers to the scale of the loss) -> rows of
            evidence at the end of a run: what held-out predictions show beyond their scores.
        evaluated: how many examples are evaluated together.
    """

    name: TaskName
    losses: tuple[str, ...]
    head: Callable[[Spec, str], int]
    metric: Callable[[Spec], str]
    decode: Callable[[np.ndarray, Any, Callable[[np.ndarray], np.ndarray]], Decoded]
    trivial: Callable[[np.ndarray, int], np.ndarray]
    normaliser: Callable[[Tensor, Tensor], float]
    weight: Callable[[np.ndarray], np.ndarray | None] = lambda target: None
    measure: Measure = nothing
    evaluated: int = 512


def per_example(values: Tensor, target: Tensor) -> float:
    """Average over the examples of the batch."""
    return float(values.shape[0])
