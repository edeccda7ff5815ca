"""How well the network fits beside simple models of the same examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fitwell.findings.reading import (
    FITTED,
    confidence,
    epoch_series,
    evidence_of,
    folds_of,
    goodness,
    is_bounded,
    mean_interval,
    median,
    metric_of,
    rounded,
)
from fitwell.record import Finding, NotAssessed, Row, Run

_MEANT = ("linear", "dlinear", "autoregressive")  # models that are linear on purpose
_MADE_GOOD = 0.5  # of what is missing
_PAIRS = 2  # of layers
_BEYOND = (
    0.05  # likewise, of a linear network over the linear model, which is held back by its penalty
)
_HALF = (
    0.5  # of map50: where boxes that were trained on are lost so, more is lost than is hard to see
)
_MARGIN = 0.01  # in a score up to 1, or share of the reference's error
LINEAR = 1e-3  # of the difference between two outputs; rounding in float32 stays far below


def underfitting(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The network fits even its own training examples worse than a simple model predicts new ones.

    Symptom: training score and validation score are low alike.
    Mechanism: too little capacity, too much regularisation, or a training that did not get there.
    Threshold: with 95 % confidence over the runs (or in each of at least 3, by 0.05 on average)
        the training score lies more than 0.01 (1 % of its error) below the best reference model's
        score on held-out examples: nearest neighbour, linear, lasso, boosted trees. No simple model finds
        boxes: a detector's map50 of its training pictures is compared with a half.
    Source: Geman, Bienenstock and Doursat 1992 (bias); reference models as in Olson et al. 2017,
        PMLB. Comparing with held-out scores keeps models that learn by heart from setting the mark
    """
    short = short_of_reference(runs)
    if isinstance(short, str):
        return NotAssessed("underfitting", short)
    if not short.clear:
        return None
    evidence = rounded({"runs_underfitted": sum(short.flags), **short.facts})
    of_model = ("model.width", "model.depth", "model.size", "model.name")
    settings = (*of_model, "train.epochs", "optim.lr")
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
    boxes = bool(folds) and all(r.spec is not None and r.spec.task == "detection" for r in folds)
    if boxes:
        metric, named = "map50", ("half", _HALF)
    else:
        named = best_reference(runs, metric)
    if named is None:
        return "the scores of reference models"
    trained = [_best_train(run, metric) for run in folds]
    if not np.isfinite(trained).any():
        return "the training score of at least one run"
    best, reference = named
    good = goodness(metric, trained)
    mark = float(goodness(metric, reference))
    margin = margin_of(metric, mark)
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
    beside = f"{best.replace('_', ' ')} reaches {reference:.4g} on examples it never saw"
    if boxes:
        beside = "less than half of what a network can learn by heart"
    sentence = f"The training {metric} is {np.nanmean(trained):.4g}; {beside}."
    strong = gap > (0.05 if is_bounded(metric) else 0.1 * abs(mark))
    return Short(folds, flags, bool(high < mark - margin or far), strong, facts, sentence)


def best_reference(runs: Sequence[Run], metric: str) -> tuple[str, float] | None:
    """The simple model that does best on held-out examples, and its score; None where none was trained."""
    rows = [
        row
        for row in evidence_of(runs, "reference")
        if row.get("metric", metric) == metric and row["model"] != "trivial"
    ]
    names = sorted({row["model"] for row in rows})
    by_model = {n: median(row["held_out"] for row in rows if row["model"] == n) for n in names}
    best = max(names, key=lambda name: float(goodness(metric, by_model[name])), default=None)
    return None if best is None else (best, by_model[best])


def makes_good(short: "Short | str", rows: Sequence[Row]) -> bool:
    """Whether a run again under an edit fits as much better as half of what is missing, in the median.

    Args:
        rows: with `metric`, `train` and `train_again`.
    """
    if isinstance(short, str) or not short.clear or not rows:
        return False
    return median(map(gain_of, rows)) >= _MADE_GOOD * short.facts["short_of_reference"]


