"""Classification: one class an example."""

from collections.abc import Callable

import numpy as np

from fitwell.spec import Spec
from fitwell.tasks.kind import Decoded, Task, per_example

# From this ratio of the largest to the smallest class on, accuracy rewards ignoring the small one.
IMBALANCED = 3.0


def default_metric(spec: Spec) -> str:
    counts = [count for count in spec.class_counts if count]
    imbalanced = bool(counts) and max(counts) > IMBALANCED * min(counts)
    return "balanced_accuracy" if imbalanced else "accuracy"


def decode(outputs: np.ndarray, restore: Callable[[np.ndarray], np.ndarray]) -> Decoded:
    """Softmax and its largest entry.

    >>> decoded = decode(np.array([[0.0, 2.0]]), lambda numbers: numbers)
    >>> decoded.prediction, decoded.probabilities.round(2)
    (array([1]), array([[0.12, 0.88]]))
    """
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return Decoded(outputs.argmax(axis=1), shifted / shifted.sum(axis=1, keepdims=True))


CLASSIFICATION = Task(
    name="classification",
    losses=("cross_entropy",),
    metric=default_metric,
    decode=decode,
    normaliser=per_example,
)
