"""Whether the network fits its training examples too closely."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fitwell.findings.reading import (
    LOSS,
    confidence,
    epoch_series,
    evidence_of,
    first_repeat,
    folds_of,
    goodness,
    is_bounded,
    mean_interval,
    median,
    metric_of,
    rounded,
)
from fitwell.findings.reference import best_reference
from fitwell.record import STUDIED, Finding, NotAssessed, Run

_GAP = 0.03  # in a score up to 1
_RELATIVE_GAP = 0.1  # of the validation score, for errors in the target's own unit
_LOSS_GAP = 0.3  # likewise, where only the loss is known
_CLEAR = 2  # times that gap
_RISE = 0.1  # of the lowest validation loss
_UNKNOWN = (0.05, 0.1)  # taken for twice their standard errors where nobody knows how many examples
# Times a simple model's error: 1 - score, in the target's unit, or its square (r2).
_FAR, _FAR_IN_UNITS = 1.5, 1.2
_STANDING = {
    "worse": " On held-out examples it reaches {held_out:.4g}, a simple model ({simple_model}) "
    "{of_simple_model:.4g}: new examples can be told better.",
    "behind": " On held-out examples it reaches {held_out:.4g}, the best simple model ({simple_model}) "
    "{of_simple_model:.4g}.",
    "alike": " But on held-out examples it reaches {held_out:.4g}, and the best simple model "
    "({simple_model}) little more, {of_simple_model:.4g}: it may be all that so few examples allow.",
}


def overfitting(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The network learns its training examples by heart, and new ones get worse.

    Symptom: the training score runs away from the validation score, and the validation loss rises
        after a minimum; or a simple model does far better on new examples.
    Mechanism: more capacity or more steps than the examples can pin down; what is fitted last is
        their noise.
    Threshold: with 95 % confidence over the runs, the gap between the score of training examples and
        of others (validation, held-out) at the end is above 0.03 (10 % for errors in the target's
        unit); and the validation loss has risen over its smoothed minimum (the mean logarithm of the
        rises), by 10 % on average (with fewer than 3 runs, both by more than two standard errors of the
        validation part, or 0.05 and 10 % where it is not known); or on held-out examples the best
        reference model does far better: by 0.03 (10 %), by two standard errors (of accuracies by their
        examples, else over the folds that both were scored on), and with two thirds of the error
        (1 - score; five sixths for errors in the target's unit, their square for r2). It is of low
        confidence where that model does about as well: what so few examples leave to any model is no
        fault of this one; and where it does better, but the gap is less than twice as large: another
        kind of model may suit the data better.
    Source: Geman, Bienenstock and Doursat 1992; Prechelt 1998; SageMaker Debugger uses a gap of
        10 % alone, which healthy runs have
    """
    folds = [run for run in folds_of(runs) if len(_ends(run, "validation", "loss")) >= 4]
    if not folds:
        return NotAssessed("overfitting", "the validation loss of at least 4 epochs")
    metric = metric_of(folds)
    scored = [run for run in folds if len(_ends(run, "validation", metric))]
    if scored:
        folds = scored
    else:
        metric = LOSS  # a loop that tells nothing else
    gaps = [_gap(run, metric) for run in folds]
    rises = [_rise(run) for run in folds]
    limit = _GAP if is_bounded(metric) else _LOSS_GAP if metric == LOSS else _RELATIVE_GAP
    (gap_low, _), (rise_low, _) = mean_interval(gaps), mean_interval(_as_logs(rises))
    if len(folds) < 3:
        # Too few runs to show their spread: what so few examples leave open stands for it.
        gap_low = min(g - _noise(r, metric)[0] for g, r in zip(gaps, folds, strict=True))
        rise_low = min(v - _noise(r, metric)[1] for v, r in zip(rises, folds, strict=True))
    risen = rise_low > 0 and np.mean(rises) >= _RISE
    standing, facts = _beside_simple_models(runs, folds, metric, limit)
    if not (gap_low > limit and (risen or standing == "worse")):
        return None
    pairs = zip(gaps, rises, strict=True)
    flags = [gap > limit and (rise >= _RISE or standing == "worse") for gap, rise in pairs]
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
            **facts,
        }
    )
    unit = "" if is_bounded(metric) else " (share of their score)"
    gap = f"{median(gaps):.3g} better than that of other examples{unit}"
    sentence = f"At the end the training {metric} is {gap}"
    if risen:
        sentence += (
            f", and the validation loss has risen by {median(rises):.0%} since epoch {best:.0f}"
        )
    sentence += "."
    same = [row.get("same_batch") for row in evidence_of(runs, "loop")]
    if same and same[0] and all(same):
        evidence["same_batch"] = same[0]
        sentence += (
            f" Each batch held the same {same[0]} examples, as where next(iter(loader)) starts anew each "
            "time."
        )
    if standing:
        sentence += _STANDING[standing].format(**evidence)
    settings = (
        *("augment.policy", "optim.weight_decay", "model.dropout", "loss.label_smoothing"),
        "model.width",
    )
    level = confidence(folds, sum(flags), strong=not kept <= limit)
    unsure = standing == "alike" or (standing != "" and np.mean(gaps) < _CLEAR * limit)
    return Finding("overfitting", "low" if unsure else level, evidence, sentence, settings)


