"""Whether the parts are alike, and the network the same in evaluation as in training."""

import math
from collections.abc import Sequence

import numpy as np

from fitwell.findings.reading import (
    confidence,
    epoch_series,
    evidence_of,
    folds_of,
    median,
    rounded,
)
from fitwell.record import Finding, NotAssessed, Row, Run

_APART = 0.6  # area under the curve of a classifier of the parts; its interval must lie above
_FIT_GAP = 0.2  # of what there is to fit
_PASSES = 3  # in training mode that are no accident
_FEW = 8  # numbers for a mean
_EVALUATED = 2.0  # loss in evaluation over that of training steps, on training examples
_OTHER_SCALE, _OTHER_MEAN = 2.0, 1.0
_MIXED = 0.6  # of the classes that a batch would hold
_NOTABLE = 0.05  # of the first loss that the difference must be


def shift(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The parts are not alike, or the network is not the same in evaluation as in training.

    Symptom: the validation score lags behind from the first epoch; or the same training examples have a
        far higher loss in evaluation mode.
    Mechanism: the parts were collected or prepared otherwise; batch normalisation uses running means in
        evaluation that are not those of the batches (few examples a batch, a momentum too slow).
    Threshold: a classifier of the parts (experiment "domain") with an area under its curve above 0.6, with
        95 % confidence; or, in at least half of the runs, over the last third of the epochs a training loss
        in evaluation mode that is twice that of the steps and more; or, of a loop that was watched, kept
        examples of which 0.2 less of what there is to fit is fitted in evaluation mode than as they are
        trained on; or that ran its validation in training mode, with dropout or batch statistics at work;
        or whose batch normalisation has fewer than 8 numbers of a channel for a mean; or that evaluates
        inputs whose features have twice or half the spread of those trained on, or means that differ by
        one spread (medians of the features); or whose batches hold at most 0.6 of the classes that mixed
        ones would. Before any training: batch normalisation behind a dropout.
    Source: Rabanser, Günnemann and Lipton 2019, NeurIPS (classifiers of the parts); Ioffe 2017, NeurIPS;
        Li, Chen, Hu and Yang 2019, CVPR (dropout before batch normalisation)
    """
    domain = evidence_of(runs, "domain")
    # What a loop of somebody else's tells as its loss may be another mean than that of its steps.
    watched = bool(evidence_of(runs, "loop"))
    folds = [run for run in folds_of(runs) if not watched and math.isfinite(_evaluated(run))]
    if (found := _watched(runs)) is not None:
        return found
    if not domain and not folds:
        return NotAssessed("shift", "a classifier of the parts (domain), or step losses and epochs")
    low = median(row["low"] for row in domain)
    ratios = [_evaluated(run) for run in folds]
    flags = [ratio > _EVALUATED for ratio in ratios]
    modes = bool(flags) and sum(flags) >= 0.5 * len(flags)
    if not (low > _APART or modes):
        return None
    facts = {
        "runs": len(folds_of(runs)),
        "auc": median(row["auc"] for row in domain),
        "auc_low": low,
        "evaluated_over_trained": median(ratios),
    }
    if low > _APART:
        sentence = (
            f"A classifier tells training from held-out examples with an area under the curve of "
            f"{facts['auc']:.2f} (0.5 would be chance)."
        )
    else:
        sentence = (
            f"In evaluation mode the loss of training examples is {facts['evaluated_over_trained']:.2g} "
            "times that of the training steps."
        )
    level = confidence(folds_of(runs), sum(flags) if modes else len(folds_of(runs)))
    settings = ("data.time", "data.group", "model.norm", "train.batch_size")
    return Finding("shift", level, rounded(facts), sentence, settings)


def _watched(runs: Sequence[Run]) -> Finding | None:
    """Of loops that were watched: the kept examples in evaluation mode beside themselves in training."""
    rows = [row for row in evidence_of(runs, "sample") if row.get("fit_training") is not None]
    gap = median(row["fit_training"] - row["fit"] for row in rows)
    loops = evidence_of(runs, "loop")
    behind = sorted({name for row in loops for name in row.get("dropout_before_norm", ())})
    if behind and all(row.get("inspected") for row in loops):
        found = {"runs": len(loops), "norms_behind_dropout": behind}
        said = (
            f"{behind[0]} normalises what a dropout before it makes more spread in training than in "
            "evaluation."
        )
        return Finding("shift", "low", found, said, tuple(behind))
    if not gap > _FIT_GAP:
        return (
            _other_scale(loops) or _in_training_mode(loops) or _few_a_batch(loops) or _sorted(loops)
        )
    evidence = {
        "runs": len(folds_of(runs)),
        "examples": rows[0]["examples"],
        "fit": median(row["fit"] for row in rows),
        "fit_in_training": median(row["fit_training"] for row in rows),
        "norms_behind_dropout": behind,
    }
    sentence = (
        f"Of the same {rows[0]['examples']} examples {evidence['fit_in_training']:.0%} is fitted in "
        f"training mode and {evidence['fit']:.0%} in evaluation mode."
    )
    if behind:
        sentence += (
            f" {behind[0]} normalises by the variance that a dropout before it makes larger."
        )
    level = confidence(folds_of(runs), len(rows))
    return Finding("shift", level, rounded(evidence), sentence, ("model.norm", "train.batch_size"))


def _in_training_mode(loops: Sequence[Row]) -> Finding | None:
    """A validation without `model.eval()`."""
    passes = [row.get("evaluated") or {} for row in loops]
    counts = [(p.get("training", 0), p.get("evaluation", 0)) for p in passes]
    if not counts or not all(trained >= _PASSES and not own for trained, own in counts):
        return None
    evidence = {"runs": len(loops), "passes_in_training_mode": counts[0][0]}
    sentence = (
        "Passes without gradients, as of a validation, ran in training mode: dropout and the statistics of "
        "the batch are at work in them (model.eval() before, model.train() after)."
    )
    return Finding("shift", "medium", evidence, sentence, ("model.eval()",))


def _other_scale(loops: Sequence[Row]) -> Finding | None:
    """Inputs that are prepared otherwise where the network is evaluated."""
    known = [row for row in loops if row.get("scale_evaluated") is not None]
    scale, moved = (median(row[k] for row in known) for k in ("scale_evaluated", "shift_evaluated"))
    if not (scale > _OTHER_SCALE or scale < 1 / _OTHER_SCALE or moved > _OTHER_MEAN):
        return None
    facts = {"runs": len(loops), "spread_over_training": scale, "means_apart": moved}
    sentence = (
        f"Inputs that are evaluated have {scale:.3g} times the spread of those trained on, and means "
        f"{moved:.3g} of their spreads away: they are not prepared alike."
    )
    return Finding("shift", "medium", rounded(facts), sentence, ())


def _sorted(loops: Sequence[Row]) -> Finding | None:
    """Batches of few classes, from examples that come in the order of their classes."""
    counts = [row["classes_a_batch"] for row in loops if row.get("classes_a_batch")]
    if not counts or not all(own <= _MIXED * mixed for own, mixed in counts):
        return None
    own, mixed = counts[0]
    facts = {"runs": len(loops), "classes_a_batch": own, "classes_if_mixed": mixed}
    sentence = (
        f"A batch holds {own:.2g} classes on average, and would hold {mixed:.2g} if the examples were "
        "mixed: they come sorted (shuffle=True)."
    )
    return Finding("shift", "medium", rounded(facts), sentence, ("shuffle",))


def _few_a_batch(loops: Sequence[Row]) -> Finding | None:
    """Batch normalisation of a handful of numbers."""
    counts = [row["normalised"] for row in loops if row.get("normalised") is not None]
    if not counts or max(counts) >= _FEW:
        return None
    evidence = {"runs": len(loops), "numbers_a_channel": median(counts)}
    sentence = (
        f"Batch normalisation takes mean and variance of {median(counts):.0f} numbers of a channel: they "
        "are those of the batch, and not of the data."
    )
    return Finding("shift", "medium", evidence, sentence, ("train.batch_size", "model.norm"))


def _evaluated(run: Run) -> float:
    """Loss of training examples in evaluation mode over that of the steps, late in training."""
    late = max(1, len(run.epochs) // 3)
    epochs = {int(row["epoch"]) for row in run.epochs[-late:] if "epoch" in row}
    steps = [
        float(row["loss"])
        for row in run.steps
        if row.get("epoch") in epochs and row.get("loss") is not None
    ]
    evaluated = epoch_series(run, "train")[-late:]
    if not steps or not np.isfinite(evaluated).any() or not np.mean(steps) > 0:
        return math.nan
    trained, loss = float(np.mean(steps)), float(np.nanmean(evaluated))
    first = next((float(r["loss"]) for r in run.steps if r.get("loss") is not None), math.nan)
    return loss / trained if loss - trained > _NOTABLE * first else min(1.0, loss / trained)
