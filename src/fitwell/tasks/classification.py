"""Classification: one class an example."""

from collections.abc import Callable

import numpy as np

from fitwell.errors import SettingError
from fitwell.spec import Spec
from fitwell.tasks.kind import Decoded, Task, per_example

# From this ratio of the largest to the smallest class on, accuracy rewards ignoring the small one.
IMBALANCED = 3.0


def default_metric(spec: Spec) -> str:
    counts = [count for count in spec.class_counts if count]
    imbalanced = bool(counts) and max(counts) > IMBALANCED * min(counts)
    return "balanced_accuracy" if imbalanced else "accuracy"


def decode(
    outputs: np.ndarray, target: object, restore: Callable[[np.ndarray], np.ndarray]
) -> Decoded:
    """Softmax and its largest entry; of one logit, the softmax of 0 and this, which is its sigmoid.

    >>> decoded = decode(np.array([[0.0, 2.0]]), None, lambda numbers: numbers)
    >>> decoded.prediction, decoded.probabilities.round(2)
    (array([1]), array([[0.12, 0.88]]))
    """
    if outputs.shape[1] == 1:
        outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return Decoded(outputs.argmax(axis=1), shifted / shifted.sum(axis=1, keepdims=True))


def trivial(seen: np.ndarray, examples: int) -> np.ndarray:
    """The most frequent class.

    >>> trivial(np.array([2, 0, 2]), 2)
    array([2, 2])
    """
    return np.full(examples, np.bincount(seen).argmax())


def head(spec: Spec, loss: str) -> int:
    """One unit a class; one logit for binary cross-entropy.

    Raises:
        SettingError: binary cross-entropy, and not two classes.
    """
    if loss != "binary_cross_entropy":
        return len(spec.classes)
    if len(spec.classes) != 2:
        raise SettingError(
            f"loss.name = {loss}: has one logit, for two classes, and there are "
            f"{len(spec.classes)}. Set loss.name=cross_entropy.",
            setting="loss.name",
        )
    return 1


CLASSIFICATION = Task(
    name="classification",
    losses=("cross_entropy", "binary_cross_entropy", "focal", "hinge", "gce"),
    head=head,
    metric=default_metric,
    decode=decode,
    trivial=trivial,
    normaliser=per_example,
)
