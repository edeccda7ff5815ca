"""What a trial scored, and two models on the same test part. No torch."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fitwell.data.split import Rows
from fitwell.data.types import Data
from fitwell.metrics import METRICS, Metric
from fitwell.recipe import Recipe
from fitwell.record import Predictions, Run, Scores
from fitwell.tasks import task_of
from fitwell.trials.statistics import default_min_effect, paired_bootstrap, paired_proportions

DRAWS, DRAWS_OF_BOXES = 2000, 200  # of a bootstrap; a score of boxes takes a fraction of a second


def metric_of(recipe: Recipe) -> tuple[str, Metric]:
    """The score that decides, by name and as a function."""
    name = str(recipe["score.name"])
    return name, METRICS[name]


def score_of(run: Run, metric: str) -> float:
    """The held-out score of a trial; nan for one that failed."""
    if run.status != "done" or not run.scores:
        return math.nan
    value = run.held_out.get(metric)
    return math.nan if value is None or not math.isfinite(value) else float(value)


def smallest_effect(recipe: Recipe, baseline: float) -> float:
    """`score.min_effect`, or its default where that is 0."""
    given = float(recipe.get("score.min_effect", 0.0))  # type: ignore[arg-type]
    _, metric = metric_of(recipe)
    return given or default_min_effect(baseline, bounded=metric.bounded)


def trivial_score(data: Data, rows: Rows, metric: Metric) -> float:
    """Score of what is said without looking at the example: what a model that failed is worth.

    Without it, a baseline that diverges could not be compared with the remedy that cures it.
    """
    seen, target = data.targets[rows.train], data.targets[rows.held_out]
    return float(metric(target, task_of(data.spec).trivial(seen, len(target))))


def mean_scores(runs: Sequence[Run]) -> Scores:
    """Mean of every held-out score over the folds that have it."""
    return _over_folds([_part(r, "held_out") for r in runs], np.mean)


def std_scores(runs: Sequence[Run]) -> Scores:
    """Standard deviation between folds of every held-out score."""
    return _over_folds([_part(r, "held_out") for r in runs], _std)


def _part(run: Run, name: str) -> Scores:
    if name == "held_out":
        return dict(run.held_out) if run.status == "done" and run.scores else {}
    return dict(run.scores.get(name, {}))


def _std(values: Any) -> Any:
    return np.std(values, ddof=1) if len(values) > 1 else math.nan  # of one there is none


def _over_folds(folds: Sequence[Scores], function: Any) -> Scores:
    names = dict.fromkeys(name for fold in folds for name in fold)
    out: Scores = {}
    for name in names:
        values = [f[name] for f in folds if f.get(name) is not None and math.isfinite(f[name])]
        if values:
            out[name] = float(function(np.asarray(values)))
    return out


def paired_test(first: Run, second: Run, recipe: Recipe, *, seed: int = 0) -> dict[str, Any]:
    """Effect of `second` over `first` on the same test examples, with an interval.

    Returns:
        metric, effect (positive is better), low, high (95 %), p; low, high and p are None where the
        two models predict the same.
    """
    name, metric = metric_of(recipe)
    none = {"metric": name, "effect": None, "low": None, "high": None, "p": None}
    a, b = first.predictions.get("test"), second.predictions.get("test")
    if a is None or b is None or not len(a.target):
        return none
    a, b = _in_order(a), _in_order(b)
    if name == "accuracy":
        interval = paired_proportions(a.prediction == a.target, b.prediction == b.target)
    else:
        interval = paired_bootstrap(
            _scored(a),
            _scored(b),
            _statistic(metric, a.target),
            greater_is_better=metric.higher_is_better,
            draws=DRAWS_OF_BOXES if a.target.ndim == 3 else DRAWS,
            seed=seed,
        )
    return none | {
        "effect": interval.effect,
        "low": interval.low,
        "high": interval.high,
        "p": interval.p,
    }


def _statistic(metric: Metric, target: np.ndarray) -> Callable[[np.ndarray], float]:
    """The score of rows of `_scored`."""
    if target.ndim == 3:
        annotated = target.shape[1]
        return lambda rows: metric(rows[:, :annotated, :5], rows[:, annotated:])
    return lambda rows: metric(*(rows[:, i] for i in range(rows.shape[1])))


def _scored(predictions: Predictions) -> np.ndarray:
    """What a score is made of, an example a row: target, prediction, and the probability of each label; of
    boxes those annotated [box, 6] with no score, then those found."""
    if predictions.target.ndim == 3:
        annotated = np.pad(predictions.target, ((0, 0), (0, 0), (0, 1)))
        return np.concatenate([annotated, predictions.prediction], axis=1)
    parts = [predictions.target, predictions.prediction]
    if predictions.target.ndim == 2 and predictions.probabilities is not None:
        parts.append(predictions.probabilities)
    return np.stack(parts, axis=1)


def _in_order(predictions: Predictions) -> Predictions:
    order = np.argsort(predictions.index, kind="stable")
    chosen: dict[str, Any] = {
        name: None if value is None else value[order] for name, value in vars(predictions).items()
    }
    return Predictions(**chosen)
