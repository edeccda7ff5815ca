"""How well the kept examples of a loop are fitted, by the network and by simple models."""

import math

import numpy as np
import torch
from scipy.special import expit

from fitwell.record import Row, Scores

OF_CLASSES = ("cross_entropy", "nll", "nll_of_probabilities")
OF_ONE = ("binary_cross_entropy", "bce_of_probabilities")
_FEWEST = 20  # examples for reference models
_OF_A_CLASS = 5  # examples, on average


def mean_loss(name: str, said: torch.Tensor, asked: torch.Tensor) -> float | None:
    """Mean cross-entropy of what is said for the classes asked for, in nats.

    Args:
        said: [example, class, ...] logits, log-probabilities for "nll", or probabilities for
            "nll_of_probabilities".
        asked: [example, ...] class, -1 where none is.

    >>> round(mean_loss("cross_entropy", torch.zeros(4, 10), torch.tensor([1, 2, -1, 3])), 4)
    2.3026
    """
    log = said if name == "nll" else said.log_softmax(1)
    if name == "nll_of_probabilities":
        log = said.clamp(min=torch.finfo(said.dtype).tiny).log()
    known = asked >= 0
    if asked.is_floating_point() or not known.any():
        return None
    own = log.gather(1, asked.clamp(min=0)[:, None])[:, 0]
    value = float(-own[known].mean())
    return value if math.isfinite(value) else None


def is_one_hot(asked: np.ndarray) -> bool:
    """Whether the numbers asked for are classes: one 1 among zeros.

    >>> is_one_hot(np.eye(3)), is_one_hot(np.ones((2, 3)))
    (True, False)
    """
    if asked.ndim != 2 or asked.shape[1] < 2 or asked.dtype.kind != "f":
        return False
    whole = asked.round()
    near = np.abs(asked - whole).max() < 1e-3
    return bool(near and np.isin(whole, (0, 1)).all() and (whole.sum(1) == 1).all())


def numbered(asked: np.ndarray) -> int | None:
    """How many classes the numbers asked for may be: three and more whole ones from 0, few beside the
    examples.

    >>> numbered(np.array([[0.0], [2.0], [1.0]] * 10)), numbered(np.array([[0.0], [2.5]]))
    (3, None)
    """
    if asked.size != len(asked) or asked.dtype.kind != "f" or not np.isfinite(asked).all():
        return None
    values = np.unique(asked.round(3))
    if not 3 <= len(values) <= len(asked) / _OF_A_CLASS:
        return None
    return len(values) if np.array_equal(values, np.arange(len(values))) else None


def fit_of(name: str, said: np.ndarray, asked: np.ndarray | None) -> tuple[Scores, float | None]:
    """Scores, and how much of what there is to fit is fitted: 0 as by always saying the same, to 1.

    Args:
        name: of the loss, as `fitwell.probes.loss_graph` has it.
        said: [row, output] what the loss took.
        asked: [row] class (-1: none), or [row, output] numbers.

    Returns:
        `{"accuracy"}` or `{"rmse"}`, and the fit; nothing and None where they cannot be told.

    >>> said = np.array([[2.0, 0], [0, 2], [2, 0], [2, 0]])
    >>> fit_of("cross_entropy", said, np.array([0, 1, 0, 1]))
    ({'accuracy': 0.75}, 0.5)
    """
    if asked is None or not np.isfinite(said).all():
        return {}, None
    if name in OF_CLASSES and asked.ndim == 1:
        known = asked >= 0
        return _of_classes(said.argmax(1)[known], asked[known])
    if name in OF_ONE and asked.ndim == 2 and asked.shape[1] == 1:
        border = 0.0 if name == "binary_cross_entropy" else 0.5
        return _of_classes((said > border).astype(int)[:, 0], asked.round().astype(int)[:, 0])
    if name in OF_ONE and asked.shape == said.shape:  # several labels, or shares between 0 and 1
        shares = expit(said) if name == "binary_cross_entropy" else said
        spread = float(asked.var(0).mean())
        error = float(np.square(shares - asked).mean())
        return {}, 1 - error / spread if spread > 0 else None
    if name == "mse" and is_one_hot(asked):
        return _of_classes(said.argmax(1), asked.argmax(1))
    if name == "mse" and asked.shape == said.shape:
        spread = float(asked.var(0).mean())
        error = float(np.square(said - asked).mean())
        return {"rmse": error**0.5}, 1 - error / spread if spread > 0 else None
    return {}, None


def _of_classes(said: np.ndarray, asked: np.ndarray) -> tuple[Scores, float | None]:
    if len(asked) < 2:
        return {}, None
    right = float((said == asked).mean())
    usual = float(np.bincount(asked).max() / len(asked))
    return {"accuracy": right}, (right - usual) / (1 - usual) if usual < 1 else None


def references(table: np.ndarray, asked: np.ndarray, name: str) -> list[Row]:
    """Rows "reference" of simple models of the kept examples, each half predicted from the other.

    Args:
        table: [example, ...] what went in; nothing of codes and of fewer than 20 examples.
        asked: [example] class or [example, 1] number.
    """
    from fitwell import data as fitwell_data
    from fitwell.data.split import Rows
    from fitwell.data.types import BadData
    from fitwell.experiments.reference import reference_models

    if len(asked) != len(table) or table.dtype.kind != "f":
        return []
    # Of a small set the same examples were kept in several epochs: copies would be known already.
    _, first = np.unique(table.reshape(len(table), -1), axis=0, return_index=True)
    if len(first) < _FEWEST:
        return []
    table, asked = table[np.sort(first)], asked[np.sort(first)]
    hot = is_one_hot(asked)
    regression = name == "mse" and not hot
    if regression and asked.size != len(asked):
        return []  # simple models of one number each say little of many together
    target = asked.argmax(1) if hot else asked.reshape(len(asked), -1)[:, 0]
    if not regression:
        target = target.astype(int)
        kept = np.isin(target, np.flatnonzero(np.bincount(target.clip(0)) >= 2)) & (target >= 0)
        table, target = table[kept], np.array([f"class {value}" for value in target[kept]])
    task = "regression" if regression else "classification"
    try:
        data = fitwell_data.read((table.reshape(len(table), -1), target), {"task": task})
    except BadData:  # nothing that could be told apart
        return []
    halves = np.array_split(np.random.default_rng(0).permutation(len(target)), 2)
    metric = "rmse" if regression else "accuracy"
    found: list[Row] = []
    for fold, (train, held_out) in enumerate((halves, halves[::-1])):
        rows = Rows(np.sort(train), np.empty(0, np.int64), np.sort(held_out))
        found += reference_models(data, rows, metric=metric, fold=fold)
    return found