def gain_of(row: Row) -> float:
    """How much better a run again fits its training examples."""
    metric = row["metric"]
    return float(goodness(metric, row["train_again"]) - goodness(metric, row["train"]))


def margin_of(metric: str, score: float) -> float:
    """By how much a score must be better to count: 0.01, or 1 % of an error in the target's own unit."""
    return _MARGIN if is_bounded(metric) else _MARGIN * abs(score)


def linear_network(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Layers without an activation between them: together they are one linear layer.

    Symptom: however many layers it has, it fits no better than a linear model.
    Mechanism: a product of matrices is a matrix.
    Threshold: in every run a network of two and more layers with weights whose output half-way between
        two inputs is half-way between their outputs, to 1e-3 of their difference; and a training score
        that is at most 0.05 (5 % of the error) above the linear reference model's, where that is
        known. Or, in every run, at least two pairs of layers, and half of all, of
        which the second reads just what the first says; convolutions of groups, halves of separable
        ones, do not count.
    Source: Goodfellow, Bengio and Courville 2016, section 6.1
    """
    rows = evidence_of(runs, "linearity")
    if not rows:
        return NotAssessed("linear_network", "a measurement of linearity (experiment linearity)")
    if any(row["layers"] < 2 or row["deviation"] > LINEAR for row in rows):
        return _joined(runs, rows)
    if all(
        run.recipe is not None and run.recipe.get("model.name") in _MEANT for run in folds_of(runs)
    ):
        return None
    folds = [run for run in folds_of(runs) if run.epochs or run.scores.get("train")]
    metric = metric_of(folds)
    linear = median(
        row.get("train", row["held_out"])
        for row in evidence_of(runs, "reference")
        if row["model"] == "linear" and row.get("metric", metric) == metric
    )
    train = median(_best_train(run, metric) for run in folds) if metric else float("nan")
    mark = float(goodness(metric, linear))
    margin = _BEYOND if is_bounded(metric) else _BEYOND * abs(mark)
    if float(goodness(metric, train)) > mark + margin:
        return None
    evidence = rounded(
        {
            "runs": len(folds_of(runs)),
            "layers": max(row["layers"] for row in rows),
            "deviation": median(row["deviation"] for row in rows),
            "metric": metric,
            "train": train,
            "linear_train": linear,
        }
    )
    sentence = (
        f"Its {evidence['layers']} layers are one linear function: half-way between two inputs the "
        f"output is half-way too, to {evidence['deviation']:.1g} of their difference."
    )
    unfitted = any(row["fit"] < FITTED for row in evidence_of(runs, "sample"))
    level = confidence(folds, len(folds), strong=bool(np.isfinite(mark)) or unfitted)
    settings = ("model.activation",)
    return Finding("linear_network", level, evidence, sentence, settings)


def _joined(runs: Sequence[Run], rows: Sequence[Row]) -> Finding | None:
    """Of networks that are not linear as a whole: most of their layers are, two by two."""
    pairs = [row.get("joined") or [] for row in rows]
    needed = [max(_PAIRS, (row["layers"] - 1) / 2) for row in rows]
    if any(len(found) < least for found, least in zip(pairs, needed, strict=True)):
        return None
    folds = folds_of(runs)
    evidence = {"runs": len(folds), "layers": rows[0]["layers"], "pairs": pairs[0]}
    named = "; ".join(" and ".join(pair) for pair in pairs[0][:3])
    sentence = (
        f"{len(pairs[0])} pairs of its {rows[0]['layers']} layers have no activation between them, so that "
        f"each pair is one linear layer ({named}{' ...' if len(pairs[0]) > 3 else ''})."
    )
    level = confidence(folds, len(folds))
    return Finding("linear_network", level, evidence, sentence, ("model.activation",))


def _best_train(run: Run, metric: str) -> float:
    """The better of the last epoch's and the kept weights' training score."""
    found = [v for v in epoch_series(run, "train", metric)[-1:] if np.isfinite(v)]
    kept = run.scores.get("train", {}).get(metric)
    if kept is not None and np.isfinite(kept):
        found.append(kept)
    return max(found, key=lambda v: float(goodness(metric, v)), default=float("nan"))
