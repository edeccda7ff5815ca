"""Remedies: what to try about a finding, as edits of the recipe or as advice. No torch.

An edit is put on trial, and only a trial makes it proved; advice names a place in code or data, and
is never claimed as proved.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fitwell.policies import SETTING
from fitwell.recipe import Recipe
from fitwell.record import Diagnosis, Finding, Remedy
from fitwell.remedies.edits import Edit
from fitwell.remedies.table import REMEDIES
from fitwell.remedies.transfer import pretrained_edit
from fitwell.spec import Spec

# finding -> entries of the table, the best guess first.
FOR: dict[str, tuple[str, ...]] = {
    "leakage": (),  # these four are mended in the data or by more of it
    "bad_target": (),
    "cannot_tell": (),
    "head_loss_mismatch": (),
    "unreachable_targets": ("adam", "higher_lr"),
    "unscaled_inputs": ("batch_norm", "adam"),
    "shift": ("larger_batch", "augment"),
    "bad_init": ("suited_init", "batch_norm", "relu"),
    "no_gradient": (),  # the fix is in code
    "lr_too_high": ("lower_lr", "warmup", "clip_norm", "batch_norm", "layer_norm"),
    "exploding_gradient": (
        "clip_norm",
        "gates",
        "lower_lr",
        "batch_norm",
        "layer_norm",
        "suited_init",
    ),
    "lr_too_low": ("higher_lr", "adam"),
    "stopped_too_early": ("more_epochs", "patience", "slightly_higher_lr", "lr_decay"),
    "vanishing_gradient": (
        "gates",
        "all_steps",
        "long_memory",
        "relu",
        "batch_norm",
        "layer_norm",
        "suited_init",
        "adam",
    ),
    "saturated_activation": ("relu", "batch_norm", "lower_lr", "suited_init"),
    "dying_relu": ("lower_lr", "leaky_units", "suited_init", "batch_norm"),
    "linear_network": ("relu",),
    "cannot_fit_one_batch": ("suited_init", "relu", "batch_norm", "wider", "adam"),
    "over_regularised": ("less_regularisation",),
    "underfitting": (
        "pretrained",
        "less_regularisation",
        "gates",
        "other_family",
        "follow_level",
        "wider",
        "slightly_higher_lr",
        "deeper",
        "more_epochs",
    ),
    "overfitting": (
        "pretrained",
        "augment",
        "mixup",
        "mosaic",
        "weight_decay",
        "dropout",
        "label_smoothing",
        "l1",
        "narrower",
    ),
    "class_imbalance": ("class_weights", "focal"),
    "label_noise": ("label_smoothing", "robust_loss"),
    "missing_boxes": (),
    "objects_too_small": ("larger_images",),
    "oscillating": ("lr_decay", "ema", "larger_batch", "lower_lr"),
    "slow_pipeline": (),  # what is slow is outside of the recipe
    "no_better_than_trivial": (
        "follow_level",
        "gates",
        "pretrained",
        "relu",
        "adam",
        "lower_lr",
        "slightly_higher_lr",
        "other_family",
    ),
}
# Tried where nothing is wrong: so that "nothing helps" is tested too.
GENERIC = (
    "pretrained",
    "follow_level",
    "wider",
    "other_family",
    "slightly_higher_lr",
    "weight_decay",
    "dropout",
)
GENERIC_LIMIT = 4

ADVICE: dict[str, str] = {
    "leakage": (
        "Split by group or by time (data.group, data.time), leave out copies and columns that are "
        "known only afterwards; the score is expected to fall, and to be true then. Where examples of "
        "a batch see one another, look for the axis that is taken for the batch's (batch_first, view, "
        "softmax, batch statistics in evaluation)."
    ),
    "bad_target": "Look where the target is made: a step of the pipeline is missing or applied twice.",
    "cannot_tell": "Get more examples or repeats, or ask for a larger effect (score.min_effect).",
    "head_loss_mismatch": (
        "For classes end in a linear layer and use the cross-entropy of logits (for two, or for several "
        "labels, the binary one with logits): it applies softmax or sigmoid itself. Give outputs and "
        "targets of numbers one shape."
    ),
    "unreachable_targets": (
        "End in a linear layer, and standardise the targets (subtract their mean, divide by their "
        "standard deviation)."
    ),
    "unscaled_inputs": (
        "Standardise each feature with the mean and standard deviation of the training part; take "
        "the logarithm of those that span powers of ten."
    ),
    "shift": (
        "Prepare all parts alike, and shuffle what is trained on; split by time or group as the data "
        "will come; use larger batches or layer normalisation where batches are small."
    ),
    "bad_init": "Draw the weights at random: He's for ReLU, Xavier's for tanh; or normalise the layers.",
    "no_gradient": (
        "See that optimizer.step() is called and the optimizer was given all of model.parameters(); find "
        "where the layer's output leaves the graph (.data, .detach(), .item(), argmax, a round trip "
        "through NumPy)."
    ),
    "lr_too_high": (
        "Lower the learning rate 3 to 10 times, or raise it slowly at the start; clear the gradients "
        "before each backward pass (optimizer.zero_grad())."
    ),
    "exploding_gradient": "Clip the gradient's norm at its 90th percentile, or lower the learning rate.",
    "lr_too_low": (
        "Raise the learning rate 3 to 10 times, and on until a step moves the weights by about a "
        "thousandth of their size; let it fall over the whole training, not in its first part; clip "
        "gradients less where they are clipped far below their norm."
    ),
    "stopped_too_early": "Train twice as long, or wait longer before stopping early.",
    "vanishing_gradient": (
        "Use ReLU with He initialisation, normalisation or residual connections; through time an LSTM or "
        "GRU, a head that reads the mean of all steps, or shorter sequences."
    ),
    "saturated_activation": "Use ReLU, normalise the layer before, or lower the learning rate.",
    "dying_relu": "Lower the learning rate, or use LeakyReLU or GELU.",
    "cannot_fit_one_batch": (
        "Look at the batch's inputs and targets as the network gets them, and at its head and loss."
    ),
    "linear_network": "Put an activation, such as ReLU, between each two layers.",
    "over_regularised": "Lower the weight decay, the L1 penalty or the share that is dropped.",
    "underfitting": "Use a wider, deeper or other network, or regularise less.",
    "overfitting": "Get more examples, augment them, or regularise more.",
    "class_imbalance": (
        "Weigh each class by the inverse of its frequency, or draw its examples as often as the others'."
    ),
    "label_noise": "Look at the doubtful examples that are listed, and mend or leave out their labels.",
    "missing_boxes": (
        "Look at the pictures that are listed: annotate what is there, or leave them out of what is "
        "trained and scored on."
    ),
    "objects_too_small": (
        "Show the pictures larger (data.image_size, 1.5 or 2 times what it is), or cut them into parts. A "
        "training takes longer by the square of that."
    ),
    "oscillating": "Let the learning rate fall, average the weights, or use larger batches.",
    "slow_pipeline": (
        "Read and decode the examples once and keep them, or let further processes prepare them."
    ),
    "no_better_than_trivial": (
        "Check that inputs and targets belong together: look at a few examples with their labels. Of "
        "forecasts: read more of the past (a larger data.look_back), by another fit."
    ),
}
# Advice that no edit can stand for is given beside the edits.
_BESIDE = frozenset(
    {
        "bad_target",
        "cannot_fit_one_batch",
        "cannot_tell",
        "head_loss_mismatch",
        "label_noise",
        "leakage",
        "missing_boxes",
        "no_better_than_trivial",
        "no_gradient",
        "objects_too_small",
        "overfitting",
        "shift",
        "slow_pipeline",
        "unreachable_targets",
        "unscaled_inputs",
    }
)

# These make another network of it, which pretrained weights no longer fit.
_REBUILDS = frozenset(
    f"model.{key}" for key in "name width depth size backbone norm init activation".split()
)

_NOTHING = Finding("nothing_wrong", "low", {}, "Nothing wrong was found.")


def remedies_for(finding: Finding, recipe: Recipe | None, spec: Spec | None) -> tuple[Remedy, ...]:
    """The remedies of one finding, the best guess first; advice alone where there is no recipe.

    >>> recipe = Recipe({"optim.name": "sgd", "optim.lr": 0.3})
    >>> remedies = remedies_for(Finding("lr_too_high", "high", {}, ""), recipe, None)
    >>> [(remedy.name, dict(remedy.settings)) for remedy in remedies]
    [('optim.lr: 0.3 -> 0.1', {'optim.lr': 0.1}), ('optim.lr: 0.3 -> 0.03', {'optim.lr': 0.03})]
    """
    advice = ADVICE.get(finding.name, "")
    as_advice = [Remedy(advice, {}, advice, f"for {finding.name}")] if advice else []
    if recipe is None:
        return tuple(as_advice)
    spec = spec or Spec("table", "classification", ())
    edits = _edits(FOR.get(finding.name, ()), finding, recipe, spec)
    found = [_remedy(edit, recipe, f"for {finding.name}") for edit in edits]
    return tuple(found + (as_advice if finding.name in _BESIDE or not found else []))


def rank_remedies(
    diagnosis: Diagnosis | Sequence[Finding],
    recipe: Recipe,
    spec: Spec | None = None,
    limit: int | None = 8,
) -> list[Remedy]:
    """The edits of all findings together, each once, the best guesses first.

    Findings come in order of likely effect: the first guesses of the first findings lead, and a
    finding that another explains, or a weak one, stands back. An edit that several findings ask for
    moves up. Without findings a short generic list, so that "nothing helps" is tested too.
    """
    findings = diagnosis.findings if isinstance(diagnosis, Diagnosis) else list(diagnosis)
    if not findings:
        known = spec or Spec("table", "classification", ())
        first = [
            edits[0] for name in GENERIC if (edits := _edits((name,), _NOTHING, recipe, known))
        ]
        return [_remedy(edit, recipe, "generic") for edit in first[:GENERIC_LIMIT]]
    ranks: dict[str, float] = {}
    remedies: dict[str, Remedy] = {}
    for position, finding in enumerate(findings):
        behind = 2.0 * ("explained_by" in finding.evidence) + 2.0 * (finding.confidence == "low")
        edits = [r for r in remedies_for(finding, recipe, spec) if r.settings]
        for place, remedy in enumerate(edits):
            rank = place + 1.5 * position + behind
            if remedy.name in remedies:
                both = remedies[remedy.name]
                remedies[remedy.name] = replace(both, why=f"{both.why}, {finding.name}")
                ranks[remedy.name] = min(rank, ranks[remedy.name]) - 0.5
            else:
                remedies[remedy.name], ranks[remedy.name] = remedy, rank
    return sorted(remedies.values(), key=lambda remedy: ranks[remedy.name])[:limit]


def with_remedies(
    diagnosis: Diagnosis, recipe: Recipe | None = None, spec: Spec | None = None
) -> Diagnosis:
    """The diagnosis with the remedies of each finding filled in."""
    findings = [
        replace(finding, remedies=remedies_for(finding, recipe, spec))
        for finding in diagnosis.findings
    ]
    return replace(diagnosis, findings=findings)


def name_of(edit: Edit, recipe: Recipe) -> str:
    """The edit in words: `model.activation: sigmoid -> relu`; of a policy its name alone, of fine-tuning
    the network and the file of its weights."""
    if SETTING in edit:
        edit = {n: v for n, v in edit.items() if n == SETTING or not n.startswith("augment.")}
    if "model.pretrained" in edit:
        file = Path(str(edit["model.pretrained"])).name
        networks = ("model.name", "model.backbone")
        edit = {n: v for n, v in edit.items() if n in networks} | {"model.pretrained": file}
    return ", ".join(f"{n}: {_shown(recipe.get(n))} -> {_shown(v)}" for n, v in edit.items())


def _edits(names: Sequence[str], finding: Finding, recipe: Recipe, spec: Spec) -> list[Edit]:
    """The first guess of each entry, then the second guesses, and so on; each edit once."""
    guesses = [REMEDIES[name](recipe, spec, finding) for name in names]
    if recipe.get("model.pretrained"):
        guesses = [[edit for edit in g if not _REBUILDS & edit.keys()] for g in guesses]
    found: list[Edit] = []
    for depth in range(max((len(g) for g in guesses), default=0)):
        found += [g[depth] for g in guesses if len(g) > depth and g[depth] not in found]
    return found


def _remedy(edit: Edit, recipe: Recipe, why: str) -> Remedy:
    return Remedy(name_of(edit, recipe), edit, "", why)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


__all__ = [
    "ADVICE",
    "FOR",
    "REMEDIES",
    "name_of",
    "pretrained_edit",
    "rank_remedies",
    "remedies_for",
    "with_remedies",
]
