"""Penalties that hold the fit back too much."""

from collections.abc import Sequence

import numpy as np

from fitwell.findings.reading import (
    COLLAPSED,
    FITTED,
    confidence,
    evidence_of,
    folds_of,
    hot_steps,
    median,
    rounded,
    share,
    weights_left,
)
from fitwell.findings.reference import makes_good, short_of_reference
from fitwell.record import Finding, NotAssessed, Row, Run
from fitwell.restraints import restraints

_PULL = 1.0  # of the penalty's gradient over the data's
_LEFT = 0.5  # of what is fitted: so much dropout must leave to a network that trains
_MOST_DROPPED = 0.9
_NONE = 0.1  # below it a layer of a watched loop is taken to have no penalty: chance gives as much
# Decoupled decay pulls beside the gradient, not through it: there the step itself is compared with.
_DECOUPLED = frozenset({"adamw"})


def over_regularised(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Penalties, dropout or random changes of the inputs keep the network from fitting what it could fit.

    Symptom: the training score is low; under penalties the weights shrink rather than learn.
    Mechanism: the minimum of loss plus penalty lies where the loss is far from its own minimum; what
        dropout and random changes leave of an example may be too little to tell its class.
    Threshold: the training score is below the reference models' (as for underfitting), and in at least half
        of the runs the penalties' gradient is larger than the data's, in the median over layers of the
        second half of the measured steps, or a tenth of the weights' size is left at the end; or a run
        again without any of it (experiment "unrestrained") makes good half of what is missing. Of a loop
        that was watched: less than 0.9 of what there is to fit in the kept
        examples is fitted, and penalties pull so hard, or in training mode, with dropout, less than half of
        that, or dropout takes 90 % and more away.
    Source: Krogh and Hertz 1991, NeurIPS; Goodfellow, Bengio and Courville 2016, chapter 7
    """
    short = short_of_reference(runs)
    if isinstance(short, str):
        return _watched(runs) or NotAssessed("over_regularised", short)
    if (found := _watched(runs)) is not None or not short.clear:
        return found
    pulls = [_pull(run) for run in short.folds]
    # At last both pull alike on what is left of the weights, and on none of them nothing does.
    shrunk = [
        weights_left(run) < COLLAPSED and pull != 0
        for run, pull in zip(short.folds, pulls, strict=True)
    ]
    pulled = [pull > _PULL or gone for pull, gone in zip(pulls, shrunk, strict=True)]
    free = evidence_of(runs, "unrestrained")
    if share(pulled) >= 0.5:
        how = f"the penalties pull {median(pulls):.2g} times as hard as the data"
        if share(shrunk) >= 0.5:
            how = f"of the weights' size {median(map(weights_left, short.folds)):.1e} is left"
        flags = [flag and bad for flag, bad in zip(pulled, short.flags, strict=True)]
        settings: tuple[str, ...] = ("optim.weight_decay", "optim.l1")
    elif makes_good(short, free):
        settings = tuple(free[0]["settings"])
        without = median(row["train_again"] for row in free)
        how = f"without {', '.join(settings)} the same training reaches {without:.4g}"
        flags = short.flags
    elif free or not _has_others(short.folds):
        if not np.isfinite(pulls).any():
            return NotAssessed("over_regularised", "probe rows of steps (weight_rms, grad_rms)")
        return None
    else:
        return NotAssessed(
            "over_regularised", "a run without what holds the fit back (unrestrained)"
        )
    evidence = rounded(
        {
            "runs_pulled": sum(pulled),
            **short.facts,
            "penalty_over_data": median(pulls),
            "weights_left": median(map(weights_left, short.folds)),
            "train_without": median(row["train_again"] for row in free),
        }
    )
    sentence = f"{short.sentence[:-1]}; {how}."
    level = confidence(short.folds, sum(flags), strong=short.strong)
    return Finding("over_regularised", level, evidence, sentence, settings)


def _has_others(folds: Sequence[Run]) -> bool:
    """Whether something holds the fit back that is no penalty on the weights."""
    names = restraints(folds[0].recipe or {})
    return any(not name.startswith("optim.") for name in names)


def _watched(runs: Sequence[Run]) -> Finding | None:
    """Of loops that were watched, whose fit of the kept examples stands for that of the training part."""
    folds = folds_of(runs)
    rows = evidence_of(runs, "sample")
    fits = [row["fit"] for row in rows]
    if (found := _dropped(runs, rows)) is not None:
        return found
    pulls = [_pull(run) for run in folds]
    pulled = [pull > _PULL for pull in pulls]
    if not fits or median(fits) >= FITTED or share(pulled) < 0.5:
        return None
    evidence = rounded(
        {
            "runs_pulled": sum(pulled),
            "runs": len(folds),
            "fit": median(fits),
            "penalty_over_data": median(pulls),
        }
    )
    sentence = (
        f"Of what there is to fit in the training examples {max(median(fits), 0):.0%} is fitted, and the "
        f"penalties pull {median(pulls):.2g} times as hard as the data."
    )
    level = confidence(folds, sum(pulled))
    return Finding(
        "over_regularised", level, evidence, sentence, ("optim.weight_decay", "optim.l1")
    )


def _dropped(runs: Sequence[Run], rows: Sequence[Row]) -> Finding | None:
    """Of the kept examples hardly anything is left to a network that trains: dropout takes it away."""
    fit = median(row["fit"] for row in rows)
    training = median(row["fit_training"] for row in rows if row.get("fit_training") is not None)
    dropped = median(row.get("dropout", 0.0) for row in evidence_of(runs, "loop"))
    shown = _LEFT * FITTED < fit < FITTED and training < _LEFT * fit
    if not (shown or (fit < FITTED and dropped >= _MOST_DROPPED)):
        return None
    evidence = {"runs": len(folds_of(runs)), "fit": fit, "fit_in_training": training}
    evidence["dropout"] = dropped
    taken = f"Dropout takes up to {dropped:.0%} of a layer away: of" if not shown else "Of"
    sentence = (
        f"{taken} what there is to fit in the training examples {max(fit, 0):.0%} is fitted, and in "
        f"training mode, with what it drops at random, {max(training, 0):.0%}."
    )
    level = confidence(folds_of(runs), len(rows))
    return Finding("over_regularised", level, rounded(evidence), sentence, ("model.dropout",))


def _pull(run: Run) -> float:
    """The penalties' gradient over the data's: median over layers of the second half of the steps."""
    recipe = run.recipe
    if recipe is None:
        rows = [r for r in run.probes if r.get("kind") == "step" and r.get("data_rms")]
        steps = sorted({int(row["step"]) for row in rows})
        late = set(steps[len(steps) // 2 :])
        ratios = [r["penalty_rms"] / r["data_rms"] for r in rows if r["step"] in late]
        return median(ratio for ratio in ratios if ratio > _NONE)
    decay = float(recipe.get("optim.weight_decay") or 0.0)  # type: ignore[arg-type]
    l1 = float(recipe.get("optim.l1") or 0.0)  # type: ignore[arg-type]
    if not decay and not l1:
        return 0.0
    rates = {int(row.get("step", n)): row.get("lr") for n, row in enumerate(run.steps)}
    steps = sorted(hot_steps(run) & {int(r["step"]) for r in run.probes if r.get("kind") == "step"})
    late = set(steps[len(steps) // 2 :])
    ratios = []
    for row in run.probes:
        if row.get("kind") != "step" or row.get("step") not in late or not row.get("weight_rms"):
            continue
        penalty = decay * row["weight_rms"] + l1
        pushed = row.get("grad_rms")
        if recipe.get("optim.name") in _DECOUPLED:
            rate, update = rates.get(int(row["step"])), row.get("update_ratio")
            pushed = update * row["weight_rms"] / rate if rate and update else None
        if pushed:
            ratios.append(penalty / pushed)
    return median(ratios)
