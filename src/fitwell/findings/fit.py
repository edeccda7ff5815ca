"""How well the network fits: too closely, not enough, or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fitwell.findings.reading import (
    confidence,
    epoch_series,
    evidence_of,
    first_repeat,
    folds_of,
    goodness,
    held_out,
    is_bounded,
    mean_interval,
    median,
    metric_of,
    rounded,
)
from fitwell.record import STUDIED, Finding, NotAssessed, Run

_GAP = 0.03  # in a score up to 1
_RELATIVE_GAP = 0.1  # of the validation score, for errors in the target's own unit
_RISE = 0.1  # of the lowest validation loss
_MARGIN = 0.01  # in a score up to 1, or share of the reference's error
_FEWEST = 20  # held-out examples
_LEVEL = 0.05
_LINEAR = 1e-3  # of the difference between two outputs; rounding in float32 stays below 1e-5


def overfitting(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The network learns its training examples by heart, and new ones get worse.

    Symptom: the training score runs away from the validation score, and the validation loss rises
        after a minimum.
    Mechanism: more capacity or more steps than the examples can pin down; what is fitted last is
        their noise.
    Threshold: with 95 % confidence over the runs, the gap between training and validation score at
        the end is above 0.03 (10 % for errors in the target's unit) and the validation loss has
        risen over its smoothed minimum, by 10 % on average; with fewer than 3 runs, by more than
        two standard errors of the validation part.
    Source: Geman, Bienenstock and Doursat 1992; Prechelt 1998; SageMaker Debugger uses a gap of
        10 % alone, which healthy runs have
    """
    folds = [run for run in folds_of(runs) if len(_ends(run, "validation", "loss")) >= 4]
    metric = metric_of(folds)
    folds = [run for run in folds if len(_ends(run, "validation", metric))]
    if not folds:
        return NotAssessed("overfitting", "the validation loss of at least 4 epochs")
    gaps = [_gap(run, metric) for run in folds]
    rises = [_rise(run) for run in folds]
    limit = _GAP if is_bounded(metric) else _RELATIVE_GAP
    (gap_low, _), (rise_low, _) = mean_interval(gaps), mean_interval(rises)
    if len(folds) < 3:
        # Too few runs to show their spread: what so few examples leave open stands for it.
        gap_low = min(g - _noise(r, metric)[0] for g, r in zip(gaps, folds, strict=True))
        rise_low = min(v - _noise(r, metric)[1] for v, r in zip(rises, folds, strict=True))
    if not (gap_low > limit and rise_low > 0 and np.mean(rises) >= _RISE):
        return None
    flags = [gap > limit and rise >= _RISE for gap, rise in zip(gaps, rises, strict=True)]
    kept = median(_kept_gap(run, metric) for run in folds)
    best = median(int(np.argmin(_smooth(epoch_series(run, "validation")))) + 1 for run in folds)
    evidence = rounded(
        {
            "runs_overfitted": sum(flags),
            "runs": len(folds),
            "metric": metric,
            "gap": median(gaps),
            "gap_low": gap_low,
            "gap_of_kept_weights": kept,
            "validation_loss_rise": median(rises),
            "best_epoch": best,
            "epochs": median(len(run.epochs) for run in folds),
        }
    )
    unit = "" if is_bounded(metric) else " (share of the validation score)"
    sentence = (
        f"At the end the training {metric} is {median(gaps):.3g} better than validation{unit}, and "
        f"the validation loss has risen by {median(rises):.0%} since epoch {best:.0f}."
    )
    settings = (
        *("augment.policy", "optim.weight_decay", "model.dropout", "loss.label_smoothing"),
        "model.width",
    )
    level = confidence(folds, sum(flags), strong=not kept <= limit)
    return Finding("overfitting", level, evidence, sentence, settings)


