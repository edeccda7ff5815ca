"""What goes in, what comes out and what is asked for do not fit together."""

import math
from collections.abc import Sequence

import numpy as np

from fitwell.findings.curves import at_rest
from fitwell.findings.reading import confidence, evidence_of, folds_of, median, rounded
from fitwell.record import Finding, NotAssessed, Row, Run

_SPREAD = 100.0  # largest scale of a feature over the lower quartile
_LARGE, _SMALL = 10.0, 0.01  # root mean square of inputs that are measured as a whole
_SUMS = 1e-3
_ENDS = 0.1  # of [0, 1], that a sigmoid comes near: logits of a network that learned nothing do not
_UNFITTED = 0.5  # R squared
_BEYOND = 0.1  # share of the targets
_SPREAD_IN_MOTION = 10.0  # of targets, where the loss is still falling
_AT_THE_ENDS = 0.1  # share of the outputs
_CONSTANT = 0.99  # share of the targets that are one number
_TIMES = 3.0  # by which a scale differs, and spreads by which a mean does
# Losses that take logits, by fitwell's names and by torch's.
_OF_LOGITS = frozenset({"cross_entropy", "focal", "gce", "crossentropyloss"})
_OF_NUMBERS = frozenset({"mse", "mae", "huber", "log_cosh"})
_NEVER_NEGATIVE = _OF_LOGITS | {
    "nll",
    "nll_of_probabilities",
    "binary_cross_entropy",
    "bce_of_probabilities",
}
_EVEN = 1e-3  # spread of the forces on the outputs, over their mean
_BOUNDED = {
    "softmax": "went through a softmax already",
    "sigmoid": "lie between 0 and 1 (a sigmoid)",
    "tanh": "lie between -1 and 1 (a tanh)",
    "relu": "cannot be negative (a ReLU)",
}
_OF_ONE_LOGIT = frozenset({"binary_cross_entropy", "bcewithlogitsloss"})


