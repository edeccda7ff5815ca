"""Language: the token that follows each, of a text that is one text and cut into chunks."""

from collections.abc import Callable

import numpy as np

from fitwell.spec import NO_WORD
from fitwell.tasks.kind import Decoded, Task, per_example


def decode(
    outputs: np.ndarray, target: np.ndarray | None, restore: Callable[[np.ndarray], np.ndarray]
) -> Decoded:
    """What the tokens of each chunk cost, and how many of them were the likeliest.

    Args:
        outputs: [example, token, vocabulary].
        target: [example, token], 0 where nothing is asked.

    Formula: nats = sum over tokens of log sum_k exp(z_k) - z_target

    >>> decode(np.zeros((1, 2, 4)), np.array([[0, 3]]), lambda numbers: numbers).prediction.round(2)
    array([[1.39, 0.  ]])
    """
    assert target is not None
    asked = target != NO_WORD
    largest = outputs.max(2)
    # float64: a text has many tokens, and what they cost is added up.
    spread = np.exp(outputs - largest[..., None]).sum(2, dtype=np.float64)
    own = np.take_along_axis(outputs, target[..., None], 2)[..., 0].astype(np.float64)
    nats = np.where(asked, np.log(spread) + largest - own, 0.0).sum(1)
    right = (asked & (outputs.argmax(2) == target)).sum(1)
    return Decoded(np.stack([nats, right], axis=1), None)


def trivial(seen: np.ndarray, examples: int) -> np.ndarray:
    """What chunks cost of which nothing is known but that text is made of bytes.

    >>> trivial(np.array([[128]]), 1).round(1)
    array([[709.8,   0. ]])
    """
    cost = np.array([[np.log(256) * np.mean(seen), 0.0]])
    return np.repeat(cost, examples, axis=0)


LANGUAGE = Task(
    name="language",
    losses=("cross_entropy",),
    head=lambda spec, loss: spec.vocabulary,
    metric=lambda spec: "nats",
    decode=decode,
    trivial=trivial,
    normaliser=per_example,
    weight=lambda target: target[:, 1],
)
