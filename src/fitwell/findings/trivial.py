"""Whether the network predicts better than always saying the same."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fitwell.findings.reading import (
    confidence,
    epoch_series,
    evidence_of,
    first_repeat,
    folds_of,
    metric_of,
    rounded,
)
from fitwell.metrics import METRICS
from fitwell.record import STUDIED, Finding, NotAssessed, Row, Run

_FEWEST, _MOST = 20, 20_000  # held-out examples that a comparison takes
_FEWEST_APART = 5  # windows that share no step of what is forecast
_LEVEL = 0.01
_WORTH = 0.01  # of map50: what by chance a few boxes give
_EPOCHS = 4  # of validation scores
_BY_CHANCE = 0.05  # of accuracy above that of guessing
_OF_LOG_K = 0.98
_OF_SPREAD, _OTHER_UNIT = 0.96, 2.0
_OF_SQUARES = ("mse", "loss")  # names of a validation score that is one, where the loss is


def no_better_than_trivial(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The network predicts new examples no better than always saying the same.

    Symptom: accuracy at the share of the largest class, error at the spread of the target; a forecast no
        better than repeating the last value, or the last season.
    Mechanism: nothing was learned (steps, signal), or inputs and targets do not belong together.
    Threshold: over all held-out examples its score is no better than the trivial one, or a one-sided
        permutation test at 1 % does not show that predictions and targets belong together. A score
        that is a little better on few examples, with predictions that go with the targets beyond
        doubt, is no sign. Where only a validation curve of K classes is known, at least 4 epochs of it:
        the accuracy over the second half is at most 1/K + 0.05 and 2/K on average, or, without an
        accuracy, the loss never came below 0.98 log K; no guess of a prior does worse. Of numbers: the
        root mean square error never came below 0.96 of the spread of the targets that were trained on
        (from twice that on it may be told in another unit). Of a language: its score is no better than that
        of how often each token stands. Of forecasts: over 20 held-out windows and more, of all runs
        together, the squared error is not below that of the better naive forecast; sure from 5 windows
        on that share no step of what is forecast. Of at least 20 held-out boxes: map50 is not more than
        0.01 above that of the mean box of the commonest class in every picture.
    Source: Ojala and Garriga 2010, JMLR 11 (permutation tests of classifiers); Hyndman and Koehler 2006,
        International Journal of Forecasting 22 (naive forecasts)
    """
    folds = [run for run in folds_of(runs) if run.studied is not None]
    if not folds:
        return _by_its_curve(runs)
    if folds[0].spec is not None and folds[0].spec.tokens:
        return _beside_counting(first_repeat(folds))
    if forecasts := evidence_of(folds, "forecast"):
        return _against_naive(folds, forecasts)
    folds = first_repeat(folds)
    parts = [part for run in folds if (part := run.studied) is not None]
    if parts[0].target.ndim == 3:
        return _beside_the_usual_box(folds)
    target = np.concatenate([np.asarray(part.target) for part in parts])
    prediction = np.concatenate([np.asarray(part.prediction) for part in parts])
    if len(target) < _FEWEST:
        return NotAssessed("no_better_than_trivial", f"at least {_FEWEST} held-out examples")
    if len(target) > _MOST:
        drawn = np.sort(np.random.default_rng(0).permutation(len(target))[:_MOST])
        target, prediction = target[drawn], prediction[drawn]
    facts = _against_trivial(target, prediction, metric_of(folds), folds[0])
    if facts is None or (facts.pop("better") and facts["p"] < _LEVEL):
        return None
    sentence = (
        f"On {len(target)} held-out examples {facts['metric']} is {facts['score']:.4g}; always "
        f"saying the same gives {facts['trivial']:.4g} (p = {facts['p']:.2g} that chance does as well)."
    )
    return _found(folds, {"examples": len(target), **facts}, sentence)


