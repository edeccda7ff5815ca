"""Findings: small pure rules over recorded rows, and what they add up to. No torch.

A rule takes the runs of one recipe (the folds of a cross-validation, or a single run) and gives a
`Finding`, nothing, or `NotAssessed` where the rows that it needs are missing. It reads only what
was recorded, so old, foreign and hand-written runs can be diagnosed. A finding is a hypothesis:
only paired trials make a verdict of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from fitwell.findings.boxes import missing_boxes, objects_too_small
from fitwell.findings.classes import class_imbalance
from fitwell.findings.examples import (
    bad_target,
    head_loss_mismatch,
    unreachable_targets,
    unscaled_inputs,
)
from fitwell.findings.fit import overfitting
from fitwell.findings.labels import label_noise
from fitwell.findings.learning_rate import lr_too_high, lr_too_low
from fitwell.findings.length import stopped_too_early
from fitwell.findings.places import shifted_boxes
from fitwell.findings.reference import linear_network, underfitting
from fitwell.findings.regularised import over_regularised
from fitwell.findings.shift import shift
from fitwell.findings.signal import dying_relu, saturated_activation, vanishing_gradient
from fitwell.findings.start import bad_init, cannot_fit_one_batch, no_gradient
from fitwell.findings.steadiness import exploding_gradient, oscillating, slow_pipeline
from fitwell.findings.through_time import idle_state
from fitwell.findings.trivial import no_better_than_trivial
from fitwell.findings.trust import cannot_tell, leakage
from fitwell.recipe import Recipe
from fitwell.record import Diagnosis, Finding, NotAssessed, Run

Rule: TypeAlias = Callable[[Sequence[Run]], Finding | NotAssessed | None]

# In order of likely effect: what breaks a training comes first, what fine-tunes it last.
RULES: dict[str, Rule] = {
    "leakage": leakage,
    "bad_target": bad_target,
    "head_loss_mismatch": head_loss_mismatch,
    "unreachable_targets": unreachable_targets,
    "unscaled_inputs": unscaled_inputs,
    "bad_init": bad_init,
    "lr_too_high": lr_too_high,
    "exploding_gradient": exploding_gradient,
    "vanishing_gradient": vanishing_gradient,
    "idle_state": idle_state,
    "saturated_activation": saturated_activation,
    "dying_relu": dying_relu,
    "no_gradient": no_gradient,
    "cannot_fit_one_batch": cannot_fit_one_batch,
    "lr_too_low": lr_too_low,
    "stopped_too_early": stopped_too_early,
    "linear_network": linear_network,
    "over_regularised": over_regularised,
    "underfitting": underfitting,
    "overfitting": overfitting,
    "class_imbalance": class_imbalance,
    "label_noise": label_noise,
    "shifted_boxes": shifted_boxes,
    "missing_boxes": missing_boxes,
    "objects_too_small": objects_too_small,
    "shift": shift,
    "oscillating": oscillating,
    "no_better_than_trivial": no_better_than_trivial,
    "cannot_tell": cannot_tell,
    "slow_pipeline": slow_pipeline,
}

_POOR_FIT = ("lr_too_low", "stopped_too_early", "underfitting", "no_better_than_trivial")
_NO_SIGNAL = ("vanishing_gradient", "cannot_fit_one_batch", *_POOR_FIT)
# cause -> findings that need no cause of their own where it is present.
EXPLAINS: dict[str, tuple[str, ...]] = {
    "bad_target": ("cannot_fit_one_batch", "overfitting", *_POOR_FIT),
    "head_loss_mismatch": (
        "saturated_activation",
        "class_imbalance",
        "overfitting",
        *_NO_SIGNAL,
    ),
    "unreachable_targets": ("saturated_activation", *_NO_SIGNAL),
    "unscaled_inputs": (
        "lr_too_high",
        "exploding_gradient",
        "saturated_activation",
        "dying_relu",
        "cannot_fit_one_batch",
        *_POOR_FIT,
    ),
    "bad_init": (
        "exploding_gradient",
        "saturated_activation",
        "dying_relu",
        "no_gradient",
        *_NO_SIGNAL,
    ),
    "lr_too_high": (
        "cannot_fit_one_batch",
        "exploding_gradient",
        "vanishing_gradient",
        "saturated_activation",
        "dying_relu",
        "no_gradient",
        "over_regularised",
        "label_noise",
        "oscillating",
        *_POOR_FIT,
    ),
    "exploding_gradient": ("oscillating", "underfitting", "no_better_than_trivial"),
    "saturated_activation": (
        "vanishing_gradient",
        "cannot_fit_one_batch",
        "label_noise",
        "underfitting",
        "no_better_than_trivial",
    ),
    # Where hardly a gradient comes through, any penalty pulls harder than the data.
    "vanishing_gradient": ("cannot_fit_one_batch", "over_regularised", *_POOR_FIT),
    "dying_relu": ("no_gradient", "label_noise", "underfitting", "no_better_than_trivial"),
    "no_gradient": ("cannot_fit_one_batch", *_POOR_FIT),
    "cannot_fit_one_batch": _POOR_FIT,
    "lr_too_low": (
        "cannot_fit_one_batch",
        "stopped_too_early",
        "underfitting",
        "no_better_than_trivial",
    ),
    "shift": ("stopped_too_early",),
    "stopped_too_early": ("underfitting", "no_better_than_trivial"),
    "linear_network": (
        "cannot_fit_one_batch",
        "stopped_too_early",
        "underfitting",
        "no_better_than_trivial",
    ),
    "over_regularised": (
        "class_imbalance",
        "dying_relu",
        "stopped_too_early",
        "cannot_fit_one_batch",
        "underfitting",
        "no_better_than_trivial",
    ),
    "underfitting": ("label_noise", "no_better_than_trivial"),
}


def diagnose(runs: Run | Sequence[Run]) -> Diagnosis:
    """Every rule over the runs of one recipe: findings in order of likely effect, and what is open.

    A finding that another one explains stays in the list, behind those that nothing explains, and
    says so; its remedies are still tried. No findings at all is an answer: nothing wrong was found.

    >>> [n.name for n in diagnose(Run()).not_assessed][:2]
    ['leakage', 'bad_target']
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    results = [_judged(name, rule, runs) for name, rule in RULES.items()]
    found = [result for result in results if isinstance(result, Finding)]
    # A guess explains nothing.
    names = [finding.name for finding in found if finding.confidence != "low"]
    recipe = next((run.recipe for run in runs if run.recipe), None)
    explained = [_with_cause(_pointed(finding, recipe), names) for finding in found]
    order = list(RULES)
    explained.sort(
        key=lambda finding: (
            "explained_by" in finding.evidence,
            finding.confidence == "low",
            order.index(finding.name),
        )
    )
    missing = [result for result in results if isinstance(result, NotAssessed)]
    return Diagnosis(explained, missing, len(results))


def _judged(name: str, rule: Rule, runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """What a rule says; not assessed where its rows lack a value that it needs, as those of old and
    hand-written records may."""
    try:
        return rule(runs)
    except KeyError as error:
        return NotAssessed(name, f"rows with a value of {error.args[0]!r}")
    except TypeError as error:
        return NotAssessed(name, f"rows with all of their values ({error})")


def _pointed(finding: Finding, recipe: Recipe | None) -> Finding:
    """The finding, without settings that the recipe's network does not have."""
    if recipe is None or "model.name" not in recipe:
        return finding
    own = (name for name in finding.settings if name in recipe or not name.startswith("model."))
    return replace(finding, settings=tuple(own))


def _with_cause(finding: Finding, names: Sequence[str]) -> Finding:
    """The finding, with what explains it, if anything that was found does."""
    causes = [cause for cause in names if finding.name in EXPLAINS.get(cause, ())]
    if not causes:
        return finding
    return replace(
        finding,
        evidence={**finding.evidence, "explained_by": causes},
        sentence=f"{finding.sentence} It may follow from {causes[0]}.",
    )


__all__ = ["EXPLAINS", "RULES", "Rule", "diagnose"]
