"""Multi-label classification: any number of labels an example."""

from collections.abc import Callable

import numpy as np

from fitwell.tasks.kind import Decoded, Task, per_example


def decode(
    outputs: np.ndarray, target: object, restore: Callable[[np.ndarray], np.ndarray]
) -> Decoded:
    """The sigmoid of each logit, and the labels at which it is at least a half.

    >>> decoded = decode(np.array([[2.0, -1.0, 0.0]]), None, lambda numbers: numbers)
    >>> decoded.prediction, decoded.probabilities.round(2)
    (array([[1, 0, 1]], dtype=uint8), array([[0.88, 0.27, 0.5 ]]))
    """
    # Of either sign the exponential of a negative number, which cannot overflow.
    small = np.exp(-np.abs(outputs))
    return Decoded(
        (outputs >= 0).astype(np.uint8), np.where(outputs >= 0, 1.0, small) / (1.0 + small)
    )


def trivial(seen: np.ndarray, examples: int) -> np.ndarray:
    """The labels that more than half of the examples have.

    >>> trivial(np.array([[1, 0], [1, 1], [1, 0]]), 1)
    array([[1, 0]], dtype=uint8)
    """
    return np.repeat((2 * seen.mean(0, keepdims=True) > 1).astype(np.uint8), examples, axis=0)


MULTILABEL = Task(
    name="multilabel",
    losses=("binary_cross_entropy", "focal"),
    head=lambda spec, loss: len(spec.classes),
    metric=lambda spec: "average_precision",
    decode=decode,
    trivial=trivial,
    normaliser=per_example,
)