def _beside_simple_models(
    runs: Sequence[Run], folds: Sequence[Run], metric: str, limit: float
) -> tuple[str, dict[str, Any]]:
    """Whether the network does far "worse" on new examples than the best simple model, is "behind" it, or
    "alike"; "" where it does better, or nobody knows."""
    parts = [next((run.scores[p] for p in STUDIED if p in run.scores), {}) for run in folds]
    scores = [part[metric] for part in parts if metric in part]
    named = best_reference(runs, metric)
    watched = not scores and bool(evidence_of(runs, "loop"))
    if watched:
        scores = [float(_ends(run, "validation", metric)[-1]) for run in folds]
    if named is None or not (len(scores) >= 3 or watched):
        return "", {}
    paired = _paired(runs, folds, named[0], metric)
    pairs = [(float(run.scores["held_out"][metric]), other) for run, other in paired]
    own, other = np.mean(pairs, axis=0) if pairs else (float(np.mean(scores)), named[1])
    facts = {
        "held_out": float(own),
        "simple_model": named[0].replace("_", " "),
        "of_simple_model": float(other),
    }
    band = limit if is_bounded(metric) else limit * abs(float(other))
    error = _by_examples([r for r, _ in paired], own, other) if metric == "accuracy" else None
    if error is None:
        spread = [goodness(metric, a) - goodness(metric, b) for a, b in pairs] if pairs else scores
        error = float(np.std(spread, ddof=1)) / len(spread) ** 0.5 if len(spread) >= 3 else band
    band = max(band, 2 * error)
    lead = float(goodness(metric, own) - goodness(metric, other))
    errors = [v if goodness(metric, 1.0) < 0 else 1 - v for v in (own, other)]
    far = _FAR_IN_UNITS**2 if metric == "r2" else _FAR if is_bounded(metric) else _FAR_IN_UNITS
    worse = lead < -band and errors[0] > far * errors[1]
    if lead < -band:
        return "worse" if worse else "behind", facts
    return "alike" if lead <= band else "", facts


def _by_examples(folds: Sequence[Run], own: float, other: float) -> float | None:
    """Standard error of the difference of two accuracies on so many held-out examples; it would be smaller
    where both are wrong of the same ones. None where nobody knows how many."""
    parts = [run.predictions.get("held_out") for run in folds]
    count = sum(len(part.index) for part in parts if part is not None)
    if not count:
        return None
    spread = [max(share * (1 - share), 1 / count) for share in (own, other)]
    return float(np.sqrt(sum(spread) / count))


def _paired(
    runs: Sequence[Run], folds: Sequence[Run], model: str, metric: str
) -> list[tuple[Run, float]]:
    """Runs of the first repeat's folds that both were scored on, with the simple model's score: those of
    other folds differ by how hard these are. Nothing where they are fewer than 3."""
    simple = {
        row.get("fold"): float(row["held_out"])
        for row in evidence_of(runs, "reference")
        if row["model"] == model and row.get("metric", metric) == metric
    }
    found = [
        (run, simple[run.fold])
        for run in first_repeat(folds)
        if run.fold is not None and run.fold in simple and metric in run.scores.get("held_out", {})
    ]
    return found if len(found) >= 3 else []


def _as_logs(rises: Sequence[float]) -> list[float]:
    """Of rises, as of all ratios, the logarithms are averaged: a loss that rose tenfold in one run must not
    hide that it rose in all."""
    return np.log1p(np.maximum(rises, -0.99)).tolist()


def _ends(run: Run, part: str, key: str) -> np.ndarray:
    values = epoch_series(run, part, key)
    return values[np.isfinite(values)]


def _gap(run: Run, metric: str) -> float:
    """Training minus validation score over the last tenth of the epochs, positive: train is better. Where
    the epochs hold no training score that of the end stands for it. Where the last weights were kept, and
    scored on held-out examples, too, the mean of both gaps, weighted by their examples.

    For errors in the target's own unit, as a share of the validation score.
    """
    train, validation = (
        goodness(metric, epoch_series(run, part, metric)) for part in ("train", "validation")
    )
    last = max(1, len(run.epochs) // 10)
    if not np.isfinite(train[-last:]).any():
        train = goodness(metric, [run.scores.get("train", {}).get(metric, np.nan)])
    gap = float(np.nanmean(train[-last:]) - np.nanmean(validation[-last:]))
    gap = gap if is_bounded(metric) else gap / max(abs(float(validation[-1])), 1e-12)
    parts = [run.predictions.get("validation"), run.studied]
    kept = _kept_gap(run, metric)
    if parts[0] is parts[1] or None in parts or run.best_epoch != len(run.epochs) - 1:
        return gap
    counts = [len(part.index) for part in parts if part is not None]
    return float(np.average([gap, kept], weights=counts)) if np.isfinite(kept) else gap


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
        return _UNKNOWN
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
