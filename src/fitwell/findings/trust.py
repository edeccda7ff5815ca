"""Whether the scores can be trusted: leaks, and folds that are too few to tell."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fitwell.findings.reading import (
    confidence,
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
    "future_in_inputs",
)
_COPIED = 0.02  # of the held-out examples
_MIXED = 0.01  # of the outputs' spread: far above rounding
_ASKED = 0.05  # what the folds should be able to show, where nothing else was asked for
_REPEATS = 3  # of a confirmation
_LIKELY, _SURE = 0.9, 0.99


def leakage(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The score is too good: what is tested on was seen in training, a column gives the target away, or
    examples of a batch see one another.

    Symptom: a held-out score that new data will not bear out.
    Mechanism: copies, or examples of one person, machine or day, lie on both sides of the split; or a
        column was filled in after the target was known; or the network takes another axis for the batch's
        (batch_first, view, softmax over axis 0), so that what it says of an example depends on the others.
    Threshold: a warning or an error of `check` about the split (duplicates, groups, time, files) or about
        a column that tells the target; or 2 % and more of the held-out examples with a copy in the training
        part, without which the score is worse in at least 2/3 of the runs (the score without them is what
        to expect of new data); or outputs that change by 1 % of their spread and more when half of
        the batch is left out, in evaluation mode and every run.
    Source: Kaufman, Rosset, Perlich and Stitelman 2012, ACM TKDD 6; Kapoor and Narayanan 2023, Patterns 4;
        Barz and Denzler 2020, Journal of Imaging 6 (copies across the split)
    """
    if mixed := _mixed(runs):
        return mixed
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


def _mixed(runs: Sequence[Run]) -> Finding | None:
    """Examples that see one another within a batch."""
    changes = [row["difference"] for row in evidence_of(runs, "mixing")]
    if not changes or min(changes) < _MIXED:
        return None
    folds = folds_of(runs)
    evidence = rounded({"runs": len(folds), "mixed": median(changes)})
    sentence = (
        f"What the network says of an example depends on the others in its batch: it changes by "
        f"{median(changes):.0%} of the outputs' spread when half of the batch is left out."
    )
    level = confidence(folds, len(folds))
    return Finding("leakage", level, evidence, sentence, ("model.name",))


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


def cannot_tell(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The folds are too few, or too unlike each other, to show an effect of the size that was asked for.

    Symptom: every remedy ends in "no evidence".
    Mechanism: the interval of a paired difference shrinks with the number of folds and repeats, and not
        below what the folds' overlap leaves.
    Threshold: the half-width of the corrected resampled t interval of 3 repeats above `score.min_effect`
        where that was set, else above 0.05 (5 % of the mean for errors), at the least spread of the folds'
        scores that can be meant with 90 % confidence (so few tell their own spread badly, too); with 99 %
        confidence, it is high. Folds whose accuracies are more alike than chance alone makes so many
        examples have their spread pooled with that of chance.
    Source: Nadeau and Bengio 2003, Machine Learning 52
    """
    folds = [run for run in folds_of(runs) if run.fold is not None and "held_out" in run.scores]
    metric = metric_of(folds)
    folds = [run for run in folds if metric in run.scores["held_out"]]
    if len(folds) < 3:
        return NotAssessed("cannot_tell", "the held-out scores of at least 3 folds")
    folds = first_repeat(folds)
    scores = np.array([run.scores["held_out"][metric] for run in folds])
    spread, freedom = _spread(folds, scores, metric)
    reach = half_width(len(scores), _REPEATS) * spread
    recipe = folds[0].recipe
    wanted = recipe.get("score.min_effect") if recipe is not None else None
    usual = _ASKED if is_bounded(metric) else _ASKED * abs(float(scores.mean()))
    asked = float(wanted) if isinstance(wanted, int | float) and wanted > usual else usual
    if not reach * _least_spread(freedom, _LIKELY) > asked:
        return None
    evidence = rounded(
        {
            "runs": len(folds),
            "metric": metric,
            "smallest_effect": reach,
            "asked": asked,
            "spread_of_the_folds": spread,
        }
    )
    sentence = (
        f"With {len(folds)} folds and {_REPEATS} repeats an effect on {metric} below {reach:.2g} cannot be "
        f"told from chance; {asked:.2g} was asked for."
    )
    level = "high" if reach * _least_spread(freedom, _SURE) > asked else "medium"
    return Finding("cannot_tell", level, evidence, sentence, ("data.folds", "score.min_effect"))


def _spread(folds: Sequence[Run], scores: np.ndarray, metric: str) -> tuple[float, int]:
    """Standard deviation of the folds' scores, and its degrees of freedom.

    Where that of an accuracy is below the one that its examples have by chance (with half an error in one
    example more: Jeffreys), it is pooled with that: so few folds may well look alike.
    """
    own = float(scores.std(ddof=1))
    parts = [run.studied for run in folds]
    counts = [len(part.index) for part in parts if part is not None]
    if metric != "accuracy" or len(counts) < len(folds):
        return own, len(scores) - 1
    right = float(np.average(scores, weights=counts))
    share = (right * sum(counts) + 0.5) / (sum(counts) + 1)
    chance = share * (1 - share) / (sum(counts) / len(counts))
    if own**2 >= chance:
        return own, len(scores) - 1
    return math.sqrt((own**2 + chance) / 2), 2 * (len(scores) - 1)


def _least_spread(freedom: int, sure: float) -> float:
    """Lower bound of a standard deviation of so many degrees of freedom, as a share of it.

    >>> round(_least_spread(4, 0.9), 3), round(_least_spread(14, 0.9), 3)
    (0.717, 0.815)
    """
    from scipy import stats

    return math.sqrt(freedom / float(stats.chi2.ppf(sure, freedom)))