def underfitting(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The network fits even its own training examples worse than a simple model predicts new ones.

    Symptom: training score and validation score are low alike.
    Mechanism: too little capacity, too much regularisation, or a training that did not get there.
    Threshold: with 95 % confidence over the runs (or in each of at least 3, by 0.05 on average)
        the training score lies more than 0.01 (1 % of its error) below the best reference model's
        score on held-out examples: nearest neighbour, linear, boosted trees.
    Source: Geman, Bienenstock and Doursat 1992 (bias); reference models as in Olson et al. 2017,
        PMLB. Comparing with held-out scores keeps models that learn by heart from setting the mark
    """
    short = short_of_reference(runs)
    if isinstance(short, str):
        return NotAssessed("underfitting", short)
    if not short.clear:
        return None
    evidence = rounded({"runs_underfitted": sum(short.flags), **short.facts})
    settings = ("model.width", "model.depth", "model.name", "train.epochs", "optim.lr")
    level = confidence(short.folds, sum(short.flags), strong=short.strong)
    return Finding("underfitting", level, evidence, short.sentence, settings)


@dataclass(frozen=True)
class Short:
    """How far the training scores are below the best reference model's held-out score.

    Args:
        clear: whether they are below it with 95 % confidence, or all of them by far.
        strong: whether by five times the margin and more, on average.
    """

    folds: list[Run]
    flags: list[bool]
    clear: bool
    strong: bool
    facts: dict[str, Any]
    sentence: str


def short_of_reference(runs: Sequence[Run]) -> "Short | str":
    """The comparison that `underfitting` and `over_regularised` make; a text says what is missing."""
    folds = [run for run in folds_of(runs) if run.epochs or run.scores.get("train")]
    metric = metric_of(folds)
    rows = [
        row
        for row in evidence_of(runs, "reference")
        if row.get("metric", metric) == metric and row["model"] != "trivial"
    ]
    if not rows:
        return "the scores of reference models"
    trained = [_best_train(run, metric) for run in folds]
    if not np.isfinite(trained).any():
        return "the training score of at least one run"
    names = sorted({row["model"] for row in rows})
    by_model = {n: median(row["held_out"] for row in rows if row["model"] == n) for n in names}
    best = max(names, key=lambda name: float(goodness(metric, by_model[name])))
    reference = by_model[best]
    good = goodness(metric, trained)
    mark = float(goodness(metric, reference))
    margin = _MARGIN if is_bounded(metric) else _MARGIN * abs(mark)
    _, high = mean_interval(list(good))
    flags = [bool(value < mark - margin) for value in good]
    gap = mark - float(np.nanmean(good))
    # Runs that fail differently badly have a wide interval: far below, all of them, counts too.
    far = all(flags) and len(flags) >= 3 and gap > 5 * margin
    facts = {
        "runs": len(folds),
        "metric": metric,
        "train": float(np.nanmean(trained)),
        "reference": best,
        "reference_held_out": reference,
        "short_of_reference": gap,
    }
    sentence = (
        f"The training {metric} is {np.nanmean(trained):.4g}; {best.replace('_', ' ')} reaches "
        f"{reference:.4g} on examples it never saw."
    )
    strong = gap > (0.05 if is_bounded(metric) else 0.1 * abs(mark))
    return Short(folds, flags, bool(high < mark - margin or far), strong, facts, sentence)


def linear_network(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Layers without an activation between them: together they are one linear layer.

    Symptom: however many layers it has, it fits no better than a linear model.
    Mechanism: a product of matrices is a matrix.
    Threshold: in every run a network of two and more layers with weights whose output half-way between
        two inputs is half-way between their outputs, to 1e-3 of their difference; and a training score
        that is at most 0.01 (1 % of the error) above the linear reference model's on held-out
        examples, where that is known.
    Source: Goodfellow, Bengio and Courville 2016, section 6.1
    """
    rows = evidence_of(runs, "linearity")
    if not rows:
        return NotAssessed("linear_network", "a measurement of linearity (experiment linearity)")
    if any(row["layers"] < 2 or row["deviation"] > _LINEAR for row in rows):
        return None
    folds = [run for run in folds_of(runs) if run.epochs or run.scores.get("train")]
    metric = metric_of(folds)
    linear = median(
        row["held_out"]
        for row in evidence_of(runs, "reference")
        if row["model"] == "linear" and row.get("metric", metric) == metric
    )
    train = median(_best_train(run, metric) for run in folds) if metric else float("nan")
    mark = float(goodness(metric, linear))
    margin = _MARGIN if is_bounded(metric) else _MARGIN * abs(mark)
    if float(goodness(metric, train)) > mark + margin:
        return None
    evidence = rounded(
        {
            "runs": len(folds_of(runs)),
            "layers": max(row["layers"] for row in rows),
            "deviation": median(row["deviation"] for row in rows),
            "metric": metric,
            "train": train,
            "linear_held_out": linear,
        }
    )
    sentence = (
        f"Its {evidence['layers']} layers are one linear function: half-way between two inputs the "
        f"output is half-way too, to {evidence['deviation']:.1g} of their difference."
    )
    level = confidence(folds, len(folds), strong=bool(np.isfinite(mark)))
    settings = ("model.activation",)
    return Finding("linear_network", level, evidence, sentence, settings)


def no_better_than_trivial(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The network predicts new examples no better than always saying the same.

    Symptom: accuracy at the share of the largest class, error at the spread of the target.
    Mechanism: nothing was learned (steps, signal), or inputs and targets do not belong together.
    Threshold: one-sided test at 5 % over all held-out examples does not show it better: exact
        McNemar against the largest class, for balanced accuracy and regression a permutation test.
    Source: McNemar 1947; Ojala and Garriga 2010, JMLR 11 (permutation tests of classifiers)
    """
    folds = [run for run in folds_of(runs) if held_out(run) is not None]
    if not folds:
        return NotAssessed("no_better_than_trivial", "held-out predictions")
    folds = first_repeat(folds)
    parts = [part for run in folds if (part := held_out(run)) is not None]
    target = np.concatenate([np.asarray(part.target) for part in parts])
    prediction = np.concatenate([np.asarray(part.prediction) for part in parts])
    if len(target) < _FEWEST:
        return NotAssessed("no_better_than_trivial", f"at least {_FEWEST} held-out examples")
    metric = metric_of(folds)
    facts = _against_trivial(target, prediction, metric, folds[0])
    if facts is None or facts["p"] < _LEVEL:
        return None
    evidence = rounded({"runs": len(folds), "examples": len(target), **facts})
    sentence = (
        f"On {len(target)} held-out examples {facts['metric']} is {facts['score']:.4g}; always "
        f"saying the same gives {facts['trivial']:.4g} (p = {facts['p']:.2g})."
    )
    settings = ("optim.lr", "model.activation", "model.init", "model.name")
    level = confidence(folds, len(folds))
    return Finding("no_better_than_trivial", level, evidence, sentence, settings)


def _against_trivial(
    target: np.ndarray, prediction: np.ndarray, metric: str, run: Run
) -> dict[str, Any] | None:
    """Score, trivial score, one-sided p of being better than it; None where all are one class."""
    random = np.random.default_rng(0)
    regression = target.dtype.kind == "f" if run.spec is None else run.spec.task == "regression"
    if regression:
        return _errors_against_mean(target, prediction, random)
    if target.ndim == 2:
        usual = 2 * target.mean(0) > 1
        base, model = ((target != said).mean(1) for said in (usual, prediction))
        scores = {"score": float(model.mean()), "trivial": float(base.mean())}
        return {"metric": "hamming_loss", **scores, "p": _flipped(base - model, random)}
    classes, codes = np.unique(target, return_inverse=True)
    if len(classes) < 2:
        return None
    counts = np.bincount(codes)
    right = prediction == target
    if metric == "balanced_accuracy":
        weight = (1 / counts / len(classes))[codes]
        score = float(weight[right].sum())
        drawn = [weight[random.permutation(prediction) == target].sum() for _ in range(999)]
        hits = int(np.sum(np.array(drawn) >= score - 1e-12))
        trivial = 1 / len(classes)
        return {"metric": metric, "score": score, "trivial": trivial, "p": (hits + 1) / 1000}
    from scipy import stats

    majority = target == classes[counts.argmax()]
    gained, lost = int(np.sum(right & ~majority)), int(np.sum(majority & ~right))
    p = 1.0
    if gained + lost:
        p = float(stats.binomtest(gained, gained + lost, alternative="greater").pvalue)
    return {
        "metric": "accuracy",
        "score": float(right.mean()),
        "trivial": float(majority.mean()),
        "p": p,
    }


def _errors_against_mean(
    target: np.ndarray, prediction: np.ndarray, random: np.random.Generator
) -> dict[str, Any]:
    """The same for numbers; of several targets in standard deviations, as each has its own unit."""
    name = "rmse"
    if target.ndim == 2:
        name = "rmse in standard deviations"
        spread = np.where(target.std(0) > 0, target.std(0), 1.0)
        target, prediction = target / spread, prediction / spread
    base, model = (
        ((target - said) ** 2).reshape(len(target), -1).mean(1)
        for said in (target.mean(0), prediction)
    )
    model = np.where(np.isfinite(model), model, 1e12)
    scores = {"score": float(np.sqrt(model.mean())), "trivial": float(np.sqrt(base.mean()))}
    return {"metric": name, **scores, "p": _flipped(base - model, random)}


def _flipped(gain: np.ndarray, random: np.random.Generator) -> float:
    """One-sided p of a gain [example] over nothing: its sum among those with signs at random."""
    drawn = [gain @ random.choice([-1.0, 1.0], size=len(gain)) for _ in range(999)]
    return (int(np.sum(np.array(drawn) >= gain.sum())) + 1) / 1000


def _ends(run: Run, part: str, key: str) -> np.ndarray:
    values = epoch_series(run, part, key)
    return values[np.isfinite(values)]


def _gap(run: Run, metric: str) -> float:
    """Training minus validation score over the last tenth of the epochs, positive: train is better.

    For errors in the target's own unit, as a share of the validation score.
    """
    train, validation = (
        goodness(metric, epoch_series(run, part, metric)) for part in ("train", "validation")
    )
    last = max(1, len(run.epochs) // 10)
    gap = float(np.nanmean(train[-last:]) - np.nanmean(validation[-last:]))
    return gap if is_bounded(metric) else gap / max(abs(float(validation[-1])), 1e-12)


def _kept_gap(run: Run, metric: str) -> float:
    """The same for the weights that were kept."""
    train = run.scores.get("train")
    studied = next((run.scores[part] for part in STUDIED if part in run.scores), None)
    if not train or not studied or metric not in train or metric not in studied:
        return float("nan")
    gap = float(goodness(metric, train[metric]) - goodness(metric, studied[metric]))
    return gap if is_bounded(metric) else gap / max(abs(studied[metric]), 1e-12)


def _rise(run: Run) -> float:
    """Rise of the validation loss from its smoothed minimum to the end, as a share of it."""
    losses = _ends(run, "validation", "loss")
    smooth = _smooth(losses)
    last = max(1, len(losses) // 10)
    return float((losses[-last:].mean() - smooth.min()) / max(abs(float(smooth.min())), 1e-12))


def _noise(run: Run, metric: str) -> tuple[float, float]:
    """Two standard errors of the validation score and, relative to its minimum, of its loss."""
    part = run.predictions.get("validation")
    if part is None or len(part.loss) < 2:
        return 0.0, 0.0
    examples = len(part.loss)
    loss = float(np.std(part.loss)) / np.sqrt(examples)
    lowest = max(abs(float(_smooth(_ends(run, "validation", "loss")).min())), 1e-12)
    if is_bounded(metric) and part.probabilities is not None:
        right = float(np.mean(part.prediction == part.target))
        score = np.sqrt(max(right * (1 - right), 1 / examples) / examples)
    else:
        score = 1 / np.sqrt(2 * examples)  # relative error of a standard deviation
    return 2 * float(score), 2 * loss / lowest


def _smooth(losses: np.ndarray) -> np.ndarray:
    """Median of each three neighbours: the minimum of a noisy curve is too low."""
    padded = np.pad(losses, 1, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 3), axis=1)


def _best_train(run: Run, metric: str) -> float:
    """The better of the last epoch's and the kept weights' training score."""
    found = [v for v in epoch_series(run, "train", metric)[-1:] if np.isfinite(v)]
    kept = run.scores.get("train", {}).get(metric)
    if kept is not None and np.isfinite(kept):
        found.append(kept)
    return max(found, key=lambda v: float(goodness(metric, v)), default=float("nan"))
