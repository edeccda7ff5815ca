"""What a network said of the kept examples while it learned, before it could know them by heart."""

import math

import numpy as np
from scipy.special import expit, softmax

from fitwell.record import Predictions
from fitwell.watching.fitting import OF_CLASSES, OF_ONE

LEARNING, TRAIN = "learning", "train"  # parts of a watched loop's predictions
_MOST_NUMBERS = 2**22  # of 512 examples 8,192 classes


class Learning:
    """The mean of the probabilities at the end of each epoch, up to the one with the lowest validation
    loss; where none is told, over a quarter to a half of the epochs.

    A wrong label is contradicted until it is known by heart, so early epochs tell it from a right one.
    Source: Pleiss et al. 2020, NeurIPS (area under the margin); Arpit et al. 2017, ICML

    >>> learning = Learning()
    >>> for right in (0.2, 0.6, 0.9):
    ...     learning.add(np.array([[right, 1 - right]]), None)
    >>> learning.mean.tolist(), learning.epochs
    ([[0.2, 0.8]], 1)
    """

    def __init__(self) -> None:
        self._sum: np.ndarray | None = None
        self._epochs = 0
        self._best = math.inf
        self._told: tuple[np.ndarray, int] | None = None  # by validation loss
        self._powers: list[tuple[np.ndarray, int]] = []  # after 1, 2, 4, ... epochs

    def add(self, probabilities: np.ndarray | None, loss: float | None) -> None:
        """One more epoch: [example, class] of the examples kept by now, and the validation loss."""
        if probabilities is None or probabilities.size > _MOST_NUMBERS:
            return
        if self._sum is None:
            self._sum = np.zeros(probabilities.shape)
        if len(probabilities) < len(self._sum):  # other examples than before
            return
        self._epochs += 1
        self._sum = self._sum + probabilities[: len(self._sum)]
        if loss is not None and loss < self._best:
            self._best, self._told = loss, (self._sum, self._epochs)
        if self._epochs & (self._epochs - 1) == 0:
            self._powers = [*self._powers[-1:], (self._sum, self._epochs)]

    @property
    def epochs(self) -> int:
        """How many epochs the mean is over."""
        return self._chosen[1]

    @property
    def mean(self) -> np.ndarray | None:
        """[example, class], or None before the first epoch."""
        total, count = self._chosen
        return None if total is None else total / count

    @property
    def _chosen(self) -> tuple[np.ndarray | None, int]:
        if self._told is not None:
            return self._told
        early = [kept for kept in self._powers if kept[1] <= max(1, self._epochs // 2)]
        return early[-1] if early else (None, 0)


def probabilities_of(
    name: str, said: np.ndarray | None, asked: np.ndarray | None
) -> np.ndarray | None:
    """[example, class] of what a loss took, where it is of classes.

    Args:
        name: of the loss, as `fitwell.probes.loss_graph` has it.
        said: [example, output].
        asked: [example] class, or [example, 1] 0 or 1.

    >>> probabilities_of("binary_cross_entropy", np.zeros((1, 1)), np.ones((1, 1))).tolist()
    [[0.5, 0.5]]
    """
    if said is None or asked is None or len(asked) != len(said) or not np.isfinite(said).all():
        return None
    if name in OF_CLASSES and asked.ndim == 1:
        if name == "nll_of_probabilities":
            return said.astype(float)
        return softmax(said.astype(float), axis=1)
    if name in OF_ONE and asked.shape == said.shape and said.shape[1] == 1:
        one = expit(said.astype(float)) if name == "binary_cross_entropy" else said
        return np.concatenate([1 - one, one], axis=1)
    return None


def predictions_of(
    probabilities: np.ndarray | None, asked: np.ndarray | None, batches: list[int]
) -> Predictions | None:
    """What is said of the kept examples beside their labels; those without a label are left out.

    Args:
        batches: how many examples each kept call had, for their keys.
    """
    if probabilities is None or asked is None:
        return None
    target = asked.reshape(len(asked)).round().astype(np.int64)[: len(probabilities)]
    keys = np.array([f"batch {b} row {row}" for b, n in enumerate(batches, 1) for row in range(n)])
    if len(keys) < len(target):
        return None
    index = np.flatnonzero(target >= 0)
    chosen, known = probabilities[index], target[index]
    loss = -np.log(np.maximum(chosen[np.arange(len(known)), known], 1e-12))
    return Predictions(keys[index], index, known, chosen.argmax(1), chosen, loss)