def head_loss_mismatch(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The network's last layer and the loss do not belong together.

    Symptom: the loss falls a little and stays high, even where the predictions are right.
    Mechanism: cross-entropy takes logits and applies the softmax itself; probabilities lie between 0 and
        1, and their softmax can say no class with more than e / (e + K - 1). One output with a softmax
        says 1 whatever it is given.
    Threshold: on a sample of examples, with a loss of logits: all outputs lie in [0, 1], and sum to 1
        within 1e-3 (a softmax), or come within 0.1 of both ends (a sigmoid); or the only output is the
        same for all. Where the loss's graph is known: a softmax, sigmoid, tanh or ReLU before a loss of
        logits; no log-softmax before one of log-probabilities; a sigmoid, tanh or ReLU before one of the
        logarithms of shares; a softmax before binary cross-entropies; a
        squared or absolute error of classes coded as 0 and 1; or a loss that pushes probabilities with the
        same force whether right or wrong (a hinge or absolute error after a softmax; the forces' spread is
        below 1e-3 of their mean); or one that compares each of N outputs with each of N targets, for their
        shapes [N, 1] and [N] are broadcast.
        Of a loop that was watched also a cross-entropy told below zero, and a squared or absolute error of
        the numbers of classes, where an accuracy is told.
    Source: the documentation of torch.nn.CrossEntropyLoss; UMLAUT (Schoop, Huang and Hartmann 2021, CHI)
    """
    known = ("loss", "before", "pairs")
    rows = [row for row in evidence_of(runs, "outputs") if any(map(row.get, known))]
    if not rows:
        return NotAssessed("head_loss_mismatch", "the outputs of a sample and the loss (outputs)")
    signs = [_told(runs, row) or _mismatch(row) for row in rows]
    if not all(signs):
        return None
    row, sign = rows[0], signs[0]
    evidence = rounded(
        {
            "runs": len(folds_of(runs)),
            "sign": sign,
            **{k: row[k] for k in ("loss", "units", "low", "high", "row_sum_low", "row_sum_high")},
        }
    )
    sentence = f"The outputs {sign}."
    level = confidence(folds_of(runs), len(folds_of(runs)))
    return Finding("head_loss_mismatch", level, evidence, sentence, ("loss.name", "model.name"))


def _told(runs: Sequence[Run], row: Row) -> str:
    """What is wrong by the numbers that a watched loop told, in words."""
    loss = str(row["loss"]).lower()
    losses = [r["loss"] for run in runs for r in run.steps if r.get("loss") is not None]
    late = losses[len(losses) // 2 :]
    if loss in _NEVER_NEGATIVE and late and float(np.median(late)) < 0:
        return (
            f"are pushed away from the targets: the loss is {np.median(late):.3g}, and {loss} is never "
            "below 0; its sign is turned"
        )
    scores = {key for run in runs for r in run.epochs for key in r.get("validation") or {}}
    if loss in _OF_NUMBERS and row["units"] == 1 and row.get("numbered") and "accuracy" in scores:
        return (
            f"are compared by {loss} with the numbers of {row['numbered']} classes, as if class 2 lay "
            "between 1 and 3"
        )
    return ""


def _mismatch(row: Row) -> str:
    """What is wrong with the outputs for this loss, in words; nothing where they may be what it takes."""
    loss, units, before = str(row["loss"]).lower(), int(row["units"]), row.get("before") or ""
    if row.get("pairs"):
        return (
            "are each compared with the targets of all examples: shapes such as [N, 1] and [N] are "
            "broadcast to [N, N], and the best answer is then one number for all"
        )
    if (
        units == 1
        and row["low"] == row["high"]
        and (loss in _OF_LOGITS | _OF_ONE_LOGIT or before in ("softmax", "log_softmax"))
    ):
        return f"are one number, {row['low']:.3g} for every example, whatever {loss or 'the loss'} asks for"
    if loss in _OF_LOGITS | _OF_ONE_LOGIT:
        bounded = _BOUNDED.get(before) or _bounded(row, units, loss)
        return f"{bounded}, and {loss} takes them for logits" if bounded else ""
    if loss == "nll" and (before in _BOUNDED or (before == "" and row["high"] > _ENDS)):
        return f"{_BOUNDED.get(before, 'are above 0')}, and nll takes them for log-probabilities"
    if loss == "nll_of_probabilities" and before in _BOUNDED and before != "softmax" and units > 1:
        return f"{_BOUNDED[before]}, and the loss takes them for shares of one whole"
    if loss == "bce_of_probabilities" and before == "softmax" and units > 1:
        return "are shares of one whole (a softmax), and binary cross-entropy asks of each class by itself"
    if loss in _OF_NUMBERS and row.get("one_hot"):
        return f"are compared by {loss}, a loss of numbers, with classes coded as 0 and 1"
    even = row.get("force_spread") is not None and row["force_spread"] < _EVEN
    if before in ("softmax", "sigmoid") and loss in ("", "hinge", "mae") and even:
        return (
            f"are probabilities (a {before}), and the loss pushes each with the same force whether it is "
            "nearly right or quite wrong"
        )
    return ""


def _bounded(row: Row, units: int, loss: str) -> str:
    """Within which bounds the outputs of a sample lie, in words; nothing where they may be logits."""
    if not (row["low"] >= 0 and row["high"] <= 1 + _SUMS):
        return ""
    spread = row["low"] < _ENDS and row["high"] > 1 - _ENDS
    if units > 1 and loss in _OF_LOGITS:
        whole = abs(row["row_sum_low"] - 1) < _SUMS and abs(row["row_sum_high"] - 1) < _SUMS
        if whole:
            return "are probabilities already (they sum to 1: a softmax)"
        return "all lie between 0 and 1 (a sigmoid)" if spread else ""
    return "all lie between 0 and 1 (a sigmoid)" if units == 1 and spread else ""


def unscaled_inputs(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The inputs come in scales that no one learning rate suits.

    Symptom: the loss falls along a few features alone, or hardly at all.
    Mechanism: the curvature along a feature grows with the square of its scale; a step that is short
        enough for the largest is nothing for the smallest.
    Threshold: of a table, a robust scale of a feature (half of the width of its middle 68 %) more than 100
        times the lower quartile of all features', as the network gets them; of anything a root
        mean square above 10 or below 0.01.
    Source: LeCun, Bottou, Orr and Mueller 1998, Efficient BackProp, section 4.3
    """
    rows = evidence_of(runs, "inputs")
    if not rows:
        return NotAssessed("unscaled_inputs", "the scales of the inputs (experiment inputs)")
    tables = [row for row in rows if "scale_low" in row]
    ratio = median(row["scale_high"] / row["scale_low"] for row in tables)
    rms = median(row["rms"] for row in rows)
    if tables and ratio > _SPREAD:
        row = tables[0]
        facts = {k: row[k] for k in ("scale_low", "scale_high", "low_column", "high_column")}
        sentence = (
            f"Column {row['high_column']} is {ratio:.3g} times as spread as column "
            f"{row['low_column']} ({row['scale_high']:.3g} and {row['scale_low']:.3g})."
        )
        facts["scale_ratio"] = ratio
    elif not _SMALL <= rms <= _LARGE and rms > 0:
        facts = {"rms": rms, "mean": median(row["mean"] for row in rows)}
        sentence = (
            f"The inputs' root mean square is {rms:.3g}; what initial weights expect is about 1."
        )
    else:
        return None
    evidence = rounded({"runs": len(folds_of(runs)), **facts})
    level = confidence(folds_of(runs), len(folds_of(runs)))
    settings = ("model.norm", "optim.name", "optim.lr")
    return Finding("unscaled_inputs", level, evidence, sentence, settings)


def unreachable_targets(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Targets that the network's last layer cannot say, or in a unit that it takes for ever to reach.

    Symptom: predictions pile up at one end of their range, and targets lie beyond it; or the loss is
        huge and falls at the pace at which one bias grows.
    Mechanism: a sigmoid, tanh or ReLU at the end bounds what can be said; initial weights say numbers of
        about 1, and a step moves them by the learning rate.
    Threshold: on a sample of training examples, where the fit is below an R squared of 0.5: more than 10 %
        of the targets outside of the range of the outputs and more than 10 % of the outputs at one end of
        it (within 1e-3 of the targets' spread); or targets whose spread is above 100 or whose mean is
        more than 100 of their spreads from zero (10 where the loss has not come to rest).
    Source: Bishop 1995, Neural Networks for Pattern Recognition, section 6.6 and 8.2
    """
    rows = evidence_of(runs, "targets")
    if not rows:
        # Classes are always within reach.
        told = evidence_of(runs, "outputs")
        return None if told else NotAssessed("unreachable_targets", "targets and outputs (targets)")
    beyond, ends = median(r["beyond"] for r in rows), median(r["at_the_ends"] for r in rows)
    std, mean = median(r["std"] for r in rows), median(r["mean"] for r in rows)
    fit = median(r["fit"] for r in rows)
    # Where the loss's graph is known, only a function at the end sets bounds.
    free = any(row.get("before") == "" for row in rows)
    bounded = beyond > _BEYOND and ends > _AT_THE_ENDS and not free
    most = _SPREAD if any(map(at_rest, runs)) else _SPREAD_IN_MOTION
    unscaled = std > most or (std > 0 and abs(mean) > most * std)
    if fit >= _UNFITTED or not (bounded or unscaled):
        return None
    evidence = rounded(
        {
            "runs": len(folds_of(runs)),
            "fit": fit,
            "targets_beyond": beyond,
            "outputs_at_the_ends": ends,
            "target_mean": mean,
            "target_std": std,
            "said_low": median(r["said_low"] for r in rows),
            "said_high": median(r["said_high"] for r in rows),
        }
    )
    if bounded:
        sentence = (
            f"{beyond:.0%} of the targets lie outside of what is ever said ({evidence['said_low']:.3g} "
            f"to {evidence['said_high']:.3g}), and {ends:.0%} of what is said is at one end of it."
        )
    else:
        sentence = (
            f"The targets are {mean:.3g} on average and {std:.3g} apart, as the loss gets them."
        )
    level = confidence(folds_of(runs), len(folds_of(runs)))
    return Finding("unreachable_targets", level, evidence, sentence, ("model.name", "optim.lr"))


def bad_target(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """What is asked for says nothing, or is another thing in validation than in training.

    Symptom: a perfect score at once, or a validation loss of another size than the training loss from the
        first epoch on.
    Mechanism: a step of the pipeline made the target constant, or scaled or coded one part alone.
    Threshold: one number for more than 99 % of the training targets; or a spread 3 times that of the
        other part, or means 3 spreads apart (not of forecasts: a series moves).
    Source: Sculley et al. 2015, NeurIPS (training and serving that differ)
    """
    rows = evidence_of(runs, "targets")
    if not rows:
        told = evidence_of(runs, "outputs")
        return None if told else NotAssessed("bad_target", "the targets of a sample (targets)")
    train = [row for row in rows if row.get("part", "train") == "train"]
    other = [row for row in rows if row.get("part", "train") != "train"]
    common = median(row["most_common"] for row in train)
    facts: dict[str, float] = {"most_common": common}
    sentence = ""
    if common > _CONSTANT:
        sentence = f"{common:.1%} of the training targets are one and the same number."
    elif other and not any(run.spec and run.spec.horizon for run in folds_of(runs)):
        (mean, std), (new_mean, new_std) = (
            (median(r["mean"] for r in part), median(r["std"] for r in part))
            for part in (train, other)
        )
        facts |= {"mean": mean, "std": std, "validation_mean": new_mean, "validation_std": new_std}
        times = abs(math.log(new_std / std)) if std > 0 and new_std > 0 else math.inf
        apart = abs(new_mean - mean) / max(std, new_std) if max(std, new_std) > 0 else 0.0
        if times > math.log(_TIMES) or apart > _TIMES:
            sentence = (
                f"Training targets are {mean:.3g} ± {std:.3g}, validation targets "
                f"{new_mean:.3g} ± {new_std:.3g}."
            )
    if not sentence:
        return None
    evidence = rounded({"runs": len(folds_of(runs)), **facts})
    level = confidence(folds_of(runs), len(folds_of(runs)))
    return Finding("bad_target", level, evidence, sentence, ("data.target",))
