"""How it is trained: learning rate, optimizer, schedule, length."""

import math
from collections.abc import Sequence
from typing import Any

from fitwell.recipe import Recipe
from fitwell.record import Finding
from fitwell.remedies.edits import Edit, is_count, rounded
from fitwell.settings import defaults
from fitwell.spec import Spec

# Learning rates outside of this have no use; SGD is with momentum, the others' is a multiple of
# their default: 1e-6 to 0.03 for Adam.
_SGD_RANGE, _ADAPTIVE_RANGE = (1e-4, 1.0), (1e-3, 30.0)
_GOOD_UPDATE = 3e-3  # of a layer's norm a step, in the middle of what healthy runs show


def higher_lr(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Raise the learning rate: by what the measured updates and the range test ask for, 10 and 3 times.

    Use: lr_too_low, underfitting
    Weakness: too much of it breaks training
    Source: Smith 2017, WACV
    """
    factors = [10.0, 3.0]
    update = finding.evidence.get("update_ratio")
    if finding.name == "lr_too_low" and update:
        # 3, 10, 30, 100 ...: half a power of ten is as exact as this can be.
        wanted = 10 ** (round(2 * math.log10(_GOOD_UPDATE / update)) / 2)
        factors.insert(0, min(300.0, max(3.0, rounded(wanted, 1))))
    if (factor := _range_factor(recipe, finding)) > 1:
        # Behind the updates, which are of whole trainings.
        factors.insert(len(factors) - 2, factor)
    return _scaled_lr(recipe, factors, finding.evidence.get("divergence_lr"))


def lower_lr(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Lower the learning rate: to what the range test asks for, 3 and 10 times, or to where it allows.

    Use: lr_too_high, dying_relu, saturated_activation
    Weakness: training takes longer
    Source: Bengio 2012, Practical recommendations for gradient-based training
    """
    factors = [1 / 3, 1 / 10]
    rate, breaks_at = recipe.get("optim.lr"), finding.evidence.get("divergence_lr")
    if breaks_at and isinstance(rate, int | float) and rate > breaks_at:
        factors.insert(0, breaks_at / 5 / rate)
    elif isinstance(rate, int | float):
        usual = defaults("optim", str(recipe.get("optim.name", "sgd"))).get("lr", rate)
        if rate >= 10 * usual:  # so far off that a third of it will not do
            factors.insert(0, usual / rate)
    if (factor := _range_factor(recipe, finding)) < 1:
        factors.insert(0, factor)
    return _scaled_lr(recipe, factors, None)


def slightly_higher_lr(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Raise the learning rate 3 times.

    Use: a slow training that is otherwise sound
    Weakness: too much of it breaks training
    Source: Smith 2017, WACV
    """
    return _scaled_lr(recipe, [3.0], finding.evidence.get("divergence_lr"))


def adam(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Change to Adam with its own learning rate.

    Use: layers whose gradients differ much in size
    Weakness: often generalises a little worse than well-tuned SGD
    Source: Kingma and Ba 2015, ICLR
    """
    if recipe.get("optim.name") != "sgd" or "optim.lr" not in recipe:
        return []
    return [{"optim.name": "adam", "optim.lr": defaults("optim", "adam")["lr"]}]


def more_epochs(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Twice the epochs; four times where learning had only begun.

    Use: stopped_too_early, underfitting
    Weakness: twice the time
    Source: Prechelt 1998, Early stopping, but when?
    """
    epochs: Any = recipe.get("train.epochs")
    if not is_count(epochs):
        return []
    begun = (finding.evidence.get("half_of_the_fall_at") or 0) >= 0.35
    factors = (4, 2) if finding.name == "stopped_too_early" and begun else (2,)
    return [{"train.epochs": factor * epochs} for factor in factors]


def lr_decay(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Let a constant learning rate fall, along half a cosine.

    Use: stopped_too_early, where the noise of a high rate hides what was learned
    Weakness: the length of training must be known
    Source: Loshchilov and Hutter 2017, ICLR
    """
    return [{"schedule.name": "cosine"}] if recipe.get("schedule.name") == "constant" else []


def patience(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Wait longer before stopping early.

    Use: stopped_too_early, where train.patience ended it
    Weakness: time
    Source: Prechelt 1998, Early stopping, but when?
    """
    waited: Any = recipe.get("train.patience")
    return [{"train.patience": 3 * waited}] if is_count(waited) else []


def clip_norm(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Clip the gradient to norm 1, or to the norm that nine in ten of the measured steps stay below.

    Use: lr_too_high, exploding_gradient
    Weakness: hides a rate that is too high rather than mends it
    Source: Pascanu, Mikolov and Bengio 2013, ICML
    """
    if recipe.get("train.clip_norm") != 0 or recipe.get("train.normalise_gradient"):
        return []
    usual = finding.evidence.get("norm_p90")
    return [{"train.clip_norm": rounded(usual, 2) if usual else 1.0}]


def longer_look_back(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Read twice, then four times as many of the steps before a forecast.

    Use: no_better_than_trivial, underfitting, or when nothing else is wrong, of forecasts
    Weakness: what is far back may say nothing, and is fitted all the same; the first windows, which have
        too little before them, are not trained on
    Source: Zeng, Chen, Zhang and Xu 2023, AAAI (forecasts by look-back)
    """
    before: Any = recipe.get("data.look_back") or (spec.input_shape[-1] if spec.input_shape else 0)
    if spec.task != "forecasting" or "data.look_back" not in recipe or not is_count(before):
        return []
    folds: Any = recipe.get("data.folds", 5)
    # The first fold may begin behind half of an equal share of the windows; half of those stay to train on.
    most = (spec.since or spec.input_shape[-1]) + spec.num_examples // (4 * (folds + 1))
    return [{"data.look_back": n * before} for n in (2, 4) if n * before <= most]


def ema(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Average the weights: evaluate a copy that follows them slowly.

    Use: oscillating
    Weakness: memory for a second copy; lags behind a training that is still learning fast
    Source: Polyak and Juditsky 1992, SIAM Journal on Control and Optimization 30
    """
    return [{"train.ema": 0.99}] if recipe.get("train.ema") == 0 else []


def larger_batch(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Four times the examples a step, at twice the learning rate: half of the noise a step.

    Use: oscillating; shift, where batch normalisation has few examples a batch
    Weakness: a quarter of the steps for the same number of examples
    Source: Krizhevsky 2014, arXiv:1404.5997 (the rate by the root of the batch)
    """
    size, rate = recipe.get("train.batch_size"), recipe.get("optim.lr")
    most = (spec.num_examples or 0) // 20
    if not is_count(size) or not isinstance(rate, int | float) or 4 * size > most:  # type: ignore[operator]
        return []
    return [{"train.batch_size": 4 * size, "optim.lr": rounded(2 * rate, 3)}]  # type: ignore[operator]


def warmup(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Raise the rate slowly: over the first 30 % of training.

    Use: lr_too_high
    Weakness: fewer steps at the full rate
    Source: Goyal et al. 2017, arXiv:1706.02677
    """
    share = recipe.get("schedule.warmup")
    return [{"schedule.warmup": 0.3}] if isinstance(share, int | float) and share < 0.3 else []


def _range_factor(recipe: Recipe, finding: Finding) -> float:
    """What the range test asks for, as a multiple of the recipe's rate; 1 where it asks for nothing."""
    rate, found = recipe.get("optim.lr"), finding.evidence.get("range_lr")
    return found / rate if found and isinstance(rate, int | float) and rate > 0 else 1.0


def _scaled_lr(recipe: Recipe, factors: Sequence[float], breaks_at: float | None) -> list[Edit]:
    """The learning rate times each factor, kept where the optimizer has use for it.

    A rate above a third of where the range test broke is cut down to it.
    """
    rate = recipe.get("optim.lr")
    if not isinstance(rate, int | float) or rate <= 0:
        return []
    low, high = _SGD_RANGE
    if (optimizer := str(recipe.get("optim.name", "sgd"))) != "sgd":
        usual = defaults("optim", optimizer)["lr"]
        low, high = (usual * bound for bound in _ADAPTIVE_RANGE)
    if breaks_at:
        high = min(high, breaks_at / 3)
    edits = []
    for factor in factors:
        # A rate that is already beyond the range may still come back into it.
        bounds = (min(low, rate), max(high, rate))
        new = rounded(min(bounds[1], max(bounds[0], rate * factor)), 2)
        edit = {"optim.lr": new}
        if new > 0 and (new / rate >= 1.5 or rate / new >= 1.5) and edit not in edits:
            edits.append(edit)
    return edits