def _against_naive(folds: Sequence[Run], rows: Sequence[Row]) -> Finding | NotAssessed | None:
    """The same of forecasts: windows overlap, so dealing them out anew would show nothing."""
    parts = [part for part in STUDIED if any(row["part"] == part for row in rows)]
    rows = [row for row in rows if row["part"] == parts[0]]
    errors = {
        model: float(
            np.average(
                [row["mse"] for row in rows if row["model"] == model],
                weights=[row["windows"] for row in rows if row["model"] == model],
            )
        )
        for model in dict.fromkeys(row["model"] for row in rows)
    }
    network = [row for row in rows if row["model"] == "network"]
    windows = sum(row["windows"] for row in network)
    if windows < _FEWEST:
        return NotAssessed("no_better_than_trivial", f"at least {_FEWEST} held-out windows")
    # Windows beside each other forecast nearly the same steps.
    apart = sum(1 + (row["windows"] - 1) // len(row["by_step"]["mse"]) for row in network)
    score = errors.pop("network")
    best = min(errors, key=lambda model: errors[model])
    if score < errors[best]:
        return None
    season = f" of {rows[0]['season']} steps" if best == "seasonal_naive" else ""
    sentence = (
        f"On {windows} held-out windows the forecast's mse is {score:.4g}; repeating the last "
        f"{'season' if season else 'value'}{season} gives {errors[best]:.4g}."
    )
    facts = {"metric": "mse", "examples": windows, "score": score, **errors}
    evidence = rounded({"runs": len(folds), **facts})
    settings = ("data.look_back", "model.subtract", "model.name", "optim.lr", "train.epochs")
    level = confidence(folds, len(folds)) if apart >= _FEWEST_APART else "low"
    return Finding("no_better_than_trivial", level, evidence, sentence, settings)


def _beside_the_usual_box(folds: Sequence[Run]) -> Finding | NotAssessed | None:
    """The same of boxes: map50 beside that of one box in every picture, in the mean of the runs."""
    rows = [row for row in evidence_of(folds, "boxes") if "trivial" in row]
    boxes = sum(one["boxes"] for row in rows for one in row["classes"])
    if not rows:
        return NotAssessed("no_better_than_trivial", "map50 of a box in every picture")
    if boxes < _FEWEST:
        return NotAssessed("no_better_than_trivial", f"at least {_FEWEST} held-out boxes")
    score = float(np.mean([row["map50"] for row in rows]))
    trivial = float(np.mean([row["trivial"] for row in rows]))
    if score > trivial + _WORTH:
        return None
    facts = {"metric": "map50", "boxes": boxes, "score": score, "trivial": trivial}
    sentence = (
        f"On {boxes:,} held-out boxes map50 is {score:.3g}; the mean box of the commonest class in every "
        f"picture gives {trivial:.3g}."
    )
    evidence = rounded({"runs": len(folds), **facts})
    settings = ("optim.lr", "train.epochs", "data.annotations")
    return Finding(
        "no_better_than_trivial", confidence(folds, len(folds)), evidence, sentence, settings
    )


def _found(folds: Sequence[Run], facts: dict[str, Any], sentence: str) -> Finding:
    evidence = rounded({"runs": len(folds), **facts})
    settings = ("optim.lr", "model.activation", "model.init", "model.name")
    level = confidence(folds, len(folds))
    return Finding("no_better_than_trivial", level, evidence, sentence, settings)


def _beside_counting(folds: Sequence[Run]) -> Finding | NotAssessed | None:
    """The same of a language: its held-out score beside that of how often each token stands."""
    metric = metric_of(folds)
    counted = [
        float(row["held_out"])
        for row in evidence_of(folds, "reference")
        if row["model"] == "unigram" and row.get("metric") == metric
    ]
    if not counted:
        return NotAssessed("no_better_than_trivial", "the score of counting (experiment reference)")
    score = float(np.mean([run.held_out[metric] for run in folds]))
    trivial = float(np.mean(counted))
    if METRICS[metric].gain(trivial, score) > 0:
        return None
    facts = {"metric": metric, "score": score, "trivial": trivial}
    sentence = (
        f"On held-out text {metric} is {score:.4g}; how often each token stands, whatever comes before it, "
        f"gives {trivial:.4g}."
    )
    return _found(folds, facts, sentence)


def _by_its_curve(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The same of loops that told validation scores: of classes whose number is known, or of numbers."""
    told = [
        run
        for run in folds_of(runs)
        if len([row for row in run.epochs if row.get("validation")]) >= _EPOCHS
    ]
    judged = [(run, facts) for run in told if (facts := _guessing(run)) is not None]
    if not judged:
        return NotAssessed("no_better_than_trivial", "held-out predictions")
    if not all(facts for _, facts in judged):
        return None
    facts = judged[0][1]
    nothing = "always to say the mean of the targets"
    if "classes" in facts:
        nothing = f"to know nothing of {facts['classes']} classes"
    sentence = (
        f"The validation {facts['metric']} is {facts['score']:.4g}; {nothing} gives "
        f"{facts['trivial']:.4g}."
    )
    return _found([run for run, _ in judged], facts, sentence)


def _guessing(run: Run) -> dict[str, Any] | None:
    """Score and trivial score of a run whose validation scores are those of guessing; empty where they are
    better, None where it cannot be told."""
    first, targets = evidence_of([run], "first_loss"), evidence_of([run], "targets")
    if first:
        return _guessing_classes(run, int(first[0]["classes"]))
    outputs = evidence_of([run], "outputs")
    if targets and outputs and outputs[0]["loss"] == "mse" and outputs[0]["units"] == 1:
        return _guessing_numbers(run, float(targets[0]["std"]))
    return None


def _guessing_numbers(run: Run, spread: float) -> dict[str, Any] | None:
    error = _known(run, "rmse")
    for name in _OF_SQUARES:
        error = error if len(error) else np.sqrt(_known(run, name))
    if len(error) < _EPOCHS:
        return None
    facts = {"metric": "rmse", "score": float(error.min()), "trivial": spread}
    return facts if _OF_SPREAD * spread <= error.min() < _OTHER_UNIT * spread else {}


def _guessing_classes(run: Run, classes: int) -> dict[str, Any]:
    accuracy, loss = _known(run, "accuracy"), _known(run, "loss")
    facts: dict[str, Any] = {"classes": classes}
    if len(accuracy) >= _EPOCHS:
        score = float(accuracy[len(accuracy) // 2 :].mean())
        facts |= {"metric": "accuracy", "score": score, "trivial": 1 / classes}
        return facts if score <= min(1 / classes + _BY_CHANCE, 2 / classes) else {}
    if len(loss) >= _EPOCHS and loss.min() >= _OF_LOG_K * np.log(classes):
        return facts | {"metric": "loss", "score": float(loss.min()), "trivial": np.log(classes)}
    return {}


def _against_trivial(
    target: np.ndarray, prediction: np.ndarray, metric: str, run: Run
) -> dict[str, Any] | None:
    """Score, trivial score, whether it is better, and how often predictions that are dealt out anew do as
    well; None where all are one class."""
    regression = target.dtype.kind == "f" if run.spec is None else run.spec.task == "regression"
    if regression:
        return _errors_against_mean(target, prediction)
    if target.ndim == 2:
        usual = 2 * target.mean(0) > 1
        facts = {
            "metric": "hamming_loss",
            "score": float(np.mean(target != prediction)),
            "trivial": float(np.mean(target != usual)),
        }
        better = facts["score"] < facts["trivial"]
        p = _dealt(len(target), lambda order: float(np.mean(target != prediction[order])))
        return {**facts, "better": better, "p": p}
    classes, codes = np.unique(target, return_inverse=True)
    if len(classes) < 2:
        return None
    counts = np.bincount(codes)
    if metric == "balanced_accuracy":
        weight, trivial = (1 / counts / len(classes))[codes], 1 / len(classes)
    else:
        metric, weight = "accuracy", np.full(len(codes), 1 / len(codes))
        trivial = float(counts.max() / len(codes))
    score = float(weight[prediction == target].sum())
    p = _dealt(len(target), lambda order: -float(weight[prediction[order] == target].sum()))
    better = score > trivial + 1e-12
    return {"metric": metric, "score": score, "trivial": trivial, "better": better, "p": p}


def _errors_against_mean(target: np.ndarray, prediction: np.ndarray) -> dict[str, Any]:
    """The same for numbers; of several targets in standard deviations, as each has its own unit."""
    name = "rmse"
    if target.ndim == 2:
        name = "rmse in standard deviations"
        spread = np.where(target.std(0) > 0, target.std(0), 1.0)
        target, prediction = target / spread, prediction / spread

    def rmse(said: np.ndarray) -> float:
        squares = ((target - said) ** 2).reshape(len(target), -1).mean(1)
        return float(np.sqrt(np.mean(np.where(np.isfinite(squares), squares, 1e12))))

    score, trivial = rmse(prediction), rmse(target.mean(0))
    p = _dealt(len(target), lambda order: rmse(prediction[order]))
    return {"metric": name, "score": score, "trivial": trivial, "better": score < trivial, "p": p}


def _dealt(count: int, loss: Callable[[np.ndarray], float]) -> float:
    """One-sided p of a loss: its place among those of predictions dealt out to the examples anew.

    Args:
        loss: of predictions in an order [example].
    """
    random = np.random.default_rng(0)
    own = loss(np.arange(count)) + 1e-12
    return (sum(loss(random.permutation(count)) <= own for _ in range(999)) + 1) / 1000


def _known(run: Run, key: str) -> np.ndarray:
    values = epoch_series(run, "validation", key)
    return values[np.isfinite(values)]
