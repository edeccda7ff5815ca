"""What holds the fit back on purpose, and too much."""

from collections.abc import Sequence

import numpy as np

from fitwell.findings.fit import short_of_reference
from fitwell.findings.reading import confidence, evidence_of, hot_steps, median, rounded
from fitwell.record import Finding, NotAssessed, Run

_PULL = 1.0  # of the penalty's gradient over the data's
_RISE = 0.01  # of the training score, regularisation switched off
# Decoupled decay pulls beside the gradient, not through it: there the step itself is compared with.
_DECOUPLED = frozenset({"adamw"})


def over_regularised(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Penalties, dropout or augmentation keep the network from fitting what it could fit.

    Symptom: the training score is low, and rises when regularisation is switched off.
    Mechanism: the minimum of loss plus penalty lies where the loss is far from its own minimum.
    Threshold: the training score is below the reference models' (as for underfitting), and either the
        penalties' gradient is larger than the data's in the median layer over the second half of the
        measured steps, in half of the runs, or the training score is more than 0.01 better (1 % of
        the error) without any regularisation (experiment "unregularised", a mean over its runs).
    Source: Krogh and Hertz 1991, NeurIPS; Goodfellow, Bengio and Courville 2016, chapter 7
    """
    short = short_of_reference(runs)
    if isinstance(short, str):
        return NotAssessed("over_regularised", short)
    if not short.clear:
        return None
    pulls = [_pull(run) for run in short.folds]
    rises = [float(row["gain"]) for row in evidence_of(runs, "unregularised")]
    pulled = [pull > _PULL for pull in pulls]
    rise = float(np.mean(rises)) if rises else float("nan")
    if not (sum(pulled) >= 0.5 * len(pulled) or rise > _RISE):
        if not np.isfinite(pulls).any() and not rises:
            missing = "a penalty and its probe rows, or a training without regularisation"
            return NotAssessed("over_regularised", missing)
        return None
    evidence = rounded(
        {
            "runs_pulled": sum(pulled),
            **short.facts,
            "penalty_over_data": median(pulls),
            "gain_without": rise,
        }
    )
    parts = []
    if sum(pulled) >= 0.5 * len(pulled):
        parts.append(f"the penalties pull {median(pulls):.2g} times as hard as the data")
    if rise > _RISE:
        parts.append(f"without any regularisation it is {rise:.3g} better")
    sentence = f"{short.sentence[:-1]}; {', and '.join(parts)}."
    settings = ("optim.weight_decay", "optim.l1", "model.dropout", "augment.policy")
    flags = [flag and bad for flag, bad in zip(pulled, short.flags, strict=True)]
    agreeing = sum(short.flags) if rise > _RISE else sum(flags)
    level = confidence(short.folds, agreeing, strong=short.strong)
    return Finding("over_regularised", level, evidence, sentence, settings)


def _pull(run: Run) -> float:
    """The penalties' gradient over the data's: median over layers of the second half of the steps."""
    recipe = run.recipe
    if recipe is None:
        return float("nan")
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
