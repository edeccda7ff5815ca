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
from fitwell.findings.reference import short_of_reference
from fitwell.record import Finding, NotAssessed, Run

_PULL = 1.0  # of the penalty's gradient over the data's
_NONE = 0.1  # below it a layer of a watched loop is taken to have no penalty: chance gives as much
# Decoupled decay pulls beside the gradient, not through it: there the step itself is compared with.
_DECOUPLED = frozenset({"adamw"})


def over_regularised(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Penalties on the weights keep the network from fitting what it could fit.

    Symptom: the training score is low, and the weights shrink rather than learn.
    Mechanism: the minimum of loss plus penalty lies where the loss is far from its own minimum.
    Threshold: the training score is below the reference models' (as for underfitting), and in at least half
        of the runs the penalties' gradient is larger than the data's, in the median over layers of the
        second half of the measured steps, or a tenth of the weights' size is left at the end. Of a loop
        that was watched, and without reference models: less than 0.9 of what there is to fit in the kept
        examples is fitted. Dropout and augmentation are not seen by it.
    Source: Krogh and Hertz 1991, NeurIPS; Goodfellow, Bengio and Courville 2016, chapter 7
    """
    short = short_of_reference(runs)
    if isinstance(short, str):
        return _watched(runs) or NotAssessed("over_regularised", short)
    pulls = [_pull(run) for run in short.folds]
    if short.clear and not np.isfinite(pulls).any():
        return NotAssessed("over_regularised", "probe rows of steps (weight_rms, grad_rms)")
    # At last both pull alike on what is left of the weights.
    shrunk = [
        weights_left(run) < COLLAPSED and pull > 0
        for run, pull in zip(short.folds, pulls, strict=True)
    ]
    pulled = [pull > _PULL or gone for pull, gone in zip(pulls, shrunk, strict=True)]
    if not short.clear or share(pulled) < 0.5:
        return None
    evidence = rounded(
        {
            "runs_pulled": sum(pulled),
            **short.facts,
            "penalty_over_data": median(pulls),
            "weights_left": median(weights_left(run) for run in short.folds),
        }
    )
    how = f"the penalties pull {median(pulls):.2g} times as hard as the data"
    if share(shrunk) >= 0.5:
        how = f"of the weights' size {evidence['weights_left']:.1e} is left"
    sentence = f"{short.sentence[:-1]}; {how}."
    flags = [flag and bad for flag, bad in zip(pulled, short.flags, strict=True)]
    level = confidence(short.folds, sum(flags), strong=short.strong)
    settings = ("optim.weight_decay", "optim.l1")
    return Finding("over_regularised", level, evidence, sentence, settings)


def _watched(runs: Sequence[Run]) -> Finding | None:
    """Of loops that were watched, whose fit of the kept examples stands for that of the training part."""
    folds = folds_of(runs)
    fits = [row["fit"] for row in evidence_of(runs, "sample")]
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
        f"Of what there is to fit in the training examples {median(fits):.0%} is fitted, and the penalties "
        f"pull {median(pulls):.2g} times as hard as the data."
    )
    level = confidence(folds, sum(pulled))
    return Finding(
        "over_regularised", level, evidence, sentence, ("optim.weight_decay", "optim.l1")
    )


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
