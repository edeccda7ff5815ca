"""Scores by name: numpy functions of targets and predictions, and which way is better. No torch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, TypedDict

import numpy as np
from jaxtyping import Float, Shaped
from pydantic import Field

from fitwell import box_scores
from fitwell.spec import TaskName

Targets: TypeAlias = (
    Shaped[np.ndarray, " example"]
    | Shaped[np.ndarray, "example target"]
    | Float[np.ndarray, "example annotated 5"]
    | Float[np.ndarray, "example found 6"]
)
TargetBoxes: TypeAlias = Float[np.ndarray, "example annotated 5"]
SaidBoxes: TypeAlias = Float[np.ndarray, "example found 6"]
Probabilities: TypeAlias = Float[np.ndarray, "example class"] | None
Function: TypeAlias = Callable[[Targets, Targets, Probabilities], float]
MetricName = Literal[
    "",
    "accuracy",
    "balanced_accuracy",
    "average_precision",
    "f1",
    "exact_match",
    "hamming_loss",
    "rmse",
    "mae",
    "mse",
    "r2",
    "nats",
    "perplexity",
    "token_accuracy",
    "map50",
    "map",
]
_MOST_NATS = 700.0  # whose exponential is a number still


def accuracy(target: Targets, prediction: Targets, probabilities: Probabilities = None) -> float:
    """Share of the examples whose class is right.

    Formula: mean [prediction = target]
    Use: classes of about equal size
    Weakness: with one large class, always guessing it looks good: see balanced_accuracy
    Source: Sokolova and Lapalme 2009, Information Processing and Management 45

    >>> accuracy(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0]))
    0.75
    """
    return _mean(target == prediction)


def balanced_accuracy(
    target: Targets, prediction: Targets, probabilities: Probabilities = None
) -> float:
    """Accuracy of each class, averaged over the classes that occur.

    Formula: mean over classes k of (examples of k predicted as k) / (examples of k)
    Use: classes of unequal size
    Weakness: a rare class of few examples makes it noisy
    Source: Brodersen et al. 2010, ICPR

    >>> balanced_accuracy(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 1]))
    1.0
    >>> balanced_accuracy(np.array([0, 1, 1, 1]), np.array([1, 1, 1, 1]))
    0.5
    """
    return _mean(np.array([_mean(prediction[target == k] == k) for k in np.unique(target)]))


def average_precision(
    target: Targets, prediction: Targets, probabilities: Probabilities = None
) -> float:
    """How far examples with a label stand before those without it, averaged over labels that occur.

    Formula: mean over labels of the mean, over the examples with the label, of the precision among all
        that are at least as probable
    Use: several labels an example: sees how probable they are and not on which side of a half, so that
        it rises as soon as something is learned; the default
    Weakness: says nothing of where to draw the line: see f1
    Source: Zhu 2004, Recall, precision and average precision; Everingham et al. 2010, IJCV 88

    Without probabilities it goes by the prediction.

    >>> labels, chances = np.array([[1], [0], [1]]), np.array([[0.9], [0.6], [0.4]])
    >>> average_precision(labels, chances > 0.5, chances).__round__(4)
    0.8333
    """
    scores = prediction if probabilities is None else probabilities
    found = []
    for there, score in zip(target.T == 1, scores.T, strict=True):
        if there.any():
            order = np.argsort(-score.astype(np.float64), kind="stable")
            last = np.append(np.diff(score[order]) != 0, True)  # of those that are equally probable
            hits, called = np.cumsum(there[order])[last], np.flatnonzero(last) + 1
            found.append(float(np.diff(hits, prepend=0) @ (hits / called)) / hits[-1])
    return _mean(np.array(found))


def f1(target: Targets, prediction: Targets, probabilities: Probabilities = None) -> float:
    """F1 of each label, averaged over the labels that occur or are predicted (the macro average).

    Formula: mean over labels of 2 TP / (2 TP + FP + FN)
    Use: several labels an example, each of which is said or not; rare ones count as much as frequent ones
    Weakness: sees on which side of a half a probability lies, not how far: guessing at random may beat
        a network that has begun to learn and dares say little
    Source: van Rijsbergen 1979, Information Retrieval; Sokolova and Lapalme 2009, Information
        Processing and Management 45 (macro average)

    >>> f1(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]])).__round__(4)
    0.8333
    """
    hits = (target * prediction).sum(0, dtype=np.int64)
    called = target.sum(0, dtype=np.int64) + prediction.sum(0, dtype=np.int64)
    occurs = called > 0
    return _mean(2 * hits[occurs] / called[occurs])


def exact_match(target: Targets, prediction: Targets, probabilities: Probabilities = None) -> float:
    """Share of the examples of which every label is right.

    Formula: mean [prediction = target in every label]
    Use: where a set of labels is right or wrong as a whole
    Weakness: with many labels hardly any example is right: see f1
    Source: Sorower 2010, A literature survey on algorithms for multi-label learning

    >>> exact_match(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]]))
    0.5
    """
    return _mean((target == prediction).all(1))


def hamming_loss(
    target: Targets, prediction: Targets, probabilities: Probabilities = None
) -> float:
    """Share of the decisions, one an example and label, that are wrong.

    Formula: mean [prediction != target], over examples and labels
    Use: several labels an example, each mistake of which costs the same
    Weakness: where labels are rare, predicting none looks good: see f1
    Source: Schapire and Singer 1999, Machine Learning 37

    >>> hamming_loss(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]]))
    0.25
    """
    return _mean(target != prediction)


def mse(target: Targets, prediction: Targets, probabilities: Probabilities = None) -> float:
    """Mean squared error, in the target's unit squared; of forecasts in standard deviations, squared.

    Formula: mean (prediction - target)^2
    Use: where large errors are worse than many small ones
    Weakness: a few outliers rule it, and its unit is hard to read: see rmse
    Source: Bishop 2006, section 1.2.5

    >>> mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    2.0
    """
    return _mean(_error(target, prediction) ** 2)


def rmse(target: Targets, prediction: Targets, probabilities: Probabilities = None) -> float:
    """Root of the mean squared error, in the target's own unit; of several targets the mean of theirs.

    Formula: sqrt(mean (prediction - target)^2)
    Use: the default of regression
    Weakness: a few outliers rule it: see mae
    Source: Chai and Draxler 2014, Geoscientific Model Development 7

    >>> rmse(np.array([0.0, 0.0]), np.array([3.0, -3.0]))
    3.0
    """
    if not len(target):
        return math.nan
    return _mean(np.sqrt(np.atleast_1d((_error(target, prediction) ** 2).mean(0))))


def mae(target: Targets, prediction: Targets, probabilities: Probabilities = None) -> float:
    """Mean absolute error, in the target's own unit; of forecasts in standard deviations.

    Formula: mean |prediction - target|
    Use: regression with outliers
    Weakness: does not tell many small errors from a few large ones
    Source: Willmott and Matsuura 2005, Climate Research 30

    >>> mae(np.array([0.0, 0.0]), np.array([3.0, -1.0]))
    2.0
    """
    return _mean(np.abs(_error(target, prediction)))


def r2(target: Targets, prediction: Targets, probabilities: Probabilities = None) -> float:
    """Share of the target's variance that is explained, of several the mean; 0 is the score of the mean.

    Formula: 1 - sum (prediction - target)^2 / sum (target - mean)^2
    Use: comparing across targets of different unit
    Weakness: depends on how much the target varies; constant targets have no value of their own
    Source: Wright 1921, Journal of Agricultural Research 20

    As scikit-learn has it, a constant target gives 1 if all are right, else 0.

    >>> r2(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0]))
    0.0
    """
    if len(target) < 2:
        return math.nan
    residual = np.atleast_1d((_error(target, prediction) ** 2).mean(0))
    variance = np.atleast_1d(np.var(target.astype(np.float64), axis=0))
    constant = variance == 0
    shares = 1 - residual / np.where(constant, 1.0, variance)
    return _mean(np.where(constant, residual == 0, shares))


def nats(target: Targets, prediction: Targets, probabilities: Probabilities = None) -> float:
    """What a character of the text costs, in nats: surprise a character, whatever the tokens are.

    Formula: -(1 / characters) sum over tokens of log p(token | those before)
    Use: models of language; comparable between tokens of characters, words and byte pairs
    Weakness: an unknown word costs what the unknown symbol costs, which is less than to spell it
    Source: Shannon 1951, Bell System Technical Journal 30; divided by log 2 it is bits a character

    Targets are [chunk, 2] characters and tokens, predictions [chunk, 2] nats and tokens that were the
    likeliest.

    >>> nats(np.array([[10.0, 4.0]]), np.array([[20.0, 1.0]]))
    2.0
    """
    return _share(prediction, 0, target, 0)


def perplexity(target: Targets, prediction: Targets, probabilities: Probabilities = None) -> float:
    """Among how many equally likely tokens a model of language hesitates.

    Formula: exp(-(1 / tokens) sum over tokens of log p(token | those before))
    Use: models of language with the same tokens
    Weakness: of other tokens it is another number: see nats
    Source: Jelinek, Mercer, Bahl and Baker 1977, Journal of the Acoustical Society of America 62

    >>> round(perplexity(np.array([[10.0, 4.0]]), np.array([[4 * np.log(8), 1.0]])), 6)
    8.0
    """
    return float(np.exp(np.minimum(_share(prediction, 0, target, -1), _MOST_NATS)))


def token_accuracy(
    target: Targets, prediction: Targets, probabilities: Probabilities = None
) -> float:
    """Share of the tokens of a text that are the likeliest to follow.

    Formula: (1 / tokens) sum over tokens of [token = argmax p]
    Use: models of language, for people
    Weakness: sees the likeliest token alone: see nats
    Source: Bahl, Jelinek and Mercer 1983, IEEE Transactions on Pattern Analysis and Machine Intelligence 5

    >>> token_accuracy(np.array([[10.0, 4.0]]), np.array([[20.0, 1.0]]))
    0.25
    """
    return _share(prediction, 1, target, -1)


def map50(target: TargetBoxes, prediction: SaidBoxes, probabilities: Probabilities = None) -> float:
    """Mean average precision of boxes that overlap an annotated one by a half.

    Formula: mean over classes of the mean over recalls r = 0, 0.01 ... 1 of the highest precision at a
        recall of r or more; a box is right whose IoU with one of its class not yet taken is 0.5 or more
    Use: detection where it matters that things are found; the default
    Weakness: boxes that fit badly count like those that fit well: see map
    Source: Everingham et al. 2010, IJCV 88; Lin et al. 2014, ECCV (COCO, whose measure it is, by
        faster-coco-eval)

    >>> boxes = np.array([[[0.0, 10, 10, 50, 50], [0.0, 60, 60, 90, 90]]])
    >>> said = np.append(boxes, [[[0.9], [0.8]]], 2)
    >>> round(map50(boxes, said), 3), round(map50(boxes, said[:, :1]), 3)
    (1.0, 0.505)
    """
    return box_scores.mean(box_scores.precisions(target, prediction)[:1, :, :, 0])


def mean_average_precision(
    target: TargetBoxes, prediction: SaidBoxes, probabilities: Probabilities = None
) -> float:
    """Mean average precision over overlaps of 0.5 to 0.95: COCO's own score, mAP@0.5:0.95.

    Formula: mean of map50's at overlaps of 0.5, 0.55 ... 0.95
    Use: detection where boxes have to fit, and to compare with what is published
    Weakness: a box of a few pixels loses much by one of them
    Source: Lin et al. 2014, ECCV (COCO, by faster-coco-eval)

    >>> boxes = np.array([[[0.0, 0, 0, 100, 100]]])
    >>> off = np.array([[[0.0, 0, 0, 100, 72, 0.9]]])  # an overlap of 0.72
    >>> round(mean_average_precision(boxes, off), 2)
    0.5
    """
    return box_scores.mean(box_scores.precisions(target, prediction)[..., 0])


@dataclass(frozen=True)
class Metric:
    """A score: its function, which way is better, and whether it lives on a scale of its own.

    Args:
        function: (target, prediction, probabilities) -> float; nan without examples.
        tasks: the tasks that it scores.
        higher_is_better: whether more is better.
        bounded: whether it runs up to 1 whatever the data; otherwise it has the target's unit.
        standardised: the tasks in which it is of numbers standardised by the training part, as forecasts of
            columns of several units are compared; in all others it is of numbers in their own unit.
    """

    function: Function
    tasks: tuple[TaskName, ...]
    higher_is_better: bool
    bounded: bool
    standardised: tuple[TaskName, ...] = ()

    def __post_init__(self) -> None:
        # So that `inspect` and the catalogue see the function's own text and signature.
        own = {"__doc__": self.function.__doc__, "__wrapped__": self.function}
        self.__dict__.update(own)

    def __call__(
        self, target: Targets, prediction: Targets, probabilities: Probabilities = None
    ) -> float:
        return self.function(target, prediction, probabilities)

    def gain(self, before: float, after: float) -> float:
        """How much better `after` is, in the metric's unit; positive is better.

        >>> METRICS["rmse"].gain(3.0, 2.0), METRICS["accuracy"].gain(0.5, 0.75)
        (1.0, 0.25)
        """
        return after - before if self.higher_is_better else before - after


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, ("classification",), True, True),
    "balanced_accuracy": Metric(balanced_accuracy, ("classification",), True, True),
    "average_precision": Metric(average_precision, ("multilabel",), True, True),
    "f1": Metric(f1, ("multilabel",), True, True),
    "exact_match": Metric(exact_match, ("multilabel",), True, True),
    "hamming_loss": Metric(hamming_loss, ("multilabel",), False, True),
    "rmse": Metric(rmse, ("regression", "forecasting"), False, False),
    "mae": Metric(mae, ("regression", "forecasting"), False, False, ("forecasting",)),
    "mse": Metric(mse, ("regression", "forecasting"), False, False, ("forecasting",)),
    "r2": Metric(r2, ("regression",), True, True),
    "nats": Metric(nats, ("language",), False, False),
    "perplexity": Metric(perplexity, ("language",), False, False),
    "token_accuracy": Metric(token_accuracy, ("language",), True, True),
    "map50": Metric(map50, ("detection",), True, True),
    "map": Metric(mean_average_precision, ("detection",), True, True),
}


class ScoreSettings(TypedDict):
    name: MetricName
    min_effect: float


def score_settings(
    *,
    name: Annotated[
        MetricName, Field(description="the score that is improved; empty: chosen for the task")
    ] = "",
    min_effect: Annotated[
        float,
        Field(
            ge=0,
            description="smallest gain worth having, in the score's unit; "
            "0: 0.005 for scores up to 1, else 2 % of the baseline",
        ),
    ] = 0.0,
) -> ScoreSettings:
    """What counts as better, and by how much.

    >>> score_settings(name="accuracy")
    {'name': 'accuracy', 'min_effect': 0.0}
    """
    return {"name": name, "min_effect": min_effect}


def _share(prediction: np.ndarray, part: int, target: np.ndarray, whole: int) -> float:
    """The sum of a column of `prediction` over that of one of `target`."""
    if not len(target):
        return math.nan
    return float(prediction[:, part].sum(dtype=np.float64) / target[:, whole].sum())


def _error(target: Targets, prediction: Targets) -> np.ndarray:
    # float64: squares of float32 lose digits where targets are large.
    return prediction.astype(np.float64) - target.astype(np.float64)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values, dtype=np.float64)) if len(values) else math.nan
