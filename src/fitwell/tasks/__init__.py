"""Tasks: how a model's raw outputs become a loss, a stored prediction and scores.

The loop, the trials and the report ask a task these things and never which one it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from fitwell.metrics import METRICS
from fitwell.record import Scores
from fitwell.spec import NO_WORD, Spec
from fitwell.tasks.classification import CLASSIFICATION
from fitwell.tasks.detection import DETECTION
from fitwell.tasks.forecasting import FORECASTING
from fitwell.tasks.kind import Decoded, Task
from fitwell.tasks.language import LANGUAGE
from fitwell.tasks.multilabel import MULTILABEL
from fitwell.tasks.regression import REGRESSION

TASKS: dict[str, Task] = {
    "classification": CLASSIFICATION,
    "multilabel": MULTILABEL,
    "regression": REGRESSION,
    "language": LANGUAGE,
    "forecasting": FORECASTING,
    "detection": DETECTION,
}

LossFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Evaluated:
    """One part, evaluated: the mean loss, every score, and each example's own row."""

    scores: Scores
    decoded: Decoded
    target: np.ndarray
    loss: np.ndarray


def task_of(spec: Spec) -> Task:
    """The task of the data."""
    return TASKS[spec.task]


def fit_of(task: Task, outputs: np.ndarray, target: np.ndarray) -> float:
    """How well outputs fit targets: 1 - their error over that of always saying the same.

    The error is the share of wrong classes, labels or tokens, or the mean square; of boxes 1 - map50, that
    of nothing being 1.
    """
    if task is DETECTION:
        said = task.decode(outputs, target, lambda numbers: numbers).prediction
        return METRICS["map50"](target, said, None)
    if outputs.ndim == 3:  # a class at every place of a text
        asked = target != NO_WORD
        return fit_of(CLASSIFICATION, outputs[asked], target[asked])

    def error(said: np.ndarray) -> float:
        said = said.reshape(target.shape)
        wrong = (said - target) ** 2 if target.dtype.kind == "f" else said != target
        return float(np.mean(wrong))

    usual = error(task.trivial(target, len(target)))
    said = task.decode(outputs, target, lambda numbers: numbers).prediction
    return 1.0 - error(said) / usual if usual > 0 else 1.0


def score(
    task: Task,
    target: np.ndarray,
    decoded: Decoded,
    loss: np.ndarray,
    standardised: Callable[[np.ndarray], np.ndarray],
) -> Scores:
    """Mean loss and every metric of the task, in the target's own unit or as `Metric.standardised` says.

    Args:
        standardised: numbers in their own unit as the loss sees them: `Preprocess.targets`.
    """
    weights = task.weight(target)
    scores = {"loss": float(np.average(loss, weights=weights)) if len(loss) else float("nan")}
    for name, metric in METRICS.items():
        if task.name in metric.standardised:
            scores[name] = metric(standardised(target), standardised(decoded.prediction))
        elif task.name in metric.tasks:
            scores[name] = metric(target, decoded.prediction, decoded.probabilities)
    return scores
