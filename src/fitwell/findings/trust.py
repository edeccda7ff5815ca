"""Whether the scores can be trusted: leaks, parts that differ, and folds that are too few to tell."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fitwell.findings.reading import (
    confidence,
    epoch_series,
    evidence_of,
    first_repeat,
    folds_of,
    goodness,
    is_bounded,
    median,
    metric_of,
    rounded,
)
from fitwell.record import Finding, NotAssessed, Run
from fitwell.trials.statistics import half_width

# What `check` says of a split that tests on what was seen, or of a feature that gives the target away.
_LEAKS = (
    "duplicate_across_split",
    "duplicate_across_parts",
    "near_duplicate_across_split",
    "near_duplicate_across_parts",
    "group_across_split",
    "time_across_split",
    "files_across_split",
    "target_in_features",
)
_COPIED = 0.02  # of the held-out examples
_APART = 0.6  # area under the curve of a classifier of the parts; its interval must lie above
_FIT_GAP = 0.2  # of what there is to fit
_EVALUATED = 2.0  # loss in evaluation over that of training steps, on training examples
_NOTABLE = 0.05  # of the first loss that the difference must be
_ASKED = 0.05  # what the folds should be able to show, where nothing else was asked for
_REPEATS = 3  # of a confirmation
_SURE = 0.9


def leakage(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The score is too good: what is tested on was seen in training, or a column gives the target away.

    Symptom: a held-out score that new data will not bear out.
    Mechanism: copies, or examples of one person, machine or day, lie on both sides of the split; or a
        column was filled in after the target was known.
    Threshold: a warning or an error of `check` about the split (duplicates, groups, time, files) or about
        a column that tells the target; or 2 % and more of the held-out examples with a copy in the training
        part, without which the score is worse in at least 2/3 of the runs. The score without them is what
        to expect of new data.
    Source: Kaufman, Rosset, Perlich and Stitelman 2012, ACM TKDD 6; Kapoor and Narayanan 2023, Patterns 4;
        Barz and Denzler 2020, Journal of Imaging 6 (copies across the split)
    """
    rows = evidence_of(runs, "check")
    if not rows:
        return NotAssessed("leakage", "a check of the data (experiment check)")
    leaks = [r for r in rows if r.get("problem") in _LEAKS and r.get("severity") != "note"]
    folds = folds_of(runs)
    copies = _copies(runs)
    if not leaks and not copies.get("flattered"):
        return None
    evidence = rounded(
        {
            "runs": len(folds),
            "problems": sorted({row["problem"] for row in leaks}) or ["copies_across_folds"],
            "concerned": sum(int(row.get("count", 1)) for row in leaks),
            "where": [str(place) for row in leaks for place in row.get("where", ())],
            **copies,
        }
    )
    sentences = [str(leaks[0]["message"])] if leaks else []
    if len(leaks) > 1:
        sentences.append(f"And {len(leaks) - 1} more.")
    if copies:
        metric = str(evidence["metric"]).replace("_", " ")
        sentences.append(
            f"{copies['copied']:.1%} of the held-out examples have a copy among those trained on; on the "
            f"others the {metric} is {evidence['score_without']:.4g} instead of {evidence['score']:.4g}."
        )
    level = confidence(folds, len(folds))
    return Finding("leakage", level, evidence, " ".join(sentences), ("data.group", "data.time"))


def _copies(runs: Sequence[Run]) -> dict[str, Any]:
    """What the score owes to held-out examples with a copy in the training part; nothing where there are
    none, or no others."""
    rows = evidence_of(runs, "copies")
    known = [row for row in rows if row.get("metric")]
    if not known:
        return {}
    metric = str(known[0]["metric"])
    falls = [
        float(goodness(metric, r["score"])) - float(goodness(metric, r["score_without"]))
        for r in known
    ]
    share = sum(row["copies"] for row in rows) / sum(row["held_out"] for row in rows)
    return {
        "copied": share,
        "metric": metric,
        "score": float(np.mean([row["score"] for row in known])),
        "score_without": float(np.mean([row["score_without"] for row in known])),
        "flattered": share >= _COPIED and sum(fall > 0 for fall in falls) >= 2 / 3 * len(rows),
    }


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
        trained on. Before any training: batch normalisation behind a dropout.
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
        return None
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


def cannot_tell(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The folds are too few, or too unlike each other, to show an effect of the size that was asked for.

    Symptom: every remedy ends in "no evidence".
    Mechanism: the interval of a paired difference shrinks with the number of folds and repeats, and not
        below what the folds' overlap leaves.
    Threshold: the half-width of the corrected resampled t interval of 3 repeats above `score.min_effect`
        where that was set, else above 0.05 (5 % of the mean for errors), at the least spread of the folds'
        scores that can be meant with 90 % confidence (so few tell their own spread badly, too).
    Source: Nadeau and Bengio 2003, Machine Learning 52
    """
    folds = [run for run in folds_of(runs) if run.fold is not None and "held_out" in run.scores]
    metric = metric_of(folds)
    folds = [run for run in folds if metric in run.scores["held_out"]]
    if len(folds) < 3:
        return NotAssessed("cannot_tell", "the held-out scores of at least 3 folds")
    folds = first_repeat(folds)
    scores = np.array([run.scores["held_out"][metric] for run in folds])
    reach = half_width(len(scores), _REPEATS) * float(scores.std(ddof=1))
    recipe = folds[0].recipe
    wanted = recipe.get("score.min_effect") if recipe is not None else None
    usual = _ASKED if is_bounded(metric) else _ASKED * abs(float(scores.mean()))
    asked = float(wanted) if isinstance(wanted, int | float) and wanted > usual else usual
    if not reach * _least_spread(len(scores)) > asked:
        return None
    evidence = rounded(
        {
            "runs": len(folds),
            "metric": metric,
            "smallest_effect": reach,
            "asked": asked,
            "spread_of_the_folds": float(scores.std(ddof=1)),
        }
    )
    sentence = (
        f"With {len(folds)} folds and {_REPEATS} repeats an effect on {metric} below {reach:.2g} cannot be "
        f"told from chance; {asked:.2g} was asked for."
    )
    return Finding("cannot_tell", "medium", evidence, sentence, ("data.folds", "score.min_effect"))


def _least_spread(count: int) -> float:
    """Lower 90 % bound of a standard deviation, over that of so many normal values.

    >>> round(_least_spread(5), 3), round(_least_spread(15), 3)
    (0.717, 0.815)
    """
    from scipy import stats

    return math.sqrt((count - 1) / float(stats.chi2.ppf(_SURE, count - 1)))


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
